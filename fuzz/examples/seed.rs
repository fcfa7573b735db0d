//! Writes the seeds of all targets, from the test vectors: `corpus/<target>/seed-<number>`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Longest seed in bytes. Longer inputs slow the fuzzer down and teach it little.
const MAX_SEED: usize = 2048;
/// Most seeds of one kind in one target.
const MAX_SEEDS: usize = 30;

fn main() -> io::Result<()> {
    let routed = [
        hex_members("transport_messages", &["hex"]),
        hex_members("decode_rules", &["hex"]),
    ]
    .concat();
    write("frame", frames())?;
    write("message_rewrite", rewrites(&routed))?;
    write(
        "cbor",
        [routed, hex_members("requests", &["cbor_hex"])].concat(),
    )?;
    write("portal", portals())?;
    write("handshake", handshakes())?;
    write("transport", transports())?;
    write("change_history", change_histories())?;
    write("datagram", datagrams())?;
    write("puncture", punctures())?;
    write("steady", segments())?;
    write("policy", policies())?;
    write("credential", credentials())?;
    write("request", requests())?;
    write("ticket", tickets())?;
    write("policy", policies())?;
    write("credential", credentials())
}

/// Envelopes, and bodies of answers alone.
fn requests() -> Vec<Vec<u8>> {
    let envelopes = hex_members("requests", &["payload_hex", "cbor_hex"]);
    let authority = hex_members("authority_services", &["payload_on_the_wire", "body"]);
    [envelopes, authority].concat()
}

/// One ticket in all its forms.
fn tickets() -> Vec<Vec<u8>> {
    const HISTORY: &str = "81825837830101583285f68200815820245ba33c7729dce1c94d8c1a00fcf89a7af33689\
        d4563176f9dffbdd147d4488f41a66e2ee7b1a79aef17b820081584070856bb8da621154a39c894a2fedded55257\
        715b00940b9cffe54b51d87889aff2c077124ee6e0e1c2e711688470affbc65d909c87acf4e41d38bdfb03e2000d";
    let (route, code) = ("/ip4/127.0.0.1/tcp/4001/service/api", "07".repeat(32));
    let normal = format!("{route},I{code},p,{code},{HISTORY},{HISTORY},{route}");
    let json = format!(
        r#"{{"one_time_code":"{code}","project_route":{{"id":"api","route":"{route}"}},"project_identifier":"I{code}","project_name":"p","project_change_history":"{HISTORY}","authority_change_history":"{HISTORY}","authority_route":"{route}"}}"#
    );
    let legacy = format!(
        r#"{{"one_time_code":"{code}","project":{{"id":"api","name":"p","access_route":"{route}","identity":null,"authority_access_route":"{route}","authority_identity":"{HISTORY}","project_change_history":"{HISTORY}"}}}}"#
    );
    let forms = [normal, json, legacy];
    let digits = forms.each_ref().map(hex::encode);
    forms
        .into_iter()
        .chain(digits)
        .map(String::into_bytes)
        .collect()
}

