//! Inlet, relay and outlet, each played by Ockam or by Culvert, with both kinds of registration:
//! every combination carries real connections.

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use common::chain::{Cast, Chain};
use common::http::{self, Client};
use common::node::{Kind, Registration};
use common::open_becomes;
use culvert_tests::alone;
use culvert_tests::chain::NAME;
use serde_json::Value;

const MIB: usize = 1 << 20;

/// Bytes sent in each direction over one connection.
const BULK: usize = 64 * MIB;

/// Connections open at once.
const CONNECTIONS: usize = 50;

fn cell(inlet: Kind, relay: Kind, outlet: Kind, registration: Registration) {
    let _turn = alone();
    let began = Instant::now();
    let service = http::service();
    let cast = Cast::new(inlet, relay, outlet, registration);
    let chain = Chain::start(cast, service.address());
    let address = chain.address;
    let started = began.elapsed();

    echo(&chain);
    small(address);
    let bulk = Instant::now();
    let mut client = Client::connect(address);
    client.put(1, BULK).expect("bytes to the service");
    let up = bulk.elapsed();
    client.get(2, BULK).expect("bytes from the service");
    let down = bulk.elapsed() - up;
    drop(client);
    let many = Instant::now();
    many_connections(address);
    let many = many.elapsed();
    open_becomes(&service, 0);
    println!(
        "started {started:.1?}, up {up:.1?}, down {down:.1?}, {CONNECTIONS} connections {many:.1?}"
    );
}

/// Messages to `echo` at the far end, through a channel of its own.
fn echo(chain: &Chain) {
    let expected = chain.outlet_home.identifier();
    let output = chain
        .third
        .program()
        .args(["echo", "--connect", &chain.relay.address().to_string()])
        .args(["--hop", &format!("forward_to_{NAME}"), "--secure"])
        .args(["--allow", expected, "--count", "100", "--size", "1000"])
        .run();
    let event: Value = serde_json::from_str(&output).expect("one event");
    assert_eq!(event["event"], "echoed", "{event}");
    assert_eq!(event["peer"], expected, "{event}");
}

/// Requests of sizes around the limits of one message.
fn small(address: SocketAddr) {
    let mut client = Client::connect(address);
    for length in [0, 1, 100, 131_072, 131_073] {
        client.get(length as u64, length).expect("an answer");
        client.put(length as u64, length).expect("an answer");
    }
}

/// All of them open at once, each with data of its own in both directions.
fn many_connections(address: SocketAddr) {
    let all_open = Barrier::new(CONNECTIONS);
    let one = |n: u64| -> io::Result<()> {
        let mut client = Client::connect(address);
        let opened = client.get(n, 10);
        all_open.wait();
        opened?;
        for round in 1..=3 {
            let seed = n * 10 + round;
            client.put(seed, 50_000)?;
            client.get(seed, 50_000)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..CONNECTIONS as u64)
            .map(|n| scope.spawn(move || one(n)))
            .collect();
        for (n, thread) in threads.into_iter().enumerate() {
            thread
                .join()
                .expect("a client")
                .unwrap_or_else(|error| panic!("connection {n}: {error}"));
        }
    });
}

macro_rules! cells {
    ($($name:ident: $inlet:ident $relay:ident $outlet:ident;)*) => {
        mod plain {
            $(#[test]
            fn $name() {
                use super::Kind::*;
                super::cell($inlet, $relay, $outlet, super::Registration::Plain);
            })*
        }
        mod channel {
            $(#[test]
            fn $name() {
                use super::Kind::*;
                super::cell($inlet, $relay, $outlet, super::Registration::Channel);
            })*
        }
    };
}

// Inlet, relay, outlet.
cells! {
    culvert_culvert_culvert: Culvert Culvert Culvert;
    culvert_culvert_ockam: Culvert Culvert Ockam;
    culvert_ockam_culvert: Culvert Ockam Culvert;
    culvert_ockam_ockam: Culvert Ockam Ockam;
    ockam_culvert_culvert: Ockam Culvert Culvert;
    ockam_culvert_ockam: Ockam Culvert Ockam;
    ockam_ockam_culvert: Ockam Ockam Culvert;
    ockam_ockam_ockam: Ockam Ockam Ockam;
}
