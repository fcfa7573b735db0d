//! A relay of several shards: names from every one of them, links that move, back-pressure across.

use std::io::Write;
use std::thread;
use std::time::Duration;

use culvert_proto::bare;
use culvert_proto::forwarder::STATIC_FORWARDING_SERVICE;
use culvert_proto::message::Message;
use culvert_tests::chain::Relay;
use culvert_tests::wire::{Received, Wire, framed, message, route};
use culvert_tests::{PATIENCE, alone, metrics, proc};

const SHARDS: &[&str] = &["--allow-plain-registration", "--shards", "4"];

fn register(relay: &Relay, name: &str) -> Wire {
    let mut wire = Wire::open(relay.address);
    wire.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string(name));
    assert_eq!(
        wire.message().payload,
        bare::string(&format!("forward_to_{name}"))
    );
    wire
}

/// Sends a question by name and has the owner answer it the way it came.
fn question(user: &mut Wire, owner: &mut Wire, name: &str, payload: &[u8]) {
    user.send_message(&[&format!("forward_to_{name}"), "svc"], &["user"], payload);
    let got = owner.message();
    assert_eq!(got.payload, payload);
    let answer = Message {
        onward: got.return_route,
        return_route: route(&["svc"]),
        payload: got.payload,
        tracing: None,
    };
    owner.send_frame(&answer.encode());
    assert_eq!(user.message().payload, payload);
}

#[test]
fn every_name_works_from_every_link() {
    let _turn = alone();
    let relay = Relay::start(SHARDS);
    let names: Vec<String> = (0..12).map(|n| format!("n{n}")).collect();
    let mut owners: Vec<Wire> = names.iter().map(|name| register(&relay, name)).collect();
    let before = metrics::scrape(relay.metrics);
    for turn in 0..16u8 {
        let mut user = Wire::open(relay.address);
        // Every other link is known to a service before it is used, so it stays where it is and its
        // messages cross shards; the rest move to the shard of the first name they use.
        if turn % 2 == 0 {
            user.check();
        }
        for (name, owner) in names.iter().zip(&mut owners) {
            question(&mut user, owner, name, &[turn; 100]);
        }
    }
    let after = metrics::scrape(relay.metrics);
    let grown = |name: &str| after.get(name) - before.get(name);
    assert!(grown("culvert_links_moved_total") > 0.0);
    assert!(grown("culvert_handoffs_total") > 0.0);
}

#[test]
fn a_slow_owner_on_another_shard_stops_its_source_and_loses_nothing() {
    const USERS: usize = 6;
    const EACH: usize = 400;
    const SIZE: usize = 256 * 1024;
    let _turn = alone();
    // Held sources must outlast the time a frame may take: it is not they who are slow.
    let relay = Relay::start(&[
        "--allow-plain-registration",
        "--shards",
        "4",
        "--frame-timeout",
        "1",
    ]);
    let mut owner = register(&relay, "slow");
    // Known links do not move: with four shards, most of these are on another one.
    let mut users: Vec<Wire> = (0..USERS).map(|_| Wire::open(relay.address)).collect();
    for user in &mut users {
        user.check();
    }
    let one = framed(&message(&["forward_to_slow", "svc"], &["user"], &[9; SIZE]));
    let sending: Vec<_> = users
        .into_iter()
        .map(|mut user| {
            let one = one.clone();
            thread::spawn(move || {
                user.stream
                    .set_write_timeout(Some(PATIENCE))
                    .expect("a limit");
                for _ in 0..EACH {
                    user.stream.write_all(&one).expect("the relay reads on");
                }
                user
            })
        })
        .collect();
    // Read a little at a time for longer than a frame may take: 600 MB are on offer.
    let read = |owner: &mut Wire, count: usize| {
        for _ in 0..count {
            assert_eq!(owner.message().payload.len(), SIZE);
        }
    };
    for _ in 0..15 {
        read(&mut owner, 10);
        thread::sleep(Duration::from_millis(100));
    }
    let resident = proc::resident(relay.process.id());
    assert!(
        resident < 100 << 20,
        "{resident} bytes for one owner that reads slowly"
    );
    assert!(metrics::scrape(relay.metrics).get("culvert_handoffs_total") > 0.0);
    read(&mut owner, USERS * EACH - 150);
    for sender in sending {
        sender.join().expect("a sender").check();
    }
}

#[test]
fn a_name_has_one_owner_however_close_the_claims() {
    let _turn = alone();
    let relay = Relay::start(SHARDS);
    let claim = |wire: &mut Wire, name: &str| {
        wire.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string(name));
    };
    let mut rivals: Vec<Wire> = (0..4).map(|_| Wire::open(relay.address)).collect();
    for round in 0..200 {
        let name = format!("contested{round}");
        for rival in &mut rivals {
            claim(rival, &name);
        }
        // Those who lost are asked nothing and told nothing: the winner answers no probe in this
        // time, so nobody else may have been confirmed.
        let confirmation = bare::string(&format!("forward_to_{name}"));
        let mut confirmed = 0;
        for rival in &mut rivals {
            while let Received::Frame(frame) = rival.frame(Duration::from_millis(2)) {
                let got = Message::decode(&frame).expect("a message");
                confirmed += usize::from(got.payload == confirmation);
            }
        }
        assert!(confirmed <= 1, "{name} was confirmed {confirmed} times");
    }
}
