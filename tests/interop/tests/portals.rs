//! What the ends of portals say, recorded and compared field by field: with what Ockam says in its
//! place, and with the sessions captured between Ockam nodes. Whatever is not in the lists of
//! differences here is the same to the byte.

mod common;

use std::thread;
use std::time::Duration;

use common::node::{Home, Kind, OckamHome, Registration, Relay, Way, listening};
use common::peer::{Channel, Link, Port};
use common::portal::{ALIKE, CLIENT_RESET, Scenario};
use common::record::{self, Line, Marker, Said};
use culvert_proto::route::Route;
use culvert_tests::chain::NAME;
use culvert_tests::net::{connect, eventually, free_address};
use culvert_tests::tap::{Direction, Tap};
use culvert_tests::wire::route;
use culvert_tests::{PATIENCE, alone};

/// Address of the inlet or outlet worker made by hand, as random as Ockam's.
const WORKER: &str = "a056cea4740c5d4e3e620894e40f3794";

/// How long nothing may come when nothing is expected.
const MOMENT: Duration = Duration::from_millis(500);

/// What an inlet of this kind may do otherwise.
fn inlet_differences(kind: Kind, scenario: &Scenario) -> &'static [Marker] {
    match kind {
        Kind::Culvert if scenario.told.is_empty() => &[Marker::Ping],
        _ => &[],
    }
}

/// Lets an inlet without a channel carry one connection to an Ockam outlet; gives what was said.
fn in_clear(kind: Kind, scenario: &Scenario, messages: usize) -> Vec<Line> {
    let service = scenario.service();
    let outlet_home = OckamHome::new("ed25519");
    let outlet = outlet_home
        .program()
        .args(["outlet", "--listen", "127.0.0.1:0"])
        .args(["--to", &service.address().to_string()])
        .args(scenario.told.iter().copied())
        .start("ockam outlet");
    let tap = Tap::start(listening(&outlet));
    let inlet_home = Home::new(kind, "ed25519");
    let way = Way::in_clear(tap.address());
    let more = [inlet_home.one_link(), scenario.told].concat();
    let inlet = inlet_home.start_inlet(&way, &[], &more);
    let address = listening(&inlet);
    inlet.event("up");
    (scenario.client)(connect(address));
    let said = || record::tapped(&tap, 0);
    eventually("all messages", PATIENCE, || match said().len() {
        n if n >= messages => Ok(()),
        n => Err(n),
    });
    record::lines(&said(), record::bytes)
}

#[test]
fn inlets_in_clear() {
    let _turn = alone();
    for scenario in &ALIKE {
        let captured = record::captured(scenario.session, "link");
        let captured = record::lines(&captured, record::bytes);
        for kind in Kind::BOTH {
            let recorded = in_clear(kind, scenario, captured.len());
            let what = format!("{kind} inlet, {}", scenario.session);
            let untraced = match kind {
                Kind::Culvert => record::said_by(&captured, "near"),
                Kind::Ockam => Vec::new(),
            };
            let allowed = inlet_differences(kind, scenario);
            record::compare(&what, &captured, &recorded, allowed, &untraced);
        }
    }
}

/// Ockam's inlet says nothing when its client resets, until the service writes; Culvert's says at
/// once that the connection has ended.
#[test]
fn inlets_whose_client_resets() {
    let _turn = alone();
    let captured = record::captured(CLIENT_RESET.session, "link");
    let mut captured = record::lines(&captured, record::bytes);
    let disconnect = captured.pop().expect("a Disconnect");
    let _written = captured.pop().expect("what the service wrote");
    let recorded = in_clear(Kind::Ockam, &CLIENT_RESET, captured.len());
    record::compare("ockam inlet, reset", &captured, &recorded, &[], &[]);
    captured.push(disconnect);
    let recorded = in_clear(Kind::Culvert, &CLIENT_RESET, captured.len());
    let allowed = inlet_differences(Kind::Culvert, &CLIENT_RESET);
    let untraced = record::said_by(&captured, "near");
    record::compare(
        "culvert inlet, reset",
        &captured,
        &recorded,
        allowed,
        &untraced,
    );
}