/// Replaces the seeds of one target.
fn write(target: &str, seeds: Vec<Vec<u8>>) -> io::Result<()> {
    let folder = home().join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        // Findings have names; only numbers are made here.
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name
            .strip_prefix("seed-")
            .is_some_and(|rest| rest.parse::<u32>().is_ok())
        {
            fs::remove_file(path)?;
        }
    }
    let distinct: BTreeSet<Vec<u8>> = seeds
        .into_iter()
        .filter(|seed| seed.len() <= MAX_SEED)
        .collect();
    for (number, seed) in distinct.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:03}")), seed)?;
    }
    Ok(())
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// All distinct values of members with these names, anywhere in a vector file.
fn hex_members(file: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let path = home()
        .join("../tests/vectors")
        .join(file)
        .with_extension("json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut found = BTreeSet::new();
    collect(&serde_json::from_str(&text).expect(file), names, &mut found);
    assert!(!found.is_empty(), "{file} has no {names:?}");
    found.into_iter().take(MAX_SEEDS).collect()
}

/// A member with a name counts if it is text, or an array of texts.
fn collect(value: &Value, names: &[&str], found: &mut BTreeSet<Vec<u8>>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match names.contains(&name.as_str()) {
                    true => found.extend(texts(member)),
                    false => collect(member, names, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|e| collect(e, names, found)),
        _ => {}
    }
}

fn texts(member: &Value) -> impl Iterator<Item = Vec<u8>> {
    let elements = member
        .as_array()
        .map_or(std::slice::from_ref(member), Vec::as_slice);
    elements
        .iter()
        .filter_map(|text| hex::decode(text.as_str()?).ok())
}

fn frames() -> Vec<Vec<u8>> {
    let single = hex_members("transport_messages", &["frame_hex"]);
    let bad = hex_members("tcp_bad_input", &["sent_hex"]);
    let several = single.concat();
    [vec![several], single, bad].concat()
}

/// Messages with a change in front: none, that of a relay, or the largest.
fn rewrites(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let changes = [
        [0, 0, 0, 0, 0, 0],
        [1, 2, 1, 32, 1, 0],
        [1, 32, 31, 200, 255, 255],
    ];
    let changes = changes.iter().cycle();
    messages
        .iter()
        .zip(changes)
        .map(|(message, change)| [&change[..], message].concat())
        .collect()
}

/// Single messages, and the recorded conversations as events of a stream.
fn portals() -> Vec<Vec<u8>> {
    let mut seeds = hex_members("portal_messages", &["hex"]);
    let messages = hex_members("portal_outlet_behaviour", &["messages_sent_hex"]);
    seeds.extend(messages);
    // Constructor; event 10 or more is a message, others are the socket's.
    let hear = |message: &[u8]| [&[10, message.len() as u8][..], message].concat();
    let pong = hear(b"\x01CVT1\x07\x20");
    let data = hear(b"\x03\x05hello");
    let credit = hear(&[4, 8]);
    let conversation = [
        &pong[..],
        &data,
        &[2, 8],
        &[0; 8],
        &credit,
        &[3, 5],
        &[0; 5],
    ]
    .concat();
    seeds.push([&[0][..], &conversation, &[4, 0], &hear(&[5])].concat());
    seeds.push([&[0][..], &conversation, &hear(&[6])].concat());
    seeds.push([&[0][..], &hear(&[1]), &data, &hear(&[2])].concat());
    seeds.push([&[1][..], &data, &[4, 0]].concat());
    seeds.push([&[2][..], &data, &[0, 0], &[4, 0]].concat());
    seeds.push([&[3, 0, 0][..], &data, &credit, &[5, 0]].concat());
    seeds.push([&[3, 1, 0][..], &data].concat());
    seeds.push([&[0x43, 0, 0][..], &hear(b"\x03\x01a\x01\x00\x00"), &[6, 0]].concat());
    seeds.push(vec![0, 9, 0]);
    seeds
}

fn handshakes() -> Vec<Vec<u8>> {
    let genuine = culvert_fuzz::genuine_handshake();
    let mut seeds: Vec<Vec<u8>> = (0..)
        .zip(&genuine)
        .map(|(mode, m)| tagged(mode, m))
        .collect();
    for number in 0..3 {
        seeds.push(vec![5, number]);
        for offset in [0_u8, 31, 40, 90, 200] {
            seeds.push(vec![5, number, 0, offset, 1]);
        }
    }
    let names = ["message_2_payload_cbor", "message_3_payload_cbor"];
    let payloads = hex_members("secure_channel_handshake", &names);
    seeds.extend(payloads.iter().map(|payload| tagged(3, payload)));
    let histories = hex_members("identities", &["change_history_cbor"]);
    seeds.extend(
        histories
            .iter()
            .take(3)
            .map(|h| tagged(4, &[&[0x82], &h[..], &[0x80]].concat())),
    );
    seeds
}

/// Recorded ones, and orders to make some: a good one, then one with each fault.
fn change_histories() -> Vec<Vec<u8>> {
    let members = ["change_history_cbor", "received", "known"];
    let recorded = hex_members("identities", &members);
    let mut seeds: Vec<Vec<u8>> = recorded.iter().map(|history| tagged(0, history)).collect();
    seeds.push(tagged(1, &[0, 5, 0, 5, 0, 9]));
    seeds.push(tagged(1, &[0, 5, 0, 4]));
    seeds.extend((0..6).map(|fault| tagged(1, &[0, 5, 1, 1 << fault, 6])));
    seeds
}

fn tagged(mode: u8, rest: &[u8]) -> Vec<u8> {
    [&[mode], rest].concat()
}

/// Orders of messages, and the recorded plaintexts.
fn transports() -> Vec<Vec<u8>> {
    let mut seeds = hex_members("secure_channel_handshake", &["plaintext_cbor"]);
    let in_order = [0, 0, 0].repeat(100);
    let gaps = [1, 0, 33].repeat(30);
    let late = [1, 0, 40, 2, 0, 20, 2, 0, 20, 2, 0, 70].repeat(10);
    let far = [3, 0x03, 0xe8, 3, 0x07, 0xd0, 3, 0, 0].to_vec();
    let damaged = [
        0xc0, 0, 0, 12, 1, 0, 0, 0, 0xc0, 0, 0, 3, 0x80, 0xc1, 0, 40, 99, 20,
    ]
    .to_vec();
    seeds.extend([in_order, gaps, late, far, damaged]);
    seeds
}

/// Recorded ones, and sequences of parts: in order, mixed, repeated, of several peers, with pauses.
fn datagrams() -> Vec<Vec<u8>> {
    let mut seeds = hex_members("udp_messages", &["hex"]);
    let recorded = [
        "udp_session_fragmented",
        "udp_session_exact_multiple",
        "udp_session_rendezvous",
    ];
    for session in recorded {
        let datagrams = hex_members(session, &["hex"]);
        let raw = datagrams.iter().filter(|datagram| datagram.len() < 256);
        seeds.push(
            raw.flat_map(|d| tagged(0x0c, &[&[0, d.len() as u8], &d[..]].concat()))
                .collect(),
        );
        seeds.extend(datagrams);
    }
    // Kind, pause, number, index, total, length.
    let parts = |order: &[u8], kind: u8, pause: u8| -> Vec<u8> {
        let events = order.iter();
        let events = events.map(|index| [kind, pause, index >> 4, index & 0x0f, 4, 20]);
        events.flatten().collect()
    };
    seeds.push(parts(&[0, 1, 2, 3, 0x13, 0x12, 0x11, 0x10], 0, 0));
    seeds.push(parts(&[0, 0x10, 1, 0x11, 2, 0x12, 2, 3, 3, 0x13], 1, 0));
    seeds.push(parts(&[0, 1, 2, 0x50, 3, 0x51, 0x52, 0x53], 2, 5));
    seeds.push(parts(&[0, 1, 2, 3], 0x13, 0xff));
    seeds.push(
        (0..4)
            .flat_map(|peer| parts(&[0, 1, 2, 3], peer, 0))
            .collect(),
    );
    let sizes: Vec<u8> = (0..8)
        .flat_map(|index| [0, 0, index / 2, index % 2, 9, 200])
        .collect();
    seeds.push([sizes, parts(&[0x73], 0, 0)].concat());
    seeds
}

/// Single messages, and both roles on their way to an open path and beyond.
fn punctures() -> Vec<Vec<u8>> {
    let mut seeds = hex_members("udp_messages", &["hex"]);
    seeds.retain(|message| message.first() == Some(&0x82));
    seeds.extend(hex_members("udp_session_puncture", &["payload_hex"]));
    // Kind: who sent it in the upper three bits, what it is below.
    let event =
        |kind: u8, pause: u8, bytes: &[u8]| [&[kind, pause, bytes.len() as u8][..], bytes].concat();
    let rendezvous = |kind: u8| 1 << 5 | kind;
    let peer = |kind: u8| 2 << 5 | kind;
    let located = event(rendezvous(4), 1, b"\x82\x01\x81\x6e192.0.2.9:1000");
    let acknowledge = event(1, 1, b"\x82\x6e192.0.2.2:1000\x81\x18p");
    let ping = event(peer(5), 1, &[0x82, 0, 0x80]);
    let pong = event(peer(5), 1, &[0x82, 1, 0x80]);
    let elsewhere = |what: &[u8]| event(3 << 5 | 5, 1, what);
    let payload = event(
        peer(5),
        1,
        &[0x82, 2, 0x83, 0x80, 0x80, 0x82, 1, 0x18, 0xff],
    );
    let initiator = [&[0][..], &located, &acknowledge].concat();
    let responder = [&[1][..], &located].concat();
    for start in [initiator, responder] {
        let open = [&start[..], &ping, &pong].concat();
        let nobodys = event(3 << 5 | 3, 1, &[0x82, 0, 0x80]);
        let moved = [
            elsewhere(&[0x82, 0, 0x80]),
            event(0x1f, 200, &[]),
            event(0x1f, 200, &[]),
            elsewhere(&[0x82, 1, 0x80]),
        ];
        seeds.push([&open[..], &payload, &event(2, 1, b"\x17\x18")].concat());
        seeds.push([&open[..], &moved.concat()].concat());
        seeds.push([&start[..], &nobodys, &elsewhere(&[0x82, 1, 0x80]), &ping].concat());
        seeds.push([&start[..], &event(0x1f, 255, &[]).repeat(10)].concat());
        seeds.push(start);
    }
    seeds
}

/// The texts of the vectors, which are of every kind.
fn policies() -> Vec<Vec<u8>> {
    let path = home().join("../tests/vectors/abac_policies.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let vectors: Value = serde_json::from_str(&text).expect("JSON");
    let vectors = vectors["expression_vectors"].as_array().expect("vectors");
    let texts = vectors
        .iter()
        .filter_map(|vector| vector["policy"].as_str());
    // The groups of the vectors are longer than this step.
    let some = texts.step_by(3);
    some.map(|text| text.as_bytes().to_vec()).collect()
}

/// Recorded credentials as they are, and changes to a genuine one.
fn credentials() -> Vec<Vec<u8>> {
    let recorded = hex_members("credentials", &["credential_and_purpose_key_cbor"]);
    let mut seeds: Vec<Vec<u8>> = recorded
        .iter()
        .map(|seed| [&[0], &seed[..]].concat())
        .collect();
    let genuine = culvert_fuzz::genuine_credential();
    seeds.push([&[0], &genuine[..]].concat());
    seeds.push(vec![1]);
    // A bit of the credential, of the attestation and of both signatures; the last byte cut off.
    let end = genuine.len() as u16;
    for offset in [8, 60, end / 2, end - 10, 2 * end - 1] {
        let [high, low] = offset.to_be_bytes();
        seeds.push(vec![1, high, low, 1]);
    }
    seeds
}

/// Messages both ways over networks that are calm, lose, repeat and turn round; and forged segments.
fn segments() -> Vec<Vec<u8>> {
    let push = |from: u8, len: u16| [&[from, 1][..], &len.to_be_bytes()].concat();
    let event = |kind: u8, from: u8, which: u8| [kind << 1 | from, 3, which];
    let pushes = [push(0, 4_000), push(1, 50), push(0, 1_092), push(0, 1_093)].concat();
    let weather = |kinds: &[u8], which: u8| {
        let events = (0..120_u8).map(|n| event(kinds[usize::from(n) % kinds.len()], n & 1, which));
        [&pushes[..], events.collect::<Vec<_>>().concat().as_slice()].concat()
    };
    let mut seeds = vec![
        weather(&[4], 0),
        weather(&[4, 4, 4, 2], 0),
        weather(&[3, 4], 1),
        weather(&[4, 2, 3], 255),
    ];
    for (kind, number) in [
        (0, 0),
        (1, 1),
        (2, 3),
        (2, 1 << 40),
        (1, 511),
        (1, 512),
        (7, 0),
    ] {
        let segment = [&[kind][..], &u64::to_be_bytes(number), b"\x0fx"].concat();
        let forged = [&[1 << 1, 0, segment.len() as u8][..], &segment].concat();
        seeds.push([&pushes[..], &forged, &event(4, 0, 0).repeat(9)].concat());
    }
    seeds
}
