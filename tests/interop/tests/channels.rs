//! Secure channels between Ockam and Culvert: both ways round, with both types of keys, across many
//! changes of keys, and with peers that are not the expected ones.

mod common;

use std::io::{Read as _, Write as _};
use std::time::Duration;

use common::chain::{Cast, Chain};
use common::for_each;
use common::http::{self, Client};
use common::node::{Home, Kind, Registration, Relay};
use culvert_tests::chain::NAME;
use culvert_tests::net::{connect, drain};
use culvert_tests::process::Process;
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, alone};

/// A channel changes a direction's key after this many messages.
const REKEY: usize = 32;

/// Inlet and outlet, that is initiator and responder, of both kinds, with Culvert's relay.
fn ends() -> impl Iterator<Item = Cast> {
    Cast::all().filter(|cast| cast.relay == Kind::Culvert)
}

#[test]
fn more_than_a_hundred_rekeys_in_each_direction() {
    let _turn = alone();
    for_each(ends(), |cast| {
        let (_service, chain) = Chain::echoing(cast);
        let mut client = connect(chain.address);
        let mut back = [0; 8];
        for n in 0..(110 * REKEY) as u64 {
            client.write_all(&n.to_le_bytes()).expect("send");
            client.read_exact(&mut back).expect("receive");
            assert_eq!(u64::from_le_bytes(back), n);
        }
    });
}

#[test]
fn both_types_of_keys() {
    let _turn = alone();
    let keys = [["p256", "ed25519"], ["ed25519", "p256"], ["p256", "p256"]];
    for registration in [Registration::Plain, Registration::Channel] {
        let casts = ends().flat_map(|cast| {
            keys.into_iter().map(move |keys| Cast {
                keys,
                registration,
                ..cast
            })
        });
        for_each(casts, |cast| {
            let service = http::service();
            let chain = Chain::start(cast, service.address());
            let mut client = Client::connect(chain.address);
            client.get(1, 100_000).expect("an answer");
            client.put(2, 100_000).expect("an answer");
        });
    }
}

/// All but the inlet.
struct BeforeInlet {
    service: Service,
    relay: Relay,
    inlet: Home,
    outlet: Home,
    _running: Process,
}

/// Starts an outlet that lets in `allowed`, or the inlet when that is nobody.
fn before_inlet(cast: Cast, allowed: Option<&Home>) -> BeforeInlet {
    let service = http::service();
    let relay = Relay::start(cast.relay);
    let inlet = Home::new(cast.inlet, cast.keys[0]);
    let outlet = Home::new(cast.outlet, cast.keys[1]);
    let allowed = [allowed.unwrap_or(&inlet).identifier()];
    let running = outlet.outlet(
        relay.address(),
        service.address(),
        &allowed,
        cast.registration,
    );
    BeforeInlet {
        service,
        relay,
        inlet,
        outlet,
        _running: running,
    }
}

/// An outlet that does not allow the inlet lets nothing of it through.
#[test]
fn a_stranger_reaches_nothing() {
    let _turn = alone();
    let casts = ends().map(|cast| Cast {
        keys: ["p256", "p256"],
        ..cast
    });
    for_each(casts, |cast| {
        let somebody_else = Home::new(Kind::Culvert, "ed25519");
        let all = before_inlet(cast, Some(&somebody_else));
        // The initiator has done its part before the responder refuses: both kinds say "up".
        let (_inlet, address) = all
            .inlet
            .inlet(all.relay.address(), &[all.outlet.identifier()]);
        let mut client = connect(address);
        let _ = client.write_all(b"GET /1/1 HTTP/1.1\r\n\r\n");
        let (bytes, _) = drain(&mut client, Duration::from_secs(3));
        assert!(bytes.is_empty(), "{bytes:?}");
        assert_eq!(all.service.accepted(), 0);
    });
}

/// An inlet that finds another identity than the expected one does not use the channel.
#[test]
fn an_unexpected_outlet_is_not_used() {
    let _turn = alone();
    for_each(ends(), |cast| {
        let all = before_inlet(cast, None);
        let relay = all.relay.address();
        let expected = [all.inlet.identifier()];
        let (process, news) = match &all.inlet {
            Home::Culvert { edge, name, .. } => {
                let more = ["--identity", name];
                let inlet = edge.start_inlet(relay, NAME, "127.0.0.1:0", &expected, &more);
                (inlet.process, "down")
            }
            Home::Ockam(home) => {
                let process = home
                    .program()
                    .args(["inlet", "--relay", &relay.to_string(), "--via", NAME])
                    .args(["--allow", expected[0], "--timeout", "2"])
                    .start("ockam inlet");
                (process, "failed")
            }
        };
        let event = process.expect(news, PATIENCE, |event| {
            assert_ne!(event.kind(), "up");
            event.kind() == news
        });
        println!("{}", event.json);
        assert_eq!(all.service.accepted(), 0);
    });
}
