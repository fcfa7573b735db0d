//! A relay of several shards: names from every one of them, links that move, back-pressure across.

use std::io::Write;
use std::thread;
use std::time::Duration;

use culvert_proto::bare;
use culvert_proto::forwarder::STATIC_FORWARDING_SERVICE;
use culvert_proto::message::Message;
use culvert_tests::chain::Relay;
use culvert_tests::net::eventually;
use culvert_tests::wire::{Wire, framed, message};
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
        return_route: culvert_tests::wire::route(&["svc"]),
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
    const COUNT: usize = 3000;
    const SIZE: usize = 32 * 1024;
    let _turn = alone();
    let relay = Relay::start(SHARDS);
    let mut owner = register(&relay, "slow");
    // Known links do not move: with four shards, most of these are on another one.
    let mut users: Vec<Wire> = (0..6).map(|_| Wire::open(relay.address)).collect();
    for user in &mut users {
        user.check();
    }
    let one = framed(&message(&["forward_to_slow", "svc"], &["user"], &[9; SIZE]));
    let sending: Vec<_> = users
        .into_iter()
        .map(|mut user| {
            let one = one.clone();
            thread::spawn(move || {
                for _ in 0..COUNT / 6 {
                    user.stream
                        .set_write_timeout(Some(PATIENCE))
                        .expect("a limit");
                    user.stream.write_all(&one).expect("the relay reads on");
                }
                user
            })
        })
        .collect();
    // Nothing is read for as long as it takes the relay to fill up and stop its sources.
    eventually("the relay waits", PATIENCE, || {
        let now = metrics::scrape(relay.metrics);
        let (waits, handoffs) = (
            now.get("culvert_waits_total"),
            now.get("culvert_handoffs_total"),
        );
        if waits + handoffs > 0.0 {
            Ok(())
        } else {
            Err((waits, handoffs))
        }
    });
    thread::sleep(Duration::from_millis(300));
    let resident = proc::resident(relay.process.id());
    assert!(
        resident < 150 << 20,
        "{resident} bytes for one owner that does not read"
    );
    for _ in 0..COUNT {
        assert_eq!(owner.message().payload.len(), SIZE);
    }
    for sender in sending {
        sender.join().expect("a sender").check();
    }
}
