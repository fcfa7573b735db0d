//! A relay, or a line, that changes, repeats, reorders or drops what it carries: the edges must
//! never deliver anything but what was sent, in order and without a hole.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use culvert_tests::chain::{Chain, Inlet, Relay};
use culvert_tests::net::{self, End, Pattern, connect, echo};
use culvert_tests::service::Service;
use culvert_tests::tap::{Direction, Frame, Tap};
use culvert_tests::{PATIENCE, alone, metrics};

/// Frames longer than this carry data of the stream under test, not control messages.
const DATA: usize = 1000;
/// Bytes sent through the stream under test.
const TOTAL: usize = 4 << 20;

/// A chain whose inlet edge is behind a tap, and another inlet edge that is not.
struct Setup {
    chain: Chain,
    tap: Tap,
    other: Inlet,
    _service: Service,
}

fn setup() -> Setup {
    let service = Service::echo();
    let relay = Relay::start(&[]);
    let address = relay.address;
    // The outlet edge connects first, straight; then the inlet edge, through the tap.
    let tap = Tap::start(address);
    let mut first = true;
    let chain = Chain::with_relay(relay, service.address(), |relay| {
        if std::mem::take(&mut first) {
            relay
        } else {
            tap.address()
        }
    });
    tap.record(false);
    let other = chain
        .inlet_edge
        .inlet(address, &[&chain.outlet_edge.identifier]);
    Setup {
        chain,
        tap,
        other,
        _service: service,
    }
}

/// Sends a pattern through an echo service behind the tap and returns what came back, checked to
/// be a beginning of it, and how the connection ended.
fn exchange(chain: &Chain) -> (usize, End) {
    let mut sent = vec![0; TOTAL];
    Pattern::new(11).fill(&mut sent);
    let mut client = connect(chain.address());
    let mut writer = client.try_clone().expect("clone");
    let data = sent.clone();
    let writing = thread::spawn(move || {
        let _ = writer.write_all(&data);
    });
    let back = read_up_to(&mut client, TOTAL);
    // Ends the writer, too, if it still waits.
    let _ = client.shutdown(std::net::Shutdown::Both);
    writing.join().expect("writer");
    assert!(
        sent.starts_with(&back.0),
        "other bytes than were sent came back"
    );
    (back.0.len(), back.1)
}

fn read_up_to(client: &mut TcpStream, total: usize) -> (Vec<u8>, End) {
    let mut back = vec![0; total];
    let mut n = 0;
    client
        .set_read_timeout(Some(Duration::from_secs(15)))
        .expect("limit");
    while n < total {
        match client.read(&mut back[n..]) {
            Ok(0) => return (back[..n].to_vec(), End::Closed),
            Ok(more) => n += more,
            Err(error) if net::is_timeout(&error) => return (back[..n].to_vec(), End::Open),
            Err(_) => return (back[..n].to_vec(), End::Broken),
        }
    }
    (back, End::Open)
}

/// Runs an exchange with a meddler in place, expects a refusal for `reason`, then that everything
/// works again, and that another edge never noticed.
fn meddled(
    setup: &Setup,
    reason: &str,
    meddler: impl FnMut(&Frame) -> Vec<Vec<u8>> + Send + 'static,
) -> (usize, End) {
    let before = metrics::scrape(setup.chain.outlet.metrics);
    let mut bystander = connect(setup.other.address);
    echo(&mut bystander, b"before").expect("echo");
    setup.tap.meddle(meddler);
    let result = exchange(&setup.chain);
    metrics::await_count(setup.chain.outlet.metrics, &before, reason, 1.0, PATIENCE);
    setup.tap.behave();
    echo(&mut bystander, b"after").expect("the other stream did not notice");
    net::eventually("works again", PATIENCE, || {
        echo(
            &mut net::try_connect(setup.chain.address(), Duration::from_secs(1))?,
            b"again",
        )
    });
    result
}

fn is_data(frame: &Frame) -> bool {
    frame.direction == Direction::Up && frame.message.len() > DATA
}

#[test]
fn nothing_changed_arrives_whole() {
    let _turn = alone();
    let setup = setup();
    assert_eq!(exchange(&setup.chain).0, TOTAL);
}

#[test]
fn replayed_messages_are_refused_and_the_stream_goes_on() {
    let _turn = alone();
    let setup = setup();
    let mut first = None;
    let result = meddled(&setup, "channel_replay", move |frame| {
        if !is_data(frame) {
            return vec![frame.message.clone()];
        }
        let old = first.get_or_insert_with(|| frame.message.clone()).clone();
        vec![frame.message.clone(), frame.message.clone(), old]
    });
    assert_eq!(result.0, TOTAL);
}

#[test]
fn reordered_messages_never_reorder_data() {
    let _turn = alone();
    let setup = setup();
    let mut held: Option<Vec<u8>> = None;
    let mut swaps = 0;
    meddled(&setup, "channel_order", move |frame| {
        if !is_data(frame) || swaps >= 5 {
            return held
                .take()
                .into_iter()
                .chain([frame.message.clone()])
                .collect();
        }
        match held.take() {
            None => {
                held = Some(frame.message.clone());
                Vec::new()
            }
            Some(earlier) => {
                swaps += 1;
                vec![frame.message.clone(), earlier]
            }
        }
    });
}

#[test]
fn a_dropped_message_leaves_no_hole() {
    let _turn = alone();
    let setup = setup();
    let mut seen = 0;
    let (arrived, _) = meddled(&setup, "channel_order", move |frame| {
        seen += usize::from(is_data(frame));
        if is_data(frame) && seen == 5 {
            Vec::new()
        } else {
            vec![frame.message.clone()]
        }
    });
    assert!(arrived < TOTAL);
}

#[test]
fn a_changed_message_is_refused() {
    let _turn = alone();
    let setup = setup();
    let mut seen = 0;
    let (arrived, _) = meddled(&setup, "channel_forged", move |frame| {
        let mut message = frame.message.clone();
        seen += usize::from(is_data(frame));
        if is_data(frame) && seen == 5 {
            let at = message.len() - 10;
            message[at] ^= 1;
        }
        vec![message]
    });
    assert!(arrived < TOTAL);
}

#[test]
fn messages_of_one_channel_do_not_fit_another() {
    let _turn = alone();
    let setup = setup();
    // The tap sees two channels' frames in turn; those of the old one come again in the new one.
    setup.tap.record(true);
    exchange(&setup.chain);
    let old: Vec<Vec<u8>> = setup
        .tap
        .recorded()
        .into_iter()
        .filter(is_data)
        .map(|frame| frame.message)
        .take(20)
        .collect();
    setup.tap.record(false);
    setup.tap.cut();
    net::eventually("a new channel", PATIENCE, || {
        echo(
            &mut net::try_connect(setup.chain.address(), Duration::from_secs(1))?,
            b"new",
        )
    });
    let mut old = old.into_iter();
    setup.tap.meddle(move |frame| {
        let mut passed = vec![frame.message.clone()];
        if is_data(frame) {
            passed.extend(old.next());
        }
        passed
    });
    // Addressed to a worker that is gone: refused before any key is tried, and no harm done.
    assert_eq!(exchange(&setup.chain).0, TOTAL);
}
