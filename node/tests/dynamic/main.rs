//! What changes while a node runs: parts are started and stopped, others do not notice, and nothing is
//! left behind.

#[path = "../common/mod.rs"]
mod common;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use culvert_crypto::trust::Trust;
use culvert_node::metrics::Snapshot;
use culvert_node::node::Node;
use culvert_node::reason::{CloseReason, Refusal};
use culvert_node::session::{Event, MessageError, Recipient, send_message};
use culvert_node::shard::Shard;
use culvert_node::stop::Stopper;
use culvert_node::worker::ECHO;

use common::{credentials, wait_for};
use support::{
    Busy, PATIENCE, Pair, alone, any, ask, client, echoes, holds, is_reset, open_files, relay,
    service, start_outlet, until,
};

/// One of everything comes, works and goes, at the same names and ports each time.
#[test]
fn a_hundred_rounds_leave_nothing_behind() {
    let _alone = alone();
    let (pair, relay) = (Pair::new(service(b'a')), relay());
    let further = service(b'b');
    let mut port = any();
    let mut listening = any();
    let round = |port: &mut SocketAddr, listening: &mut SocketAddr| {
        let (extra, refused) = start_outlet(&pair.far, b"extra", further);
        assert_eq!(refused, None);
        let (stopper, stop) = Stopper::new();
        *listening = pair.far.listen(*listening, stop).unwrap();
        let mut plan = pair.plan(b"extra");
        plan.port = listening.port();
        let (inlet, at) = pair.inlet(TcpListener::bind(*port).unwrap(), &plan);
        *port = at;
        let registration = pair.registration(relay.address().unwrap(), "db").up();
        let (channel, next) = (pair.channel(b"chan").up(), pair.next("next").up());
        for (shard, name) in [(0, &b"chan"[..]), (1, b"chan"), (0, b"next")] {
            assert!(ask(&pair.near, shard, |shard| shard.has_name(name)));
        }
        // The registration took the name: it has to be free again in the next round.
        let mut client = client(at, b'b');
        echoes(&mut client, b"hello");
        for part in [registration, channel, next, inlet] {
            part.end();
        }
        assert!(is_reset(client));
        for (shard, name) in [(0, &b"chan"[..]), (1, b"chan"), (0, b"next")] {
            assert!(!ask(&pair.near, shard, |shard| shard.has_name(name)));
        }
        extra.stop();
        stopper.stop();
        assert!(extra.wait(PATIENCE) && stopper.wait(PATIENCE));
        let gone = TcpStream::connect(at).unwrap_err().kind();
        assert_eq!(gone, ErrorKind::ConnectionRefused);
    };
    // What is made once and kept.
    round(&mut port, &mut listening);
    let nodes = [&pair.near, &pair.far, &relay];
    until("the first round ends", || {
        nodes
            .iter()
            .all(|node| Snapshot::sum(&node.counters()).links == 0)
    });
    let before = nodes.map(holds);
    let files = open_files();
    for _ in 0..100 {
        round(&mut port, &mut listening);
    }
    until("links, channels, streams, addresses, permissions", || {
        nodes.map(holds) == before
    });
    until("open files", || open_files() <= files);
    pair.shutdown();
    relay.shutdown();
}

#[test]
fn a_neighbour_of_what_is_stopped_goes_on() {
    let _alone = alone();
    let pair = Pair::new(service(b'a'));
    let (other, refused) = start_outlet(&pair.far, b"other", service(b'b'));
    assert_eq!(refused, None);
    let (_, refused) = start_outlet(&pair.far, b"other", any());
    assert_eq!(refused, Some(Refusal::NameInUse));
    let ((stays, at), (goes, of_other)) = (pair.to(b"outlet"), pair.to(b"other"));
    let mut neighbour = client(at, b'a');
    let ended = client(of_other, b'b');
    goes.end();
    assert!(is_reset(ended));
    echoes(&mut neighbour, b"one");

    // The outlet's end of a stream, seen at the inlet.
    let (goes, of_other) = pair.to(b"other");
    let ended = client(of_other, b'b');
    other.stop();
    assert!(other.wait(PATIENCE));
    assert!(is_reset(ended));
    echoes(&mut neighbour, b"two");
    let (_other, refused) = start_outlet(&pair.far, b"other", service(b'c'));
    assert_eq!(refused, None);
    let again = client(of_other, b'c');
    drop(again);

    let channel = pair.channel(b"chan").up();
    channel.end();
    echoes(&mut neighbour, b"three");
    drop((stays, goes));
    assert!(is_reset(neighbour), "a stopper that is dropped stops");
    pair.shutdown();
}

