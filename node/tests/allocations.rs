//! The data path takes nothing from the heap once it is warm.
//!
//! One test in a process of its own: the counter sees every thread. What a shard and its sessions do
//! a few times a second takes blocks too, the more the longer a busy machine needs, so blocks are
//! told apart by the functions that led to them.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use culvert_crypto::trust::Trust;
use culvert_crypto::vault::KeyType;
use culvert_node::key::LocalAddress;
use culvert_node::node::Node;
use culvert_node::packet::Packet;
use culvert_node::session::Event;
use culvert_node::shard::Shard;
use culvert_node::worker::{Outcome, Worker};
use culvert_proto::message::Message;
use culvert_proto::route::Route;
use serde_json::Value;

use common::{config, endpoint, frame, inlet_node, link, outlet_node, read_frame, wait_for};

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

/// Blocks that are let pass: a pool grows when the system keeps a buffer in use for longer than ever.
const SPARE: u64 = 2;
/// What is done because time passes, not because messages do.
/// In a node of one shard nothing but the clock puts anything into an inbox.
const HOUSEKEEPING: [&str; 4] = [
    "::Shard::tick",
    "culvert_node::session::",
    "culvert_node::shard::handoff::",
    "culvert_node::shard::inbox::",
];

/// Heap blocks taken while `work` ran, but for housekeeping, and who took them.
fn blocks(work: impl FnOnce()) -> (u64, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("heap.json");
    let profiler = dhat::Profiler::builder()
        .file_name(&file)
        .trim_backtraces(None)
        .build();
    work();
    drop(profiler);
    let profile: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let (mut taken, mut by) = (0, String::new());
    for place in profile["pps"].as_array().unwrap() {
        let frames = place["fs"].as_array().unwrap().iter();
        let frames: Vec<&str> = frames
            .map(|frame| &profile["ftbl"][frame.as_u64().unwrap() as usize])
            .filter_map(Value::as_str)
            .collect();
        let is_housekeeping = |frame: &&str| HOUSEKEEPING.iter().any(|name| frame.contains(name));
        if !frames.iter().any(is_housekeeping) {
            let count = place["tbk"].as_u64().unwrap();
            taken += count;
            by += &format!("\n{count} taken by:\n  {}", frames.join("\n  "));
        }
    }
    (taken, by)
}

/// Passes messages on to the node that asked for it, as a relay does.
#[derive(Default)]
struct Bridge(std::cell::RefCell<Option<Route>>);

impl Worker for Bridge {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        let from = packet.came_by().unwrap();
        if packet.payload() == b"register" {
            *self.0.borrow_mut() = shard.way_to_peer(from);
            return shard.reply(packet, b"bridge");
        }
        let way = self.0.borrow();
        let way = way.as_ref().unwrap();
        shard.grant(from, shard.first_key(way).unwrap());
        shard.forward(packet, way)
    }
}

/// Messages through a name, and answers straight back to the link they came from.
fn relay() {
    let node = Node::start(&config(true), |shard| {
        let bridge = shard
            .add_named(b"bridge", Rc::new(Bridge::default()))
            .unwrap();
        shard.open_to_all(bridge.key);
    })
    .unwrap();
    let (mut near, mut far) = (link(node.address().unwrap()), link(node.address().unwrap()));
    let mut buffer = vec![0; 1 << 20];
    far.write_all(&frame(&[b"bridge"], &[b"far"], b"register"))
        .unwrap();
    read_frame(&mut far, &mut buffer);
    for size in [64, 1500, 65_536] {
        let request = frame(&[b"bridge", b"svc"], &[b"near"], &vec![7; size]);
        near.write_all(&request).unwrap();
        let len = read_frame(&mut far, &mut buffer);
        let got = Message::decode(&buffer[4..len]).unwrap();
        let hops: Vec<Vec<u8>> = got
            .return_route
            .iter()
            .map(|hop| hop.value.to_vec())
            .collect();
        let hops: Vec<&[u8]> = hops.iter().map(Vec::as_slice).collect();
        let answer = frame(&hops, &[b"svc"], &vec![9; size]);
        let mut rounds = |count| {
            for _ in 0..count {
                near.write_all(&request).unwrap();
                read_frame(&mut far, &mut buffer);
                far.write_all(&answer).unwrap();
                read_frame(&mut near, &mut buffer);
            }
        };
        rounds(500);
        let (taken, by) = blocks(|| rounds(2_000));
        assert!(
            taken <= SPARE,
            "{taken} heap blocks for 4000 relayed messages of {size} bytes:{by}"
        );
    }
    node.shutdown();
}

/// Bytes through an inlet, a secure channel and an outlet, both ways.
fn portal() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = service.local_addr().unwrap();
    let (near, far) = (endpoint(KeyType::Ed25519), endpoint(KeyType::Ed25519));
    let outlet = outlet_node(&far, Trust::only(near.identifier()), target);
    let inlet = inlet_node(&near, outlet.address().unwrap(), far.identifier());
    wait_for(&inlet.events, |event| matches!(event, Event::Up { .. }));
    let mut client = TcpStream::connect(inlet.address).unwrap();
    client.set_nodelay(true).unwrap();
    client.write_all(b"x").unwrap();
    let (mut server, _) = service.accept().unwrap();
    server.set_nodelay(true).unwrap();
    server.read_exact(&mut [0]).unwrap();
    let (ended, end) = mpsc::channel::<()>();
    let serving = thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(n) = server.read(&mut buffer) {
            if n == 0 || server.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        drop(ended);
    });
    let mut buffer = vec![5; 65_536];
    for size in [64, 1500, 65_536] {
        let mut rounds = |count| {
            for _ in 0..count {
                client.write_all(&buffer[..size]).unwrap();
                client.read_exact(&mut buffer[..size]).unwrap();
            }
        };
        rounds(500);
        let (taken, by) = blocks(|| rounds(1_000));
        assert!(
            taken <= SPARE,
            "{taken} heap blocks for 2000 messages of {size} bytes:{by}"
        );
    }
    drop(client);
    let _ = end.recv();
    serving.join().unwrap();
    inlet.node.shutdown();
    outlet.shutdown();
}

#[test]
fn the_warm_data_path_takes_nothing_from_the_heap() {
    relay();
    portal();
}
