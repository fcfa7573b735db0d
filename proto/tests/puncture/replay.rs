//! The recorded puncture, with either recorded node replaced by ours: it says the same bytes.

use crate::common::{bytes, list, vectors};
use core::net::SocketAddr;
use culvert_proto::frame;
use culvert_proto::message::Message;
use culvert_proto::puncture::{Config, Output, PING, Phase, Puncture, Received, Setup, Transmit};
use culvert_proto::route::Route;
use culvert_proto::udp::{self, Datagram, Reassembler, RoutingNumber, Splitter};
use serde_json::Value;

/// A recorded datagram.
struct Record {
    at_ms: u64,
    from: u16,
    to: u16,
    datagram: Vec<u8>,
    message: Message,
}

/// Who is who in the recording.
struct Recording {
    records: Vec<Record>,
    initiate: Vec<u8>,
    acknowledge: Vec<u8>,
    rendezvous: u16,
    initiator: u16,
    responder: u16,
}

fn host(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn recording() -> Recording {
    let file = vectors("udp_session_puncture.json");
    let port = |value: &Value, key: &str| value[key].as_u64().unwrap() as u16;
    let records: Vec<Record> = list(&file, "datagrams")
        .iter()
        .map(|record| {
            let datagram = bytes(record, "hex");
            let part = Datagram::decode(&datagram).unwrap().part;
            Record {
                at_ms: record["t_ms"].as_u64().unwrap(),
                from: port(record, "src_port"),
                to: port(record, "dst_port"),
                message: Message::decode(part).unwrap(),
                datagram,
            }
        })
        .collect();
    let mut negotiation = list(&file, "tcp_side_channel").iter().filter_map(|event| {
        let mut data = hex::decode(event["hex"].as_str()?).unwrap();
        if data.len() > 1 && data[0] == 1 {
            data.remove(0);
        }
        let frame::Decoded::Frame(range) = frame::decode(&data).ok()? else {
            return None;
        };
        Some(Message::decode(&data[range]).unwrap().payload)
    });
    let rendezvous = port(&file, "rendezvous_port");
    let initiator = records[0].from;
    let responder = records
        .iter()
        .find(|r| ![initiator, rendezvous].contains(&r.from));
    Recording {
        initiate: negotiation.next().unwrap(),
        acknowledge: negotiation.next().unwrap(),
        rendezvous,
        initiator,
        responder: responder.unwrap().from,
        records,
    }
}

/// Value of the only local address of a route.
fn only(route: &Route) -> Vec<u8> {
    assert_eq!(route.hops(), 1);
    route.first().unwrap().local_value().unwrap().to_vec()
}

/// Plays one node: feeds it what was sent to it, and expects it to say what was recorded of it.
struct Player {
    puncture: Puncture,
    splitter: Splitter,
    reassembler: Reassembler,
    said: Vec<(SocketAddr, Vec<u8>)>,
    negotiated: Vec<Vec<u8>>,
    /// Through the path, as soon as it is open.
    waiting: Vec<Message>,
}

impl Player {
    fn send(&mut self, transmit: &Transmit) {
        for datagram in self.splitter.split(&transmit.message).unwrap() {
            let mut out = Vec::new();
            datagram.encode_into(&mut out);
            self.said.push((transmit.to, out));
        }
    }

    fn poll(&mut self, now_ms: u64) {
        while let Some(output) = self.puncture.poll(now_ms) {
            match output {
                Output::Datagrams(transmit) => self.send(&transmit),
                Output::Negotiate(payload) => self.negotiated.push(payload),
            }
        }
        if self.puncture.phase() == Phase::Open {
            for message in core::mem::take(&mut self.waiting) {
                let (onward, back) = (&message.onward, &message.return_route);
                let transmit = self.puncture.wrap(onward, back, &message.payload);
                self.send(&transmit.unwrap());
            }
        }
    }

    /// Returns a payload that the peer sent, and the routes around it.
    fn hear(&mut self, now_ms: u64, from: u16, datagram: &[u8]) -> Option<Message> {
        let received = self.reassembler.receive(now_ms, host(from), datagram);
        let udp::Received::Message(message) = received.unwrap() else {
            panic!("one part each");
        };
        match self
            .puncture
            .on_message(now_ms, host(from), &message)
            .unwrap()
        {
            Received::Answer(transmit) => self.send(&transmit),
            Received::Payload(payload) => {
                return Some(Message::new(
                    payload.onward.to_owned(),
                    payload.return_route.to_owned(),
                    payload.data.to_vec(),
                ));
            }
            _ => {}
        }
        None
    }
}

fn player(recording: &Recording, own: u16, puncture: impl FnOnce(Setup) -> Puncture) -> Player {
    let of_ours = |r: &&Record| r.from == own;
    let query = recording.records.iter().find(of_ours).unwrap();
    let ping = recording
        .records
        .iter()
        .filter(of_ours)
        .find(|r| r.to != recording.rendezvous)
        .unwrap();
    let puncture = puncture(Setup {
        rendezvous: host(recording.rendezvous),
        worker: only(&ping.message.return_route),
        reply_to: only(&query.message.return_route),
        config: Config {
            probe_ms: 1_000,
            ..Config::default()
        },
    });
    let first = Datagram::decode(&query.datagram).unwrap().number;
    Player {
        puncture,
        splitter: Splitter::new(first),
        reassembler: Reassembler::new(udp::Config::default()),
        said: Vec::new(),
        negotiated: Vec::new(),
        waiting: Vec::new(),
    }
}

/// Numbers differ where we ping at another moment: compared is everything else.
fn without_number(datagram: &[u8]) -> Vec<u8> {
    let mut decoded = Datagram::decode(datagram).unwrap();
    decoded.number = RoutingNumber(256);
    let mut out = Vec::new();
    decoded.encode_into(&mut out);
    out
}

/// Plays the whole recording: in the end, whatever the recorded node said, ours has said too.
fn play(recording: &Recording, own: u16, mut player: Player) {
    let mut acknowledge = (own == recording.initiator).then_some(&recording.acknowledge);
    let mut heard = Vec::new();
    for record in &recording.records {
        let now_ms = record.at_ms;
        player.poll(now_ms);
        if record.to == own {
            heard.extend(player.hear(now_ms, record.from, &record.datagram));
            player.poll(now_ms);
        }
        if player.puncture.phase() == Phase::Negotiating
            && let Some(payload) = acknowledge.take()
        {
            player.puncture.on_acknowledge(now_ms, payload).unwrap();
        }
        if record.from == own && record.message.return_route.is_empty() {
            player.waiting.push(recorded_payload(record));
        }
        player.poll(now_ms);
    }
    let negotiated = match own == recording.initiator {
        true => &recording.initiate,
        false => &recording.acknowledge,
    };
    assert_eq!(&player.negotiated, core::slice::from_ref(negotiated));
    let peer = recording.initiator ^ recording.responder ^ own;
    assert_eq!(player.puncture.path(), Some(host(peer)));

    let mut said: Vec<_> = player
        .said
        .iter()
        .map(|(to, datagram)| (*to, without_number(datagram)))
        .collect();
    let mut compared = 0;
    for record in recording.records.iter().filter(|record| record.from == own) {
        let expected = (host(record.to), without_number(&record.datagram));
        let at = said.iter().position(|said| *said == expected);
        said.remove(at.unwrap_or_else(|| panic!("not said: {:?}", record.message)));
        compared += 1;
    }
    // Nothing less, and nothing more than our answer to the first Ping: a Ping of our own.
    let ping = |said: &(SocketAddr, Vec<u8>)| {
        let message = Message::decode(Datagram::decode(&said.1).unwrap().part).unwrap();
        message.payload == PING && !message.onward.is_empty()
    };
    let more = usize::from(own == recording.responder);
    assert_eq!((compared, said.len()), (9 + more, more));
    assert!(said.iter().all(ping));

    // What came through the path is the text, once.
    let [heard] = &heard[..] else {
        panic!("one message");
    };
    let echoed = recorded_payload(
        recording
            .records
            .iter()
            .find(|record| record.from == own && record.message.return_route.is_empty())
            .unwrap(),
    );
    assert_eq!(heard.payload, echoed.payload);
    assert_eq!(
        (&heard.onward, &heard.return_route),
        (&echoed.return_route, &echoed.onward)
    );
}

fn recorded_payload(record: &Record) -> Message {
    use culvert_proto::puncture::PunctureMessage;
    let Ok(PunctureMessage::Payload(payload)) = PunctureMessage::decode(&record.message.payload)
    else {
        panic!("a Payload");
    };
    Message::new(
        payload.onward.to_owned(),
        payload.return_route.to_owned(),
        payload.data.to_vec(),
    )
}

#[test]
fn our_initiator_says_what_the_recorded_one_said() {
    let recording = recording();
    let own = recording.initiator;
    let player = player(&recording, own, |setup| {
        Puncture::initiator(setup, 0).unwrap()
    });
    play(&recording, own, player);
}

#[test]
fn our_responder_says_what_the_recorded_one_said() {
    let recording = recording();
    let own = recording.responder;
    let player = player(&recording, own, |setup| {
        Puncture::responder(setup, &recording.initiate, 0).unwrap()
    });
    play(&recording, own, player);
}

/// The first datagrams of either node, with their numbers.
#[test]
fn the_first_words_are_the_same_to_the_last_byte() {
    let recording = recording();
    for own in [recording.initiator, recording.responder] {
        let mut player = player(&recording, own, |setup| match own == recording.initiator {
            true => Puncture::initiator(setup, 0).unwrap(),
            false => Puncture::responder(setup, &recording.initiate, 0).unwrap(),
        });
        player.poll(0);
        let from_rendezvous = recording
            .records
            .iter()
            .find(|r| r.from == recording.rendezvous && r.to == own)
            .unwrap();
        player.hear(0, recording.rendezvous, &from_rendezvous.datagram);
        player.poll(0);
        let negotiated = match own == recording.initiator {
            true => &recording.initiate,
            false => &recording.acknowledge,
        };
        assert_eq!(&player.negotiated, core::slice::from_ref(negotiated));
        if own == recording.initiator {
            let acknowledge = &recording.acknowledge;
            player.puncture.on_acknowledge(0, acknowledge).unwrap();
        }
        player.poll(0);
        let of_theirs = recording.records.iter().filter(|r| r.from == own).take(2);
        let theirs: Vec<_> = of_theirs
            .map(|r| (host(r.to), r.datagram.clone()))
            .collect();
        assert_eq!(player.said, theirs);
    }
}
