//! What a relay lets whom do: registration, reach, handshakes with strangers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use culvert_proto::bare;
use culvert_proto::forwarder::STATIC_FORWARDING_SERVICE;
use culvert_proto::message::Message;
use culvert_tests::chain::{Chain, Relay};
use culvert_tests::net::{End, connect, echo, eventually};
use culvert_tests::service::Service;
use culvert_tests::wire::{ECHO, Received, Wire, framed, message, route};
use culvert_tests::{PATIENCE, alone, metrics, proc};

/// Registers `name` without a channel and waits for the confirmation.
fn register(wire: &mut Wire, name: &str) {
    wire.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string(name));
    let confirmation = wire.message();
    assert_eq!(confirmation.onward, route(&["me"]));
    assert_eq!(
        confirmation.return_route,
        route(&[&format!("forward_to_{name}")])
    );
    assert_eq!(
        confirmation.payload,
        bare::string(&format!("forward_to_{name}"))
    );
}

#[test]
fn plain_registration_only_where_it_is_allowed() {
    let _turn = alone();
    let strict = Relay::start(&[]);
    let before = metrics::scrape(strict.metrics);
    let mut wire = Wire::open(strict.address);
    wire.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string("x"));
    wire.check();
    metrics::await_count(strict.metrics, &before, "plain_registration", 1.0, PATIENCE);

    let open = Relay::start(&["--allow-plain-registration"]);
    let mut owner = Wire::open(open.address);
    register(&mut owner, "x");
    // Names that cannot be: refused, counted, and the relay lives.
    for bad in ["#", "1#2#3", "x#y", &"n".repeat(256)] {
        let before = metrics::scrape(open.metrics);
        owner.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string(bad));
        owner.check();
        metrics::await_count(open.metrics, &before, "relay_name", 1.0, PATIENCE);
    }
    let before = metrics::scrape(open.metrics);
    owner.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &[0x7f, b'x']);
    owner.check();
    metrics::await_count(open.metrics, &before, "bad_payload", 1.0, PATIENCE);
}

#[test]
fn a_link_reaches_only_what_it_may() {
    let _turn = alone();
    let relay = Relay::start(&["--allow-plain-registration"]);
    let (mut owner, mut user) = (Wire::open(relay.address), Wire::open(relay.address));
    register(&mut owner, "x");
    user.send_message(&["forward_to_x", "deep"], &["user"], b"question");
    let question = owner.message();
    assert_eq!(question.onward, route(&["deep"]));
    assert_eq!(question.payload, b"question");
    assert_eq!(
        question.return_route.hops(),
        2,
        "the way back: {}",
        question.return_route
    );

    // Who was asked may answer.
    let answer = |wire: &mut Wire, payload: &[u8]| {
        let answer = Message {
            onward: question.return_route.clone(),
            return_route: route(&["deep"]),
            payload: payload.to_vec(),
            tracing: None,
        };
        wire.send_frame(&answer.encode());
    };
    answer(&mut owner, b"answer");
    assert_eq!(user.message().payload, b"answer");

    // Who was not asked may not, though it knows the address.
    let before = metrics::scrape(relay.metrics);
    let mut stranger = Wire::open(relay.address);
    answer(&mut stranger, b"forged answer");
    stranger.check();
    metrics::await_count(relay.metrics, &before, "not_permitted", 1.0, PATIENCE);

    // An address one bit away from a real one leads nowhere.
    let before = metrics::scrape(relay.metrics);
    let first = question.return_route.first().expect("a hop").value.to_vec();
    for i in 0..first.len() {
        let mut value = first.clone();
        value[i] ^= 1;
        let value = String::from_utf8(value).expect("text");
        owner.send_message(&[&value, "user"], &["deep"], b"guessed");
    }
    owner.check();
    let tries = first.len() as f64;
    eventually("guesses are counted", PATIENCE, || {
        let now = metrics::scrape(relay.metrics);
        let reasons = ["unknown_address", "not_permitted"];
        let grown: f64 = reasons.iter().map(|r| now.count(r) - before.count(r)).sum();
        if grown >= tries {
            Ok(())
        } else {
            Err(now.reasons())
        }
    });
    user.check();

    // The name goes with its connection.
    drop(owner);
    eventually(
        "the name is released",
        PATIENCE,
        || match metrics::scrape(relay.metrics).get("culvert_forwarders") {
            0.0 => Ok(()),
            left => Err(left),
        },
    );
}

