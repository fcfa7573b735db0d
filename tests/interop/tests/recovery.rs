//! Culvert's sessions when what was restarted is Ockam's.

mod common;

use std::io;
use std::time::{Duration, Instant};

use common::chain::{Cast, Chain};
use common::for_each;
use common::node::{Kind, Registration};
use culvert_tests::alone;
use culvert_tests::net::{self, eventually, try_connect};

/// How long until connections can be made again.
const SOON: Duration = Duration::from_secs(10);

fn echoes(chain: &Chain) -> io::Result<()> {
    let limit = Duration::from_secs(2);
    let mut client = try_connect(chain.address, limit)?;
    net::echo(&mut client, b"are you there")
}

fn await_recovery(chain: &Chain, began: Instant) {
    let (_, at) = eventually("an echo", SOON, || echoes(chain));
    println!("an echo after {:?}", at - began);
}

#[test]
fn a_relay_is_restarted() {
    let _turn = alone();
    let casts = [Registration::Plain, Registration::Channel]
        .map(|registration| Cast::new(Kind::Culvert, Kind::Ockam, Kind::Culvert, registration));
    for_each(casts.into_iter(), |cast| {
        let (_service, mut chain) = Chain::echoing(cast);
        for _ in 0..2 {
            echoes(&chain).expect("an echo");
            let began = Instant::now();
            chain.relay = chain.relay.kill_and_restart();
            await_recovery(&chain, began);
        }
    });
}

#[test]
fn an_outlet_is_restarted() {
    let _turn = alone();
    let casts = [Kind::Culvert, Kind::Ockam].into_iter().flat_map(|relay| {
        [Registration::Plain, Registration::Channel]
            .map(|registration| Cast::new(Kind::Culvert, relay, Kind::Ockam, registration))
    });
    for_each(casts, |cast| {
        let (service, mut chain) = Chain::echoing(cast);
        for _ in 0..2 {
            echoes(&chain).expect("an echo");
            let began = Instant::now();
            chain.outlet.kill();
            chain.outlet = chain.outlet_home.outlet(
                chain.relay.address(),
                service.address(),
                &[chain.inlet_home.identifier()],
                cast.registration,
            );
            await_recovery(&chain, began);
        }
    });
}
