//! A portal between two nodes of this process: bytes, ends, refusals.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use culvert_crypto::trust::Trust;
use culvert_crypto::vault::KeyType;
use culvert_node::metrics::Snapshot;
use culvert_node::reason::Refusal;
use culvert_node::session::Event;

use common::{endpoint, inlet_node, outlet_node, wait_for};

/// Sends back what it reads, and ends when its client ends.
fn echo_service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            thread::spawn(move || {
                let mut buffer = vec![0; 65536];
                while let Ok(n) = socket.read(&mut buffer) {
                    if n == 0 || socket.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
                let _ = socket.shutdown(Shutdown::Write);
            });
        }
    });
    address
}

fn client(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket
}

#[test]
fn bytes_pass_both_ways_and_half_close_is_kept() {
    for key_type in [KeyType::Ed25519, KeyType::P256] {
        let (near, far) = (endpoint(key_type), endpoint(key_type));
        let outlet = outlet_node(&far, Trust::only(near.identifier()), echo_service());
        let inlet = inlet_node(&near, outlet.address().unwrap(), far.identifier());
        wait_for(&inlet.events, |event| matches!(event, Event::Up { .. }));
        let mut socket = client(inlet.address);
        let data: Vec<u8> = (0..5_000_000u32).flat_map(u32::to_le_bytes).collect();
        let mut writer = socket.try_clone().unwrap();
        let sent = data.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            // The service still answers after our side has ended.
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        socket.read_to_end(&mut got).unwrap();
        writing.join().unwrap();
        assert!(
            got == data,
            "{} of {} bytes came back",
            got.len(),
            data.len()
        );
        inlet.node.shutdown();
        outlet.shutdown();
    }
}

#[test]
fn a_target_that_refuses_closes_the_client() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (near, far) = (endpoint(KeyType::Ed25519), endpoint(KeyType::Ed25519));
    let outlet = outlet_node(&far, Trust::only(near.identifier()), free);
    let inlet = inlet_node(&near, outlet.address().unwrap(), far.identifier());
    let mut socket = client(inlet.address);
    let mut got = Vec::new();
    // An orderly end or a reset: both tell the client at once.
    let _ = socket.read_to_end(&mut got);
    assert!(got.is_empty());
    let counters = Snapshot::sum(&outlet.counters());
    assert_eq!(counters.refused[Refusal::TargetRefused as usize], 1);
}

#[test]
fn a_stranger_gets_no_channel() {
    let (near, far) = (endpoint(KeyType::Ed25519), endpoint(KeyType::Ed25519));
    let outlet = outlet_node(&far, Trust::only(far.identifier()), echo_service());
    let inlet = inlet_node(&near, outlet.address().unwrap(), far.identifier());
    // The inlet believes in its channel until the first stream gets no answer
    // (`protocol/13-secure-channel.md` 6), so the outlet's counter tells.
    let _socket = client(inlet.address);
    let counters =
        || Snapshot::sum(&outlet.counters()).refused[Refusal::IdentityNotAllowed as usize];
    while counters() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_impostor_is_not_connected_to() {
    let (near, far) = (endpoint(KeyType::Ed25519), endpoint(KeyType::Ed25519));
    let outlet = outlet_node(&far, Trust::Anyone, echo_service());
    let inlet = inlet_node(&near, outlet.address().unwrap(), near.identifier());
    let event = wait_for(&inlet.events, |event| matches!(event, Event::Down { .. }));
    let Event::Down { reason, .. } = event else {
        unreachable!()
    };
    assert!(reason.contains("not trusted"), "{reason}");
}

#[test]
fn many_streams_share_a_channel() {
    let (near, far) = (endpoint(KeyType::Ed25519), endpoint(KeyType::Ed25519));
    let outlet = outlet_node(&far, Trust::only(near.identifier()), echo_service());
    let inlet = inlet_node(&near, outlet.address().unwrap(), far.identifier());
    let sockets: Vec<_> = (0..200u32).map(|n| (n, client(inlet.address))).collect();
    for (n, socket) in &sockets {
        (&*socket).write_all(&n.to_le_bytes()).unwrap();
    }
    for (n, socket) in &sockets {
        let mut back = [0; 4];
        (&*socket).read_exact(&mut back).unwrap();
        assert_eq!(u32::from_le_bytes(back), *n);
    }
    let counters = Snapshot::sum(&inlet.node.counters());
    assert_eq!(counters.streams, 200);
    assert_eq!(counters.channels, 1);
}