/// Streams under load beside others under load that are cut, again and again. The far side is told of
/// each at once: what it only concludes from silence is not a reset of its peer.
#[test]
fn busy_streams_do_not_notice_others_that_are_cut() {
    let _alone = alone();
    let pair = Pair::new(service(b'a'));
    let (_other, refused) = start_outlet(&pair.far, b"other", service(b'b'));
    assert_eq!(refused, None);
    let (_stays, at) = pair.to(b"outlet");
    let busy = [(); 2].map(|()| Busy::start(client(at, b'a')));
    let mut in_clear = pair.plan(b"other");
    in_clear.legs.clear();
    let plans = [pair.plan(b"other"), in_clear];
    let resets = || Snapshot::sum(&pair.far.counters()).closed[CloseReason::PeerReset as usize];
    for round in 0..20 {
        let socket = TcpListener::bind(any()).unwrap();
        let (goes, at) = pair.inlet(socket, &plans[round % 2]);
        let mut cut = client(at, b'b');
        cut.write_all(&[7; 300_000]).unwrap();
        goes.end();
        assert!(is_reset(cut));
        until("the outlet is told", || resets() == round as u64 + 1);
    }
    for busy in busy {
        assert!(busy.end() > 0);
    }
    pair.shutdown();
}

/// Whoever keeps a handle on the socket of an inlet can put another inlet in its place: nobody is turned
/// away in between.
#[test]
fn an_inlet_is_replaced_under_its_clients() {
    let _alone = alone();
    let pair = Pair::new(service(b'a'));
    let (_other, refused) = start_outlet(&pair.far, b"other", service(b'b'));
    assert_eq!(refused, None);
    let socket = TcpListener::bind(any()).unwrap();
    let kept = socket.try_clone().unwrap();
    let (first, at) = pair.inlet(socket, &pair.plan(b"outlet"));
    client(at, b'a');
    first.end();
    let mut between = TcpStream::connect(at).unwrap();
    let (_second, _) = pair.inlet(kept, &pair.plan(b"other"));
    between.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut letter = [0];
    between.read_exact(&mut letter).unwrap();
    assert_eq!(letter, [b'b']);
    pair.shutdown();
}

/// From every shard; and no more once the channel is gone.
#[test]
fn a_kept_channel_is_reached_by_its_name() {
    let _alone = alone();
    let pair = Pair::new(service(b'a'));
    let say = |shard| {
        let (answer, answers) = mpsc::channel();
        let me = pair.me.clone();
        let ask = move |shard: &Shard| {
            let asking = shard.clone();
            shard.spawn(async move {
                let to = Recipient::Here(vec![b"chan".to_vec(), ECHO.to_vec()]);
                let credentials = credentials(&me, Trust::Anyone);
                let reply = send_message(&asking, &credentials, &to, b"hello", PATIENCE).await;
                let _ = answer.send(reply);
            });
        };
        pair.near.on_shard(shard, ask).unwrap();
        answers.recv_timeout(2 * PATIENCE).unwrap()
    };
    for _ in 0..3 {
        let channel = pair.channel(b"chan").up();
        for shard in 0..pair.near.shards() {
            assert_eq!(say(shard).unwrap(), b"hello");
        }
        channel.end();
        let gone = say(0);
        assert!(matches!(gone, Err(MessageError::Send { .. })), "{gone:?}");
    }
    pair.shutdown();
}

