//! A GPU in the lab: through its own queue, its copies alone, and its shader alone.

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;

use ciphermill_cipher::offload::Text;

use super::batch::{Batch, Part};
use super::lab::{
    Card, Failed, Lab, MIB, PART_BYTES, Run, bar, ctr, point, row, said, section, share_bytes,
};
use super::verdict::CardFound;
use crate::engine::Work;
use crate::engine::gpu::copies::{Copies, Way};
use crate::engine::gpu::device::Device;
use crate::engine::gpu::{Failure, Gpu, Item, Options, kernel_time};
use crate::measure::Spread;
use crate::measure::report::{Adapter, Bars, Beside, Chart, Lines, Row, Section, Series};
use crate::measure::turns::{self, Turns};
use crate::measure::words::bytes as spelt;

/// What an H200's instruction rate allows this kernel, by key size: computed, in GB/s.
const H200_BOUNDS: [(usize, f64); 3] = [(128, 311.0), (192, 266.0), (256, 227.0)];

/// A GPU's slots never take more host memory than this.
const MOST_SLOT_BYTES: usize = 1 << 30;

/// A device at work.
struct Real {
    gpu: Gpu,
    options: Options,
    copies: RefCell<Option<Copies>>,
}

/// Opens, tests and starts the best adapter, or says why there is none.
pub fn find(lab: &Lab, software: bool) -> Result<Box<dyn Card>, Failed> {
    let options = Options {
        software,
        ..Options::default()
    };
    let stop = AtomicBool::new(false);
    let gpu =
        Gpu::start(&options, &lab.all, &stop).map_err(|failure| without(&options, failure))?;
    let copies = Copies::new(&options).map_err(reason)?;
    Ok(Box::new(Real {
        gpu,
        options,
        copies: RefCell::new(copies),
    }))
}

/// Why there is none; a software adapter is named.
fn without(options: &Options, failure: Failure) -> Failed {
    let any = Options {
        software: true,
        ..options.clone()
    };
    match Device::open(&any) {
        Ok(device) if !options.software && device.adapter.is_software() => format!(
            "a software adapter was left out ({}; --software measures it)",
            device.adapter.name
        ),
        _ => failure.reason,
    }
}

fn reason(failure: Failure) -> Failed {
    failure.reason
}

/// What a device gets of a part.
fn item(part: &Part) -> Option<Item<'_>> {
    Some(Item {
        offload: part.cipher.offload()?,
        text: Text::plain(part.plain.bytes()),
        offset: part.at.offset,
    })
}

impl Real {
    /// Seconds of one way.
    fn way(&self, way: Way, batch: &Batch) -> Option<Result<f64, Failed>> {
        let mut copies = self.copies.borrow_mut();
        let copies = copies.as_mut()?;
        let begun = std::time::Instant::now();
        let items: Vec<_> = batch.parts().iter().filter_map(item).collect();
        let done = batch.with_outs(|outs| copies.run(way, &items, outs));
        Some(done.map(|()| begun.elapsed().as_secs_f64()).map_err(reason))
    }

    /// A size that this device does in a moment.
    fn batch_bytes(&self, lab: &Lab) -> usize {
        if lab.quick || self.is_software() {
            16 * MIB
        } else {
            64 * MIB
        }
    }
}

impl Card for Real {
    fn adapter(&self) -> Adapter {
        let adapter = self.gpu.adapter();
        Adapter {
            name: adapter.name.clone(),
            backend: adapter.backend.clone(),
            driver: adapter.driver.clone(),
            kind: match adapter.kind {
                "software" => "a program on the CPU".into(),
                kind => format!("{kind} GPU"),
            },
        }
    }

    fn is_software(&self) -> bool {
        self.gpu.adapter().is_software()
    }

    fn most_bytes(&self) -> usize {
        self.options.slot_bytes
    }

    fn submit(&self, work: Work) {
        self.gpu.submit(work);
    }

    fn failure(&self) -> Option<Failed> {
        self.gpu
            .retired()
            .map(|failure| format!("the GPU failed: {}", failure.reason))
    }

    fn copy(&self, batch: &Batch) -> Option<Result<f64, Failed>> {
        self.way(Way::Both, batch)
    }