/// Does what the captured inlet did, through a channel to an outlet.
fn replay_inlet(channel: &mut Channel, captured: &[Said]) {
    let outlet = route(&["outlet"]);
    let mut worker = outlet.clone();
    for said in captured {
        if said.direction == Direction::Up {
            // One that skips the handshake sends everything to the outlet.
            let to_outlet = said.message.onward == outlet;
            let onward = if to_outlet { &outlet } else { &worker };
            let payload = said.message.payload.clone();
            channel.send(onward.clone(), route(&[WORKER]), payload);
        } else {
            worker = channel.receive().return_route;
        }
    }
}

#[test]
fn outlets_behind_a_channel() {
    let _turn = alone();
    for scenario in &ALIKE {
        let captured = record::inside(record::captured(scenario.session, "link"));
        for kind in Kind::BOTH {
            let service = scenario.service();
            let relay = Relay::start(Kind::Culvert);
            let home = Home::new(kind, "ed25519");
            let (at, to) = (relay.address(), service.address());
            let outlet = home.start_outlet(at, NAME, to, &[], scenario.told);
            outlet.event("registered");
            let way = format!("forward_to_{NAME}");
            let link = Link::connect(relay.address());
            let mut channel = Channel::initiate(link, &[&way, "api"]);
            replay_inlet(&mut channel, &captured);
            record::compare(
                &format!("{kind} outlet, {}", scenario.session),
                &record::lines(&captured, record::bytes),
                &record::lines(&channel.inside, record::bytes),
                &[],
                &[],
            );
        }
    }
}

/// Ockam's outlet says nothing when its service refuses. Culvert's says that the connection was open
/// and has ended, which an Ockam inlet understands.
#[test]
fn outlets_whose_service_refuses() {
    let _turn = alone();
    let captured = record::inside(record::captured("portal_target_refused", "link"));
    for kind in Kind::BOTH {
        let relay = Relay::start(Kind::Culvert);
        let home = Home::new(kind, "ed25519");
        let to = free_address();
        let _outlet = home.outlet(relay.address(), to, &[], Registration::Channel);
        let way = format!("forward_to_{NAME}");
        let mut channel = Channel::initiate(Link::connect(relay.address()), &[&way, "api"]);
        replay_inlet(&mut channel, &captured);
        let mut expected = record::lines(&captured, record::bytes);
        if kind == Kind::Culvert {
            let pong = channel.receive();
            let disconnect = channel.receive();
            assert_eq!((pong.payload, disconnect.payload), (vec![1], vec![2]));
            expected = record::lines(&channel.inside, record::bytes);
        }
        assert!(channel.try_receive(MOMENT).is_none());
        let recorded = record::lines(&channel.inside, record::bytes);
        record::compare(
            &format!("{kind} outlet, refused"),
            &expected,
            &recorded,
            &[],
            &[],
        );
    }
}

/// Does what the captured outlet did, in a channel that an inlet opened, and answers the questions
/// of its session.
fn replay_outlet(channel: &mut Channel, captured: &[Said]) {
    let mut inlet = Route::new();
    for said in captured {
        if said.direction == Direction::Down {
            let payload = said.message.payload.clone();
            channel.send(inlet.clone(), route(&[WORKER]), payload);
            continue;
        }
        let mut asked = channel.receive();
        while asked.onward == route(&["echo"]) {
            channel.answer(&asked, "echo", asked.payload.clone());
            asked = channel.receive();
        }
        inlet = asked.return_route;
    }
}

#[test]
fn inlets_behind_a_channel() {
    let _turn = alone();
    for scenario in &ALIKE {
        let captured = record::inside(record::captured(scenario.session, "link"));
        for kind in Kind::BOTH {
            let port = Port::open();
            let home = Home::new(kind, "ed25519");
            let more = [home.one_link(), scenario.told].concat();
            let inlet = home.start_inlet(&Way::via(port.address(), NAME), &[], &more);
            let way = format!("forward_to_{NAME}");
            let mut channel = Channel::respond(port.accept(), &[&way, "api"]);
            let address = listening(&inlet);
            inlet.event("up");
            let client = thread::spawn({
                let client = scenario.client;
                move || client(connect(address))
            });
            replay_outlet(&mut channel, &captured);
            client.join().expect("the client");
            let (inside, questions) = record::without_questions(channel.inside);
            println!("{questions} questions");
            record::compare(
                &format!("{kind} inlet, {}", scenario.session),
                &record::lines(&captured, record::bytes),
                &record::lines(&inside, record::bytes),
                inlet_differences(kind, scenario),
                &[],
            );
        }
    }
}
