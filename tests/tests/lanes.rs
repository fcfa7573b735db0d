//! Portals of nodes with several threads: every thread works, and no lane needs another.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use culvert_tests::chain::{Chain, Edge, NAME, Relay};
use culvert_tests::net::{connect, echo, eventually};
use culvert_tests::service::Service;
use culvert_tests::tap::Tap;
use culvert_tests::{PATIENCE, alone, metrics, proc};

const LANES: usize = 2;
const SHARDS: &[&str] = &["--shards", "2"];

/// A relay and two edges with as many threads each; `reach` says where the edges connect.
fn chain(to: SocketAddr, mut reach: impl FnMut(SocketAddr) -> SocketAddr) -> Chain {
    let relay = Relay::start(SHARDS);
    let (outlet_edge, inlet_edge) = (Edge::new(), Edge::new());
    let friend = inlet_edge.identifier.as_str();
    let at = reach(relay.address);
    let outlet = outlet_edge.start_outlet(at, NAME, to, &[friend], SHARDS);
    await_lanes(relay.metrics, "culvert_forwarders");
    let owner = outlet_edge.identifier.as_str();
    let at = reach(relay.address);
    let inlet = inlet_edge.start_inlet(at, NAME, "127.0.0.1:0", &[owner], SHARDS);
    await_lanes(inlet.metrics, "culvert_channels");
    Chain {
        relay,
        outlet_edge,
        inlet_edge,
        outlet,
        inlet,
    }
}

fn await_lanes(at: SocketAddr, gauge: &str) {
    eventually(gauge, PATIENCE, || match metrics::scrape(at).get(gauge) {
        count if count == LANES as f64 => Ok(()),
        count => Err(count),
    });
}

/// Sends and receives at the same time, so that neither end fills up.
fn exchange(at: SocketAddr, bytes: usize) {
    let mut client = connect(at);
    let mut writer = client.try_clone().expect("a handle");
    let sending = thread::spawn(move || writer.write_all(&vec![7; bytes]).expect("send"));
    let mut got = vec![0; bytes];
    client.read_exact(&mut got).expect("receive");
    assert!(got.iter().all(|byte| *byte == 7));
    sending.join().expect("a sender");
}

#[test]
fn every_thread_works_and_messages_cross_none() {
    const CLIENTS: usize = 8;
    const EACH: usize = 24 << 20;
    let _turn = alone();
    let service = Service::echo();
    let chain = chain(service.address(), |relay| relay);
    let before = metrics::scrape(chain.relay.metrics);
    let address = chain.address();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| exchange(address, EACH));
        }
    });
    for (role, id) in chain.processes() {
        let times = proc::cpu_time_of_threads(id, "shard-");
        assert_eq!(times.len(), LANES, "{role}");
        let total: Duration = times.iter().sum();
        assert!(
            times.iter().all(|time| *time > total / 5),
            "{role}: {times:?} of its threads"
        );
    }
    let after = metrics::scrape(chain.relay.metrics);
    let moved = |name| after.get(name) - before.get(name);
    assert!(moved("culvert_messages_total") > 2000.0);
    assert_eq!(moved("culvert_handoffs_total"), 0.0);
}

#[test]
fn a_lane_that_is_cut_takes_only_its_own_streams() {
    let _turn = alone();
    let service = Service::echo();
    let mut taps = Vec::new();
    let chain = chain(service.address(), |relay| {
        taps.push(Tap::start(relay));
        taps[taps.len() - 1].address()
    });
    for tap in &taps {
        let mut clients: Vec<_> = (0..4).map(|_| connect(chain.address())).collect();
        for client in &mut clients {
            echo(client, b"before").expect("echo");
        }
        tap.cut_some(|number| number == 0);
        // New ones work at once, over the other lane if need be.
        eventually("a new client", Duration::from_secs(5), || {
            echo(&mut connect(chain.address()), b"new")
        });
        let alive = clients
            .iter_mut()
            .map(|client| echo(client, b"after"))
            .filter(Result::is_ok)
            .count();
        assert!(
            0 < alive && alive < clients.len(),
            "{alive} of {}",
            clients.len()
        );
        await_lanes(chain.relay.metrics, "culvert_forwarders");
        await_lanes(chain.inlet.metrics, "culvert_channels");
    }
}

/// The relay moves links to where they are of use, whichever shard the kernel gave them to.
#[test]
fn lanes_are_spread_however_connections_arrive() {
    let _turn = alone();
    let service = Service::echo();
    for _ in 0..6 {
        let chain = chain(service.address(), |relay| relay);
        let before = metrics::scrape(chain.relay.metrics);
        let mut clients: Vec<_> = (0..4).map(|_| connect(chain.address())).collect();
        for client in &mut clients {
            echo(client, b"hello").expect("echo");
        }
        let after = metrics::scrape(chain.relay.metrics);
        let moved = |name| after.get(name) - before.get(name);
        assert_eq!(moved("culvert_handoffs_total"), 0.0);
    }
}
