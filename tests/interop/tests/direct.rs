//! Direct paths over UDP between a real Ockam node and Culvert, with Culvert's rendezvous.

mod common;

use common::node::{Home, Kind, Way, listening};
use culvert_tests::chain::{NAME, Relay};
use culvert_tests::metrics::scrape;
use culvert_tests::net::{connect, echo, free_address};
use culvert_tests::service::Service;

/// What goes along the path, in bytes: more than the rest of what a relay is told meanwhile.
const MESSAGE: usize = 2_000;
const ROUNDS: u8 = 50;

/// An inlet of this kind opposite an outlet of the other, on a direct path; both ends show that
/// what a client says does not pass the relay.
fn direct(inlet: Kind, outlet: Kind) {
    let relay = Relay::start(&["--rendezvous", "127.0.0.1:0"]);
    let rendezvous = relay.listening.text("rendezvous");
    let (near, far) = (Home::new(inlet, "ed25519"), Home::new(outlet, "ed25519"));
    let metrics = free_address().to_string();
    let arguments = |home: &Home| match home {
        Home::Culvert { .. } => vec![
            "--shards",
            "1",
            "--direct",
            "--rendezvous",
            rendezvous,
            "--metrics",
            &metrics,
        ],
        Home::Ockam(_) => vec!["--rendezvous", rendezvous],
    };
    let service = Service::echo();
    let outlet = far.start_outlet(
        relay.address,
        NAME,
        service.address(),
        &[near.identifier()],
        &arguments(&far),
    );
    outlet.event("registered");
    let way = Way::via(relay.address, NAME);
    let inlet = near.start_inlet(&way, &[far.identifier()], &arguments(&near));
    let address = match near {
        Home::Culvert { .. } => {
            let address = listening(&inlet);
            inlet.event("direct");
            address
        }
        Home::Ockam(_) => {
            inlet.event("direct");
            listening(&inlet)
        }
    };
    let relayed = || scrape(relay.metrics).get("culvert_bytes_total");
    let before = relayed();
    let mut client = connect(address);
    for round in 0..ROUNDS {
        echo(&mut client, &[round; MESSAGE]).expect("an echo along the direct path");
    }
    let more = relayed() - before;
    assert!(more < 20_000.0, "{more} bytes went through the relay");
    let culvert = scrape(metrics.parse().expect("an address"));
    assert!(culvert.get("culvert_datagrams_total") > f64::from(ROUNDS) * 2.0);
    // Segments are for Culvert nodes only: none is sent again, because none is sent.
    assert_eq!(culvert.get("culvert_segments_again_total"), 0.0);
}

#[test]
fn an_ockam_inlet_reaches_a_culvert_outlet() {
    direct(Kind::Ockam, Kind::Culvert);
}

#[test]
fn a_culvert_inlet_reaches_an_ockam_outlet() {
    direct(Kind::Culvert, Kind::Ockam);
}
