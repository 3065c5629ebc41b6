//! Every mode, key size and buffer size on every kernel, beside every other implementation that
//! this machine has. `make bench` runs it; ratios that can be quoted come from `ratios`, which
//! compares in pairs.

#[path = "peers/peers.rs"]
mod peers;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 4] = [64 << 10, 1 << 20, 8 << 20, 64 << 20];

fn ciphers(criterion: &mut Criterion) {
    for task in peers::TASKS {
        for bits in [128, 192, 256] {
            let mut everybody = peers::all(task, bits);
            for bytes in SIZES {
                let mut group = criterion.benchmark_group(format!("{task:?} {bits}/{bytes}"));
                group.throughput(Throughput::Bytes(bytes as u64));
                let mut buffer = peers::Buffer::new(bytes);
                for (name, work) in &mut everybody {
                    group.bench_function(name.as_str(), |b| b.iter(|| work(buffer.bytes())));
                }
                group.finish();
            }
        }
    }
}

fn memory(criterion: &mut Criterion) {
    for bytes in SIZES {
        let mut group = criterion.benchmark_group(format!("memcpy/{bytes}"));
        group.throughput(Throughput::Bytes(bytes as u64));
        let (mut from, mut to) = (peers::Buffer::new(bytes), peers::Buffer::new(bytes));
        group.bench_function("memcpy", |b| {
            b.iter(|| to.bytes().copy_from_slice(from.bytes()))
        });
        group.finish();
    }
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(300))
}

criterion_group! { name = benches; config = short(); targets = memory, ciphers }
criterion_main!(benches);