    fn kernel_rate(&self, lab: &Lab, found: &mut CardFound) -> Section {
        const ABOUT: &str = "The shader alone, on text that lies in the GPU's own memory, timed by the GPU's own \
            clock (timestamps around each run): AES-CTR, for each length of key. This is what data that is born on the \
            GPU could have; data in host memory has to get there and back first.";
        let mut section = section("kernel", "The GPU's kernel, without the way there", ABOUT);
        let mut bars = Bars {
            title: "GB/s on the device".into(),
            bars: Vec::new(),
        };
        let (bytes, rates) = match self.kernel_rates(lab) {
            Ok(rates) => rates,
            Err(why) => {
                section.warnings.push(format!("{why}."));
                return section;
            }
        };
        for ((bits, bound), rates) in H200_BOUNDS.into_iter().zip(rates) {
            if rates.is_empty() {
                section.warnings.push(
                    "This GPU has no clock that can be read: its kernel cannot be timed.".into(),
                );
                return section;
            }
            let rate = Spread::of(rates);
            let beside = (!self.is_software()).then(|| bound_beside(rate, bound));
            section.rows.push(Row {
                what: format!(
                    "AES-CTR, {bits} bits, {} on the device",
                    spelt(bytes as f64)
                ),
                gb_per_second: rate,
                beside,
                note: None,
            });
            bars.bars
                .push(bar(&format!("{bits} bits"), "this GPU", rate));
            if !self.is_software() {
                bars.bars.push(bar(
                    &format!("{bits} bits"),
                    "an H200 at most (computed)",
                    exactly(bound),
                ));
            }
            found.kernel = Some(rate.median);
        }
        if !self.is_software() {
            section.about.push_str(
                " The bound beside it is no measurement: it is what the instruction rate of an NVIDIA H200 (132 \
                 multiprocessors at 1.98 GHz) allows for this kernel, 227 GB/s for keys of 256 bits; the aim there is \
                 0.8 of it. For another GPU it is a landmark only.",
            );
        }
        section.chart = Some(Chart::Bars(bars));
        section.warn_of_scatter();
        section
    }

    fn ways(&self, lab: &Lab) -> Option<(usize, Result<Turns, Failed>)> {
        self.copies.borrow().as_ref()?;
        let bytes = self.batch_bytes(lab);
        let measured = || {
            let batch = Batch::object(lab, &ctr(256).map_err(said)?, bytes, PART_BYTES);
            let no_copies = || Err("nothing is copied".to_owned());
            let batch = &batch;
            let way = |way| {
                Run::timed(bytes, move || {
                    self.way(way, batch).unwrap_or_else(no_copies)
                })
            };
            let mut runners: Vec<_> = [Way::Up, Way::Down, Way::Both].map(way).into();
            runners.push(Run::new(bytes, || batch.copy(self.options.threads())));
            turns::take(lab.pace, runners)
        };
        Some((bytes, measured()))
    }

    fn slots(&self, lab: &Lab) -> Section {
        const ABOUT: &str = "Each thread that serves the GPU has two slots: while the GPU works on one, the thread \
            fills or reads the other. More threads copy faster but take cores from the CPU's own work; a larger slot \
            has fewer trips but waits longer before anything moves. Beside each is what the engine does by default.";
        let mut section = section("slots", "Threads and slots of the GPU", ABOUT);
        let bytes = self.batch_bytes(lab);
        let mut lines = Lines {
            x_title: "size of a slot".into(),
            y_title: "GB/s".into(),
            x_log: true,
            x_bytes: true,
            ..Lines::default()
        };
        let counts = [1, 2, 4]
            .into_iter()
            .filter(|count| *count <= lab.threads.max(1));
        let sizes = if lab.quick || self.is_software() {
            &[4 * MIB, 16 * MIB][..]
        } else {
            &[4 * MIB, 16 * MIB, 64 * MIB]
        };
        for threads in counts.take(if lab.quick { 1 } else { 3 }) {
            let mut points = Vec::new();
            for slot_bytes in sizes.iter().copied() {
                let what = format!(
                    "{}, {} slots of {}",
                    plural(threads),
                    2 * threads,
                    spelt(slot_bytes as f64)
                );
                match self.slot(lab, bytes, (threads, slot_bytes)) {
                    Ok(Some(turns)) => {
                        points.push(point(slot_bytes as f64, turns.gb(0)));
                        let beside = Some(("the default", 1));
                        section.rows.push(row(lab, what, &turns, 0, beside));
                    }
                    Ok(None) => section.warnings.push(format!(
                        "{what}: left out, as its buffers would take too much memory here."
                    )),
                    Err(why) => section.warnings.push(format!("{what}: {why}.")),
                }
            }
            lines.series.push(Series {
                name: plural(threads),
                points,
            });
        }
        let (threads, own) = (
            plural(self.options.threads()),
            spelt(self.options.slot_bytes as f64),
        );
        let text = format!(
            " The default here is {threads} with 2 slots of {own} each. The batch is {} in parts of {}.",
            spelt(bytes as f64),
            spelt(PART_BYTES as f64)
        );
        section.about.push_str(&text);
        section.chart = Some(Chart::Lines(lines));
        section.warn_of_scatter();
        section
    }
}