/// A link remembers the way of its last message: only for that name, and only as long as it is right.
#[test]
fn messages_follow_a_name_to_its_next_owner() {
    let _turn = alone();
    let relay = Relay::start(&["--allow-plain-registration", "--shards", "1"]);
    let mut user = Wire::open(relay.address);
    let mut owners = ["x", "xx"].map(|name| {
        let mut owner = Wire::open(relay.address);
        register(&mut owner, name);
        owner
    });
    let mut ask = |owner: &mut Wire, name: &str, question: u8| {
        user.send_message(
            &[&format!("forward_to_{name}"), "deep"],
            &["user"],
            &[question],
        );
        let asked = owner.message();
        assert_eq!(
            (asked.payload, asked.onward),
            (vec![question], route(&["deep"]))
        );
    };
    for question in 0..6 {
        ask(&mut owners[0], "x", question);
        ask(&mut owners[0], "x", question);
        ask(&mut owners[1], "xx", question);
    }
    let [first, _second] = owners;
    let mut next = Wire::open(relay.address);
    drop(first);
    register(&mut next, "x");
    ask(&mut next, "x", 6);
    ask(&mut next, "x", 7);
}

/// Small messages that go where the last one went take a way of their own through the relay.
#[test]
fn what_is_written_at_once_arrives_whole_and_in_order() {
    let _turn = alone();
    let relay = Relay::start(&["--allow-plain-registration", "--shards", "1"]);
    let mut user = Wire::open(relay.address);
    let names = ["x", "xx", "nobody"];
    let mut owners = [0, 1].map(|place| {
        let mut owner = Wire::open(relay.address);
        register(&mut owner, names[place]);
        owner
    });
    let mut written = Vec::new();
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..3000_usize {
        let place = [0, 0, 0, 0, 1, 1, 0, 2][number / 3 % 8];
        let sent = Message {
            onward: route(&[&format!("forward_to_{}", names[place]), "deep"]),
            return_route: route(&["user"]),
            payload: vec![number as u8; number * 37 % 3000],
            tracing: (number % 5 == 0).then(|| "{}".to_owned()),
        };
        let mut encoded = sent.encode();
        if number % 7 == 0 {
            // The same as an array that says at its end how long it was.
            encoded[0] = 0x9f;
            encoded.push(0xff);
        }
        written.extend(framed(&encoded));
        expected[place].push(sent);
    }
    let before = metrics::scrape(relay.metrics);
    let way = thread::scope(|scope| {
        scope.spawn(|| user.send(&written));
        let mut way = None;
        for (owner, expected) in owners.iter_mut().zip(&expected) {
            for sent in expected {
                let got = owner.message();
                assert_eq!(got.payload, sent.payload);
                assert_eq!(got.tracing, sent.tracing);
                assert_eq!(got.onward, route(&["deep"]));
                assert_eq!(got.return_route.hops(), 2);
                way = Some(got.return_route);
            }
        }
        way.expect("a way back")
    });
    let refused = expected[2].len() as f64;
    metrics::await_count(relay.metrics, &before, "unknown_address", refused, PATIENCE);
    let way: Vec<String> = way
        .iter()
        .map(|hop| String::from_utf8_lossy(hop.value).into())
        .collect();
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    owners[1].send_message(&way, &["deep"], b"answer");
    assert_eq!(user.message().payload, b"answer");
    // What is no message ends the link, but not what was before it.
    let mut last = framed(&message(&["forward_to_xx", "deep"], &["user"], b"last"));
    last.extend(framed(&[0x84, 0x81]));
    user.send(&last);
    assert_eq!(owners[1].message().payload, b"last");
    assert_ne!(user.drain(PATIENCE).1, End::Open);
}

#[test]
fn a_plain_name_stays_with_the_connection_that_answers() {
    let _turn = alone();
    let relay = Relay::start(&["--allow-plain-registration"]);
    let mut owner = Wire::open(relay.address);
    register(&mut owner, "x");
    // The owner answers the relay's probe, whatever worker it is for: it is told by its payload.
    let mut thief = Wire::open(relay.address);
    thief.send_message(&[STATIC_FORWARDING_SERVICE], &["me"], &bare::string("x"));
    let probe = owner.message();
    assert_eq!(
        probe.onward,
        route(&[ECHO]),
        "the probe goes to the owner's echo worker"
    );
    let reply = Message {
        onward: probe.return_route.clone(),
        return_route: route(&[ECHO]),
        payload: probe.payload,
        tracing: None,
    };
    owner.send_frame(&reply.encode());
    let before = metrics::Samples::default();
    metrics::await_count(relay.metrics, &before, "relay_name_taken", 1.0, PATIENCE);
    // One that does not answer loses it.
    let mut heir = Wire::open(relay.address);
    register(&mut heir, "x");
}

