//! Connections that are stuck, and programs that answer nothing, with Ockam at one end or both: what
//! is silent is not dead.

mod common;

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use common::chain::{Cast, Chain};
use common::http::{self, Client};
use common::node::{Home, Kind, Registration};
use common::{for_each, mixed, open_becomes};
use culvert_tests::alone;
use culvert_tests::chain::NAME;
use culvert_tests::net::{self, connect, digest, write_pattern};
use culvert_tests::proc;
use culvert_tests::service::Service;

const MIB: usize = 1 << 20;

/// How long something is stuck: longer than a Culvert peer may be silent, shorter than the limit
/// for sockets that take nothing.
const STUCK: Duration = Duration::from_secs(7);

/// A client that does not read costs bounded memory, loses nothing, and goes on when it reads.
#[test]
fn a_client_that_does_not_read_for_a_while() {
    let _turn = alone();
    for_each(mixed(), |cast| {
        let service = Service::source(3, 64 * MIB);
        let chain = Chain::start(cast, service.address());
        let mut client = connect(chain.address);
        thread::sleep(STUCK);
        for process in [&chain.inlet, &chain.outlet] {
            let peak = proc::peak_resident(process.id()) / MIB as u64;
            println!("peak of {} MiB", peak);
            assert!(peak < 120, "{peak} MiB");
        }
        let (total, hash) = digest(&mut client).expect("all data");
        let expected = write_pattern(&mut std::io::sink(), 3, 64 * MIB).expect("hash");
        assert_eq!((total, hash), (64 * MIB as u64, expected));
    });
}

/// The same with a service that does not read for a while, with amounts of data that fill more and
/// more of the queues on the way.
#[test]
fn a_service_that_does_not_read_for_a_while() {
    let _turn = alone();
    for_each(mixed(), |cast| {
        let service = Service::start(|stream, _| {
            thread::sleep(STUCK);
            let _ = http::serve(stream);
        });
        let chain = Chain::start(cast, service.address());
        for size in [5 * MIB + MIB / 2, 8 * MIB, 32 * MIB] {
            let mut client = Client::connect(chain.address);
            client
                .put(1, size)
                .unwrap_or_else(|error| panic!("{size} bytes: {error}"));
        }
        open_becomes(&service, 0);
    });
}

/// A client leaves in the middle of an answer that it does not read: others go on.
#[test]
fn a_client_leaves_in_the_middle() {
    let _turn = alone();
    for_each(mixed(), |cast| {
        let service = http::service();
        let chain = Chain::start(cast, service.address());
        let mut stuck = connect(chain.address);
        stuck
            .write_all(b"GET /1/67108864 HTTP/1.1\r\n\r\n")
            .expect("send");
        let mut first = [0; 8];
        stuck.read_exact(&mut first).expect("a beginning");
        thread::sleep(STUCK);
        drop(stuck);
        let began = Instant::now();
        let mut client = Client::connect(chain.address);
        client.get(1, 100_000).expect("an answer");
        println!("the next connection works after {:?}", began.elapsed());
        open_becomes(&service, 1);
    });
}

/// A program made with Ockam's library has no services unless it starts them, so nothing but the
/// portal answers. Its connections stay nevertheless.
#[test]
fn an_inlet_without_services() {
    let _turn = alone();
    for outlet in [Kind::Culvert, Kind::Ockam] {
        let cast = Cast::new(Kind::Ockam, Kind::Culvert, outlet, Registration::Plain);
        println!("--- {cast}");
        let (_service, chain) = Chain::echoing(cast);
        let Home::Ockam(home) = &chain.inlet_home else {
            continue;
        };
        let process = home
            .program()
            .args(["inlet", "--relay", &chain.relay.address().to_string()])
            .args(["--via", NAME, "--bare"])
            .args(["--allow", chain.outlet_home.identifier()])
            .start("bare ockam inlet");
        let listening = process.event("listening");
        let mut client = connect(listening.text("address").parse().expect("an address"));
        net::echo(&mut client, b"hello").expect("an echo");
        thread::sleep(STUCK);
        net::echo(&mut client, b"still there").expect("an echo");
    }
}
