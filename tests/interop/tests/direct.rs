//! Direct paths over UDP between a real Ockam node and Culvert, with either's rendezvous.

mod common;

use std::net::SocketAddr;

use common::node::{Home, Kind, OckamHome, Way, listening};
use culvert_tests::alone;
use culvert_tests::chain::{NAME, Relay};
use culvert_tests::metrics::{Samples, scrape};
use culvert_tests::net::{connect, echo, free_address};
use culvert_tests::process::Process;
use culvert_tests::service::Service;

/// What goes along the path, in bytes: more than the rest of what a relay is told meanwhile.
const MESSAGE: usize = 2_000;
const ROUNDS: u8 = 50;

/// An inlet and an outlet with a direct path between them.
struct Pair {
    relay: Relay,
    _inlet: Process,
    /// Where clients connect.
    address: SocketAddr,
    /// Metrics of an end that is Culvert's.
    metrics: SocketAddr,
    _outlet: Process,
    _homes: [Home; 2],
}

impl Pair {
    /// With the rendezvous of the relay, if there is no other.
    fn start(inlet: Kind, outlet: Kind, to: SocketAddr, rendezvous: Option<SocketAddr>) -> Self {
        let relay = Relay::start(&["--rendezvous", "127.0.0.1:0"]);
        let rendezvous = match rendezvous {
            Some(at) => at.to_string(),
            None => relay.listening.text("rendezvous").to_owned(),
        };
        let (near, far) = (Home::new(inlet, "ed25519"), Home::new(outlet, "ed25519"));
        let ends = [&near, &far].map(|home| (home, free_address().to_string()));
        let [of_near, of_far] = ends.each_ref().map(|(home, metrics)| {
            let mut arguments = vec!["--rendezvous", &rendezvous];
            if let Home::Culvert { .. } = home {
                arguments.extend(["--shards", "1", "--direct", "--metrics", metrics]);
            }
            arguments
        });
        let allowed = [near.identifier()];
        let outlet = far.start_outlet(relay.address, NAME, to, &allowed, &of_far);
        outlet.event("registered");
        let way = Way::via(relay.address, NAME);
        let inlet = near.start_inlet(&way, &[far.identifier()], &of_near);
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
        let is_ockam = |home: &Home| matches!(home, Home::Ockam(_));
        let metrics = ends.iter().find(|(home, _)| !is_ockam(home));
        let metrics = metrics.map_or_else(free_address, |(_, at)| at.parse().expect("an address"));
        Self {
            relay,
            _inlet: inlet,
            address,
            metrics,
            _outlet: outlet,
            _homes: [near, far],
        }
    }

    fn relayed(&self) -> f64 {
        scrape(self.relay.metrics).get("culvert_bytes_total")
    }

    fn culvert(&self) -> Samples {
        scrape(self.metrics)
    }
}

/// The two pairs of different kinds.
fn mixed() -> impl Iterator<Item = (Kind, Kind)> {
    Kind::pairs().filter(|(inlet, outlet)| inlet != outlet)
}

/// Both ends show that what a client says does not pass the relay.
#[test]
fn data_leaves_the_relay() {
    let _turn = alone();
    for (inlet, outlet) in mixed() {
        println!("{inlet} inlet, {outlet} outlet");
        let service = Service::echo();
        let pair = Pair::start(inlet, outlet, service.address(), None);
        let before = pair.relayed();
        let mut client = connect(pair.address);
        for round in 0..ROUNDS {
            echo(&mut client, &[round; MESSAGE]).expect("an echo along the direct path");
        }
        let more = pair.relayed() - before;
        assert!(more < 20_000.0, "{more} bytes went through the relay");
        let culvert = pair.culvert();
        assert!(culvert.get("culvert_datagrams_total") > f64::from(ROUNDS) * 2.0);
        // Segments are for Culvert nodes only: none is sent again, because none is sent.
        assert_eq!(culvert.get("culvert_segments_again_total"), 0.0);
    }
}

/// All pairs find each other by the rendezvous of an Ockam node, Culvert's among themselves too.
#[test]
fn by_a_rendezvous_of_ockam() {
    let _turn = alone();
    let home = OckamHome::new("ed25519");
    let rendezvous = home.program().arg("rendezvous").start("ockam rendezvous");
    let at = listening(&rendezvous);
    for (inlet, outlet) in Kind::pairs() {
        println!("{inlet} inlet, {outlet} outlet");
        let service = Service::echo();
        let pair = Pair::start(inlet, outlet, service.address(), Some(at));
        let before = pair.relayed();
        let mut client = connect(pair.address);
        for round in 0..ROUNDS {
            echo(&mut client, &[round; MESSAGE]).expect("an echo along the direct path");
        }
        let more = pair.relayed() - before;
        assert!(more < 20_000.0, "{more} bytes went through the relay");
    }
}