#[test]
fn handshakes_that_never_complete() {
    let _turn = alone();
    let service = Service::echo();
    let chain = Chain::start(service.address());
    let relay = &chain.relay;
    let before = metrics::scrape(relay.metrics);
    let memory = proc::resident(relay.process.id());

    // Any 32 bytes are a first message; what is shorter is not.
    let mut wire = Wire::open(relay.address);
    wire.send_message(&["api"], &["me"], &[7; 31]);
    wire.check();
    metrics::await_count(relay.metrics, &before, "handshake_failed", 1.0, PATIENCE);
    for n in 0..2000_u32 {
        let mut first = [9; 32];
        first[..4].copy_from_slice(&n.to_be_bytes());
        wire.send_message(&["api"], &["me"], &first);
        wire.send_message(&["forward_to_db", "api"], &["me"], &first);
        // Second messages come back; nobody answers them.
        if n % 50 == 49 {
            while let Received::Frame(_) = wire.frame(Duration::from_millis(1)) {}
        }
    }
    eventually("handshakes are given up", PATIENCE, || {
        let now = metrics::scrape(relay.metrics);
        let reasons = ["too_many_handshakes", "handshake_timeout"];
        if reasons.iter().any(|r| now.count(r) > before.count(r)) {
            Ok(())
        } else {
            Err(now.reasons())
        }
    });
    let grown = proc::resident(relay.process.id()).saturating_sub(memory);
    assert!(grown < 64 << 20, "unfinished handshakes take {grown} bytes");
    echo(&mut connect(chain.address()), b"hello").expect("others are served");
    // And whoever really wants in still gets in.
    let friend = &chain.inlet_edge;
    let inlet = friend.inlet(relay.address, &[&chain.outlet_edge.identifier]);
    echo(&mut connect(inlet.address), b"hello").expect("a new channel comes up");
}

#[test]
fn a_flood_of_handshakes_keeps_nobody_out() {
    let _turn = alone();
    let service = Service::echo();
    let chain = Chain::start(service.address());
    let relay = chain.relay.address;
    let stop = Arc::new(AtomicBool::new(false));
    let flooding: Vec<_> = ["api", "forward_to_db"]
        .into_iter()
        .map(|to| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut wire = Wire::open(relay);
                let mut sent = 0u32;
                while !stop.load(Ordering::Relaxed) {
                    let mut first = [9; 32];
                    first[..4].copy_from_slice(&sent.to_be_bytes());
                    let route: &[&str] = if to == "api" { &["api"] } else { &[to, "api"] };
                    wire.send_message(route, &["me"], &first);
                    sent += 1;
                    let _ = wire.skip_frames(Duration::from_millis(1));
                }
                sent
            })
        })
        .collect();
    // While it goes on: a new inlet gets its channel, and an outlet registers.
    let inlet = chain
        .inlet_edge
        .inlet(relay, &[&chain.outlet_edge.identifier]);
    echo(&mut connect(inlet.address), b"hello").expect("a new channel comes up");
    let friend = chain.inlet_edge.identifier.as_str();
    let _registered = chain
        .outlet_edge
        .outlet(relay, service.address(), &[friend]);
    stop.store(true, Ordering::Relaxed);
    for flood in flooding {
        assert!(flood.join().expect("the flood") > 0);
    }
}

#[test]
fn links_are_counted_on_all_shards_together() {
    let _turn = alone();
    let relay = Relay::start(&["--shards", "2", "--max-links", "20"]);
    let before = metrics::scrape(relay.metrics);
    let _open: Vec<Wire> = (0..20).map(|_| Wire::open(relay.address)).collect();
    let _more: Vec<Wire> = (0..5).map(|_| Wire::silent(relay.address)).collect();
    metrics::await_count(relay.metrics, &before, "too_many_links", 5.0, PATIENCE);
    assert_eq!(metrics::scrape(relay.metrics).get("culvert_links"), 20.0);
}

#[test]
fn a_stranger_that_does_not_read_cannot_use_an_edge_against_others() {
    let _turn = alone();
    let service = Service::echo();
    let chain = Chain::start(service.address());
    let before = metrics::scrape(chain.outlet.metrics);
    let mut stranger = Wire::open(chain.relay.address);
    for _ in 0..200 {
        stranger.send_message(&["forward_to_db", ECHO], &["me"], &[1; 60_000]);
    }
    // The edge answers none of it, so nothing piles up at the relay.
    metrics::await_count(
        chain.outlet.metrics,
        &before,
        "not_permitted",
        200.0,
        PATIENCE,
    );
    echo(&mut connect(chain.address()), b"hello").expect("others are served");
}

#[test]
fn the_rendezvous_is_there_only_when_asked_for() {
    let relay = Relay::start(&["--rendezvous", "127.0.0.1:0"]);
    let at = relay.listening.text("rendezvous").to_owned();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("set a timeout");
    // GetMyAddress, as an Ockam node of version 0.150 sends it.
    let question = "8501190daf0001583b848182004a72656e64657a766f757381820058206336323234\
                    62666362656535306631613832393032623432363737323932643043820180627b7d";
    let question = hex::decode(question).expect("hexadecimal");
    socket.send_to(&question, &at).expect("send");
    let mut answer = [0; 508];
    let len = socket.recv(&mut answer).expect("an answer");
    let own = socket.local_addr().expect("an address").to_string();
    let text = String::from_utf8_lossy(&answer[..len]).into_owned();
    assert!(text.contains(&own), "{own} is not in {text:?}");
    let none = Relay::start(&[]);
    assert!(none.listening.json["rendezvous"].is_null());
}
