//! A chart's axis: where its ends lie, where its ticks go, and what they say.

use super::words::bytes;

/// A range of values, drawn evenly or by ratios.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Where the axis begins, as `place` has it.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Place and label.
    pub ticks: Vec<(f64, String)>,
    log: bool,
}

/// What an axis shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scale {
    /// By ratios.
    pub log: bool,
    /// Labels in KiB and MiB.
    pub bytes: bool,
    /// Begins at zero and ends at a tick; only for an even scale.
    pub whole: bool,
    /// As many ticks as have room.
    pub most: usize,
}

impl Axis {
    /// Over these values. None if there is no value that could be drawn.
    pub fn over(values: impl Iterator<Item = f64>, scale: Scale) -> Option<Axis> {
        let values = values.filter(|value| drawable(*value, scale.log));
        let ends = values.map(|value| place(value, scale.log));
        let ends = ends.fold(None, |ends: Option<(f64, f64)>, value| {
            let (least, most) = ends.unwrap_or((value, value));
            Some((least.min(value), most.max(value)))
        });
        let (least, most) = ends?;
        Some(match scale.log {
            true => by_ratios(least, most, scale),
            false => even(least, most, scale),
        })
    }

    /// Where a value lies, if it can be drawn.
    pub fn place(&self, value: f64) -> Option<f64> {
        drawable(value, self.log).then(|| place(value, self.log).clamp(self.from, self.to))
    }

    /// The label of the tick at a place.
    pub fn label(&self, at: f64) -> String {
        let distance = |tick: &&(f64, String)| (tick.0 - at).abs();
        let nearest = self
            .ticks
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)));
        nearest.map(|tick| tick.1.clone()).unwrap_or_default()
    }

    /// How many characters the longest label has.
    pub fn longest(&self) -> usize {
        let lengths = self.ticks.iter().map(|tick| tick.1.chars().count());
        lengths.max().unwrap_or(0)
    }
}

fn drawable(value: f64, log: bool) -> bool {
    value.is_finite() && (!log || value > 0.0)
}

fn place(value: f64, log: bool) -> f64 {
    if log { value.log2() } else { value }
}

fn by_ratios(least: f64, most: f64, scale: Scale) -> Axis {
    // Room at the ends, so that no point lies on the frame; a single value gets a doubling each way.
    let room = if most > least {
        (most - least) * 0.03
    } else {
        1.0
    };
    let (from, to) = (least - room, most + room);
    let ticks = match scale.bytes {
        true => doublings(from, to, scale.most),
        false => decades(from, to, scale.most),
    };
    let label = |at: f64| match scale.bytes {
        true => bytes(at.exp2()),
        false => plain(at.exp2()),
    };
    Axis {
        from,
        to,
        ticks: ticks.into_iter().map(|at| (at, label(at))).collect(),
        log: true,
    }
}

/// Whole powers of two, as few doublings apart as there is room for.
fn doublings(from: f64, to: f64, most: usize) -> Vec<f64> {
    let steps = (1..=64).map(|step| multiples(from, to, f64::from(step)));
    first_that_fits(steps, most)
}

/// 1, 2, 5, 10 and so on; only the tens if there is no room for more.
fn decades(from: f64, to: f64, most: usize) -> Vec<f64> {
    let tens = |step: i32, heads: &[f64]| {
        let powers = (-30..=30).filter(|power| power % step == 0);
        let values =
            powers.flat_map(|power| heads.iter().map(move |head| head * 10f64.powi(power)));
        let places = values.map(f64::log2);
        places.filter(|at| (from..=to).contains(at)).collect()
    };
    let fine: Vec<f64> = tens(1, &[1.0, 2.0, 5.0]);
    if fine.len() < 2 {
        // Less than a factor of two or so: evenly spread values say more.
        let even = multiples(
            from.exp2(),
            to.exp2(),
            nice((to.exp2() - from.exp2()) / 4.0),
        );
        return even.into_iter().map(f64::log2).collect();
    }
    let coarse = (1..=12).map(|step| tens(step, &[1.0]));
    first_that_fits(std::iter::once(fine).chain(coarse), most)
}

