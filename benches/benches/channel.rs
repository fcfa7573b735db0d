//! Sealing and opening channel messages, in place.
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use culvert_benches::SIZES;
use culvert_crypto::channel::{OVERHEAD, Opener, Sealer};
use culvert_crypto::secret::Secret;

fn key() -> Secret<32> {
    Secret::new([42; 32])
}

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let mut sealer: Sealer = Sealer::new(&key()).expect("a key");
            let mut buffer = vec![7; size + OVERHEAD];
            bencher.iter(|| sealer.seal(black_box(&mut buffer)));
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let mut sealer: Sealer = Sealer::new(&key()).expect("a key");
            let mut opener: Opener = Opener::new(&key()).expect("a key");
            bencher.iter_batched_ref(
                || {
                    let mut message = vec![7; size + OVERHEAD];
                    sealer.seal(&mut message).expect("sealed");
                    message
                },
                |message| opener.open(black_box(message)).expect("opened").nonce,
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, seal, open);
criterion_main!(benches);
