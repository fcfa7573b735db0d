//! The wire format: what a relay does to each message, and what edges add.
//!
//! Each figure is for one message with the routes a portal's messages have on the way through a
//! relay: two onward hops and one to return.
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use culvert_benches::SIZES;
use culvert_proto::address::Address;
use culvert_proto::frame;
use culvert_proto::message::{Layout, Message};
use culvert_proto::portal::{PortalMessage, payload_header};
use culvert_proto::rewrite::Rewrite;
use culvert_proto::route::Route;

/// Room in front of a message for a prefix that grows.
const HEADROOM: usize = 256;

fn hop(n: u8) -> Address {
    Address::local(format!("{n:032x}"))
}

fn message(payload: usize) -> Vec<u8> {
    let mut onward = Route::new();
    onward.push_back(hop(1).as_ref());
    onward.push_back(hop(2).as_ref());
    let mut return_route = Route::new();
    return_route.push_back(hop(3).as_ref());
    Message::new(onward, return_route, vec![7; payload]).encode()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = frame::length_prefix(message.len())
        .expect("short enough")
        .to_vec();
    bytes.extend_from_slice(message);
    bytes
}

fn sized(
    criterion: &mut Criterion,
    name: &str,
    mut bench: impl FnMut(&mut criterion::Bencher<'_>, usize),
) {
    let mut group = criterion.benchmark_group(name);
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bench(bencher, size);
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    sized(criterion, "frame decode", |bencher, size| {
        let bytes = framed(&message(size));
        bencher.iter(|| frame::decode(black_box(&bytes)));
    });
    sized(criterion, "message view", |bencher, size| {
        let bytes = message(size);
        bencher.iter(|| Layout::parse(black_box(&bytes)));
    });
}

fn rewrite(criterion: &mut Criterion) {
    // What the relay worker does: its own hop off, the owner's link on, the sender's link to the
    // way back.
    sized(criterion, "rewrite in place", |bencher, size| {
        let original = message(size);
        let layout = Layout::parse(&original).expect("a message");
        let (mut onward, mut back) = (Route::new(), Route::new());
        onward.push_back(hop(8).as_ref());
        back.push_back(hop(9).as_ref());
        let change = Rewrite {
            pop: 1,
            push_onward: onward.view(),
            push_return: back.view(),
        };
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&original);
        let prefix = original[..layout.tail_start()].to_vec();
        bencher.iter(|| {
            // The change destroys only the prefix, so putting that back is all there is to undo.
            buffer[HEADROOM..HEADROOM + prefix.len()].copy_from_slice(&prefix);
            change.apply(black_box(&mut buffer), HEADROOM, &layout)
        });
    });
    sized(
        criterion,
        "rewrite by decoding and encoding",
        |bencher, size| {
            let original = message(size);
            let (onward, back) = (hop(8), hop(9));
            bencher.iter(|| {
                let mut message = Message::decode(black_box(&original)).expect("a message");
                message.onward = message.onward.without_first();
                message.onward.push_front(onward.as_ref());
                message.return_route.push_front(back.as_ref());
                message.encode()
            });
        },
    );
}

fn portal(criterion: &mut Criterion) {
    sized(criterion, "portal decode", |bencher, size| {
        let (head, length) = payload_header(size);
        let mut bytes = head[..length].to_vec();
        bytes.resize(length + size, 7);
        bencher.iter(|| PortalMessage::decode(black_box(&bytes)).map(|message| message.kind()));
    });
    criterion.bench_function("portal payload header", |bencher| {
        bencher.iter(|| payload_header(black_box(131_072)));
    });
    criterion.bench_function("route view", |bencher| {
        let mut hops = Route::new();
        (0..4).for_each(|n| hops.push_back(hop(n).as_ref()));
        bencher.iter(|| black_box(&hops).iter().count());
    });
}

criterion_group!(benches, decode, rewrite, portal);
criterion_main!(benches);