impl Real {
    /// Rates by key size, in GB/s; none where there is no clock.
    fn kernel_rates(&self, lab: &Lab) -> Result<(usize, [Vec<f64>; 3]), Failed> {
        let software_bytes = if lab.quick { 4 * MIB } else { 8 * MIB };
        // Enough to have every multiprocessor at work; the host holds it three times.
        let fitting = [128 * MIB, 64 * MIB, 32 * MIB]
            .into_iter()
            .find(|bytes| 3 * bytes <= lab.memory_bytes);
        let bytes = if self.is_software() {
            software_bytes
        } else {
            fitting.unwrap_or(16 * MIB)
        };
        let text = vec![0x5a; bytes];
        let (passes, runs) = if lab.quick { (2, 3) } else { (3, 7) };
        let mut rates = [const { Vec::new() }; 3];
        let device = Device::open(&self.options).map_err(reason)?;
        // The lengths take turns, a few runs each.
        for _ in 0..passes {
            for ((bits, _), rates) in H200_BOUNDS.into_iter().zip(&mut rates) {
                let cipher = ctr(bits).map_err(said)?;
                let offload = cipher.offload().ok_or("there is nothing to offload")?;
                let item = Item {
                    offload,
                    text: Text::plain(&text),
                    offset: 0,
                };
                let limit = self.options.limit;
                let seconds =
                    kernel_time::seconds(&device, &[item], (bytes, runs), limit).map_err(reason)?;
                rates.extend(
                    seconds
                        .into_iter()
                        .map(|seconds| bytes as f64 / 1e9 / seconds),
                );
            }
        }
        Ok((bytes, rates))
    }

    /// Another number or size of slots, beside its own; `None` where they do not fit.
    fn slot(
        &self,
        lab: &Lab,
        bytes: usize,
        (threads, slot_bytes): (usize, usize),
    ) -> Result<Option<Turns>, Failed> {
        // Two ways on the host; a program has the device's memory there as well.
        let (buffers, most) = if self.is_software() {
            (4, 128 * MIB)
        } else {
            (2, (share_bytes() / 2).min(MOST_SLOT_BYTES))
        };
        if 2 * threads * slot_bytes * buffers > most {
            return Ok(None);
        }
        let options = Options {
            threads,
            slot_bytes,
            ..self.options.clone()
        };
        let stop = AtomicBool::new(false);
        let other = Gpu::start(&options, &lab.all, &stop).map_err(reason)?;
        let other = Real {
            gpu: other,
            options,
            copies: RefCell::new(None),
        };
        let batch = Batch::object(lab, &ctr(256).map_err(said)?, bytes, PART_BYTES);
        turns::take(lab.pace, vec![batch.on_card(&other), batch.on_card(self)]).map(Some)
    }
}

fn plural(threads: usize) -> String {
    let plural = if threads == 1 { "" } else { "s" };
    format!("{threads} thread{plural}")
}

/// A figure that was not measured.
fn exactly(value: f64) -> Spread {
    Spread::of(vec![value])
}

fn bound_beside(rate: Spread, bound: f64) -> Beside {
    let of = |value: f64| value / bound;
    Beside {
        what: "computed bound of an H200".into(),
        gb_per_second: exactly(bound),
        ratio: Spread {
            least: of(rate.least),
            low: of(rate.low),
            median: of(rate.median),
            high: of(rate.high),
            most: of(rate.most),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_an_h200_is_said_to_be_computed() {
        let rate = Spread::of(vec![113.5, 113.5, 227.0]);
        let beside = bound_beside(rate, H200_BOUNDS[2].1);
        assert_eq!(
            (beside.gb_per_second.median, beside.ratio.median),
            (227.0, 0.5)
        );
        assert!(beside.what.contains("computed") && beside.what.contains("H200"));
    }
}
