//! What other threads tell a shard, and what it does beside that.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use culvert_node::node::Node;
use culvert_node::worker::{ECHO, Echo};
use culvert_proto::message::Message;

use common::{config, frame, link, read_frame};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn node() -> Node {
    let setup = |shard: &culvert_node::shard::Shard| {
        let echo = shard.add_named(ECHO, Rc::new(Echo)).unwrap();
        shard.open_to_all(echo.key);
    };
    Node::start(&config(true), setup).unwrap()
}

fn ask(link: &mut TcpStream) {
    let payload = b"are you there";
    link.write_all(&frame(&[ECHO], &[b"me"], payload)).unwrap();
    let mut buffer = [0; 1024];
    let len = read_frame(link, &mut buffer);
    assert_eq!(Message::decode(&buffer[4..len]).unwrap().payload, payload);
}

#[test]
fn links_are_read_whatever_other_threads_say() {
    const AHEAD: usize = 10_000;
    let node = Arc::new(node());
    let mut link = link(node.address().unwrap());
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let waiting = Arc::new(AtomicUsize::new(0));
    let talkers: Vec<_> = (0..2)
        .map(|_| {
            let (node, over, waiting) =
                (Arc::clone(&node), Arc::clone(&over), Arc::clone(&waiting));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if waiting.load(Ordering::Relaxed) > AHEAD {
                        std::hint::spin_loop();
                        continue;
                    }
                    waiting.fetch_add(1, Ordering::Relaxed);
                    let heard = Arc::clone(&waiting);
                    let said = node.on_shard(0, move |_| {
                        heard.fetch_sub(1, Ordering::Relaxed);
                    });
                    said.expect("the shard is there");
                }
            })
        })
        .collect();
    for _ in 0..100 {
        ask(&mut link);
    }
    over.store(true, Ordering::Relaxed);
    talkers
        .into_iter()
        .for_each(|talker| talker.join().unwrap());
    Arc::into_inner(node).unwrap().shutdown();
}

#[test]
fn what_is_put_in_comes_out_in_order_and_wakes_the_shard() {
    let node = node();
    let (said, heard) = mpsc::channel();
    for number in 0..10_000 {
        let said = said.clone();
        let put = node.on_shard(0, move |_| said.send(number).unwrap());
        put.expect("the shard is there");
        if number % 1000 == 0 {
            // The shard has nothing left to do, and waits.
            let said = if number == 0 { 1 } else { 1000 };
            let all: Vec<i32> = (0..said)
                .map(|_| heard.recv_timeout(PATIENCE).expect("heard"))
                .collect();
            assert!(all.is_sorted() && all.last() == Some(&number));
        }
    }
    node.shutdown();
}

#[test]
fn nothing_can_be_said_to_a_node_that_has_ended() {
    let node = node();
    let inspector = node.inspector();
    node.shutdown();
    assert!(inspector.inspect(PATIENCE).is_err());
}