fn even(least: f64, most: f64, scale: Scale) -> Axis {
    let (least, most) = if scale.whole {
        (least.min(0.0), most.max(0.0))
    } else {
        (least, most)
    };
    let span = if most > least {
        most - least
    } else {
        least.abs().max(1.0)
    };
    let step = span / scale.most.max(1) as f64;
    let step = if scale.bytes {
        step.log2().ceil().exp2()
    } else {
        nice(step)
    };
    let (from, to) = match scale.whole {
        true => (
            (least / step).floor() * step,
            ((least + span) / step).ceil() * step,
        ),
        false if most > least => (least - span * 0.03, most + span * 0.03),
        false => (least - span / 2.0, least + span / 2.0),
    };
    let label = if scale.bytes { bytes } else { plain };
    let ticks = multiples(from, to, step).into_iter();
    Axis {
        from,
        to,
        ticks: ticks.map(|at| (at, label(at))).collect(),
        log: false,
    }
}

fn first_that_fits(tries: impl Iterator<Item = Vec<f64>>, most: usize) -> Vec<f64> {
    let mut last = Vec::new();
    for ticks in tries {
        // Better too many than a single one, which gives no scale.
        if ticks.len() < 2 && last.len() >= 2 {
            break;
        }
        last = ticks;
        if last.len() <= most {
            break;
        }
    }
    last
}

/// The multiples of a step within a range.
fn multiples(from: f64, to: f64, step: f64) -> Vec<f64> {
    // The ends may be multiples themselves, give or take the last digit.
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last.min(first.saturating_add(200)))
        .map(|index| index as f64 * step)
        .collect()
}

/// The next 1, 2, 2.5, 5 or 10 times a power of ten.
fn nice(step: f64) -> f64 {
    let ten = 10f64.powf(step.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|head| head * ten);
    let fitting = steps.into_iter().find(|nice| *nice >= step * 0.999_999);
    fitting.unwrap_or(step)
}

/// Without needless zeros.
fn plain(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".into()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], scale: Scale) -> Vec<String> {
        let axis = Axis::over(values.iter().copied(), scale).expect("an axis");
        axis.ticks.into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn sizes_are_powers_of_two() {
        let scale = Scale {
            log: true,
            bytes: true,
            most: 5,
            ..Scale::default()
        };
        let (small, large) = (4096.0, f64::from(1 << 30));
        let said = labels(&[small, large], scale);
        assert_eq!(said, ["4 KiB", "64 KiB", "1 MiB", "16 MiB", "256 MiB"]);
        assert_eq!(labels(&[65536.0], scale), ["32 KiB", "64 KiB", "128 KiB"]);
    }

    #[test]
    fn figures_begin_at_zero_and_end_at_a_tick() {
        let scale = Scale {
            whole: true,
            most: 5,
            ..Scale::default()
        };
        assert_eq!(labels(&[3.0, 18.2], scale), ["0", "5", "10", "15", "20"]);
        assert_eq!(labels(&[0.31], scale), ["0", "0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(labels(&[0.0], scale).len(), 6);
    }

    #[test]
    fn ratios_have_decades() {
        let scale = Scale {
            log: true,
            most: 6,
            ..Scale::default()
        };
        assert_eq!(
            labels(&[0.01, 100.0], scale),
            ["0.01", "0.1", "1", "10", "100"]
        );
        assert_eq!(labels(&[1.0, 10.0], scale), ["1", "2", "5", "10"]);
        assert!(labels(&[3.1, 4.6], scale).len() >= 2);
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        let log = Scale {
            log: true,
            most: 5,
            ..Scale::default()
        };
        assert!(Axis::over([f64::NAN, 0.0, -1.0].into_iter(), log).is_none());
        let axis = Axis::over([f64::NAN, 1.0, 8.0].into_iter(), log).expect("an axis");
        assert!(axis.place(f64::INFINITY).is_none() && axis.place(0.0).is_none());
        assert_eq!(axis.place(2.0), Some(1.0));
        assert!(axis.ticks.iter().all(|tick| tick.0.is_finite()));
    }
}
