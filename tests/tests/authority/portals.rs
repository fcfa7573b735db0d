//! Portals of members: who gets in, why not, and for how long.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use culvert_tests::chain::{Edge, Inlet, NAME, Outlet, Relay};
use culvert_tests::net::{connect, echo};
use culvert_tests::postgres::{self, Postgres};
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, alone, metrics};

use crate::support::{Authority, enroll, text};

/// Relay, authority, and edges that became members by tickets.
struct Project {
    relay: Relay,
    authority: Authority,
}

impl Project {
    fn start(more: &[&str]) -> Self {
        let relay = Relay::start(&[]);
        let at = relay.address.to_string();
        let authority = Authority::start(&[&["--relay", &at], more].concat());
        Self { relay, authority }
    }

    fn member(&self, attributes: &[&str]) -> Edge {
        let attributes: Vec<&str> = attributes
            .iter()
            .flat_map(|one| ["--attribute", one])
            .collect();
        let edge = Edge::new();
        let ticket = self.authority.ticket(&attributes);
        let (code, said) = enroll(edge.home(), text(&ticket, "ticket"));
        assert_eq!(code, 0, "{said}");
        edge
    }

    fn outlet(&self, edge: &Edge, to: std::net::SocketAddr, more: &[&str]) -> Outlet {
        let more = [&["--project", "default"], more].concat();
        let outlet = edge.start_outlet(self.relay.address, NAME, to, &[], &more);
        outlet.process.event("registered");
        outlet
    }

    fn inlet(&self, edge: &Edge) -> Inlet {
        let (relay, more) = (self.relay.address, ["--project", "default"]);
        let inlet = edge.start_inlet(relay, NAME, "127.0.0.1:0", &[], &more);
        inlet.process.event("up");
        inlet
    }
}

/// The private database of the README.
#[test]
fn a_policy_lets_one_client_in_and_keeps_another_out() {
    let _turn = alone();
    let server = Postgres::start();
    let project = Project::start(&[]);
    let owner = project.member(&["component=db"]);
    let (web, batch) = (
        project.member(&["component=web"]),
        project.member(&["component=batch"]),
    );
    let policy = ["--policy", "(= subject.component \"web\")"];
    let outlet = project.outlet(&owner, server.address(), &policy);
    let inlet = project.inlet(&web);
    assert_eq!(postgres::sql(inlet.address, "SELECT 6 * 7"), "42");
    let denied = project.inlet(&batch);
    let output = postgres::try_sql(denied.address, "SELECT 6 * 7", PATIENCE);
    assert!(!output.status.success(), "{output:?}");

    // The operator sees who was kept out, and why.
    assert!(metrics::scrape(outlet.metrics).count("policy_denied") > 0.0);
    let log = outlet.process.log();
    let line = log.lines().find(|line| line.contains("denied by policy"));
    let line = line.unwrap_or_else(|| panic!("nothing about it in {log}"));
    assert!(line.contains(&batch.identifier) && line.contains("the policy is false"));
    let check = ["--resource", NAME, "--attribute", "component=batch"];
    let output = owner.output(&[&["policy", "check", "--explain"], &check[..]].concat());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn streams_go_on_while_credentials_are_renewed() {
    const TTL: Duration = Duration::from_secs(8);
    let _turn = alone();
    let service = Service::echo();
    let project = Project::start(&["--credential-ttl", "8s"]);
    let (owner, user) = (project.member(&["component=db"]), project.member(&[]));
    let _outlet = project.outlet(&owner, service.address(), &[]);
    let inlet = project.inlet(&user);
    let mut running = connect(inlet.address);
    let since = Instant::now();
    while since.elapsed() < 2 * TTL {
        echo(&mut running, b"still here").expect("an echo");
        std::thread::sleep(Duration::from_millis(200));
    }
    // Nobody renews them any more: they end, and with them what they let in.
    let Project {
        relay: _relay,
        authority,
    } = project;
    drop(authority);
    await_reset(&mut running);
}

fn await_reset(running: &mut TcpStream) {
    running.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let error = running.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