/// A relay or an outlet that says nothing holds up nobody who wants to stop.
#[test]
fn what_connects_stops_at_once() {
    let _alone = alone();
    let pair = Pair::new(service(b'a'));
    let before = holds(&pair.near);
    // Nobody accepts; the system does, until its queue is full.
    let silent = TcpListener::bind(any()).unwrap();
    let silent_at = silent.local_addr().unwrap();
    let mut plan = pair.plan(b"outlet");
    plan.port = silent_at.port();
    let (inlet, at) = pair.inlet(TcpListener::bind(any()).unwrap(), &plan);
    let registration = pair.registration(silent_at, "db");
    let waiting = TcpStream::connect(at).unwrap();
    until("they have connected", || {
        Snapshot::sum(&pair.near.counters()).links == 3
    });
    inlet.end();
    registration.end();
    assert!(is_reset(waiting));
    until("nothing is left", || holds(&pair.near) == before);
    // Between two attempts.
    plan.port = TcpListener::bind(any())
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (inlet, _) = pair.inlet(TcpListener::bind(any()).unwrap(), &plan);
    let down = wait_for(&inlet.events, |event| matches!(event, Event::Down { .. }));
    let Event::Down { retry_in, .. } = down else {
        unreachable!()
    };
    assert!(retry_in.is_some_and(|pause| pause <= Duration::from_secs(1)));
    // It is told of every later attempt, too.
    for _ in 0..2 {
        let again = wait_for(&inlet.events, |event| matches!(event, Event::Retry { .. }));
        assert!(matches!(again, Event::Retry { retry_in } if retry_in <= Duration::from_secs(1)));
    }
    inlet.end();
    pair.shutdown();
}

/// Has a node drain on a thread of its own; gives how many streams it cut in the end.
fn drain(node: Node, deadline: Duration) -> mpsc::Receiver<u64> {
    let (begun, begin) = mpsc::channel();
    let (cut, result) = mpsc::channel();
    thread::spawn(move || {
        let _ = cut.send(node.drain(deadline, || begun.send(()).unwrap()));
    });
    begin.recv_timeout(PATIENCE).unwrap();
    result
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_drained_node_ends_with_its_last_stream() {
    let _alone = alone();
    let pair = Pair::new(service(b'a'));
    let (_inlet, at) = pair.to(b"outlet");
    let mut stays = client(at, b'a');
    let drained = drain(pair.near, LONG);
    until("nothing listens", || TcpStream::connect(at).is_err());
    echoes(&mut stays, b"still here");
    assert!(drained.try_recv().is_err());
    stays.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stays.read(&mut [0]).unwrap(), 0, "it ends in order");
    drop(stays);
    assert_eq!(drained.recv_timeout(PATIENCE).unwrap(), 0);
    pair.far.shutdown();
}

#[test]
fn a_drained_node_with_outlets_takes_no_new_streams() {
    let _alone = alone();
    let pair = Pair::new(service(b'a'));
    let (_inlet, at) = pair.to(b"outlet");
    let mut stays = client(at, b'a');
    let listening = pair.far.address().unwrap();
    let drained = drain(pair.far, LONG);
    until("nothing listens", || TcpStream::connect(listening).is_err());
    let mut late = TcpStream::connect(at).unwrap();
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    let end = late.read(&mut [0]);
    assert!(matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() != ErrorKind::WouldBlock));
    echoes(&mut stays, b"still here");
    drop(stays);
    assert_eq!(drained.recv_timeout(PATIENCE).unwrap(), 0);
    pair.near.shutdown();
}

#[test]
fn a_deadline_cuts_what_does_not_end() {
    let _alone = alone();
    let pair = Pair::new(service(b'a'));
    let (_inlet, at) = pair.to(b"outlet");
    let stays = client(at, b'a');
    let drained = drain(pair.near, Duration::from_millis(100));
    assert_eq!(drained.recv_timeout(PATIENCE).unwrap(), 1);
    assert!(is_reset(stays));
    pair.far.shutdown();
}
