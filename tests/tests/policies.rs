//! Who gets in is decided by what an authority says and a policy demands: real processes, real
//! credentials.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use culvert_tests::chain::{Edge, Inlet, NAME, Outlet, Relay};
use culvert_tests::net::{connect, echo, eventually, try_connect};
use culvert_tests::service::Service;
use culvert_tests::wire::Wire;
use culvert_tests::{PATIENCE, alone, metrics};
use serde_json::Value;

/// An identity that issues credentials on the command line.
struct Issuer {
    edge: Edge,
    history: String,
}

impl Issuer {
    fn new() -> Self {
        let edge = Edge::new();
        let shown = edge
            .output(&["identity", "show", "--output", "json"])
            .stdout;
        let shown: Value = serde_json::from_slice(&shown).expect("JSON");
        let history = shown["change_history"].as_str().expect("a history").into();
        Self { edge, history }
    }

    /// A credential for an edge, in hexadecimal digits.
    fn issue(&self, to: &Edge, attributes: &[&str], more: &[&str]) -> String {
        let mut arguments = vec!["credential", "issue", "--for", &to.identifier];
        arguments.extend(attributes.iter().flat_map(|one| ["--attribute", one]));
        arguments.extend(more);
        let output = self.edge.output(&arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .into()
    }
}

/// An outlet in front of `to` that lets in whom a policy allows.
fn outlet(owner: &Edge, relay: &Relay, to: SocketAddr, more: &[&str]) -> Outlet {
    let outlet = owner.start_outlet(relay.address, NAME, to, &[], more);
    outlet.process.event("registered");
    outlet
}

/// An inlet that trusts `owner`, and shows a credential.
fn inlet(user: &Edge, relay: &Relay, owner: &Edge, more: &[&str]) -> Inlet {
    let far = [owner.identifier.as_str()];
    let inlet = user.start_inlet(relay.address, NAME, "127.0.0.1:0", &far, more);
    inlet.process.event("up");
    inlet
}

fn gets_in(inlet: &Inlet) -> std::io::Result<()> {
    let mut client = try_connect(inlet.address, PATIENCE)?;
    echo(&mut client, b"let me in")
}

/// The connection ends without a byte: in order or by a reset, as services that refuse do.
fn is_kept_out(inlet: &Inlet) {
    let mut client = connect(inlet.address);
    let mut byte = [0];
    assert!(matches!(client.read(&mut byte), Ok(0) | Err(_)), "let in");
}

fn denied(at: SocketAddr) -> f64 {
    metrics::scrape(at).count("policy_denied")
}

/// Denials of resources of one type.
fn denials(at: SocketAddr, kind: &str) -> f64 {
    let name = format!("culvert_policy_denials_total{{resource_type=\"{kind}\"}}");
    metrics::scrape(at).get(&name)
}

#[test]
fn attributes_decide_who_gets_in() {
    let _turn = alone();
    let (service, relay, issuer) = (Service::echo(), Relay::start(&[]), Issuer::new());
    let [owner, web, batch, other] = [(); 4].map(|()| Edge::new());
    let arguments = ["--authority", &issuer.history, "--policy", "component=web"];
    let outlet = outlet(&owner, &relay, service.address(), &arguments);
    let shows = |edge: &Edge, attribute: &str| {
        let credential = issuer.issue(edge, &[attribute], &[]);
        inlet(edge, &relay, &owner, &["--credential", &credential])
    };
    gets_in(&shows(&web, "component=web")).expect("let in");
    assert_eq!(denied(outlet.metrics), 0.0);
    is_kept_out(&shows(&batch, "component=batch"));
    assert_eq!(denied(outlet.metrics), 1.0);
    is_kept_out(&inlet(&other, &relay, &owner, &[]));
    assert_eq!(denied(outlet.metrics), 2.0);
    assert_eq!(denials(outlet.metrics, "tcp-outlet"), 2.0);
    // What somebody else says does not count, nor what was said about somebody else.
    let impostor = Issuer::new();
    let forged = impostor.issue(&other, &["component=web"], &[]);
    is_kept_out(&inlet(&other, &relay, &owner, &["--credential", &forged]));
    let stolen = issuer.issue(&web, &["component=web"], &[]);
    is_kept_out(&inlet(&other, &relay, &owner, &["--credential", &stolen]));
    let samples = metrics::scrape(outlet.metrics);
    assert!(samples.count("credential_issuer") > 0.0);
    assert!(samples.count("credential_subject") > 0.0);
}

#[test]
fn a_changed_policy_applies_at_once() {
    let _turn = alone();
    let (service, relay, issuer) = (Service::echo(), Relay::start(&[]), Issuer::new());
    let (owner, user) = (Edge::new(), Edge::new());
    let outlet = outlet(
        &owner,
        &relay,
        service.address(),
        &["--authority", &issuer.history],
    );
    let credential = issuer.issue(&user, &["component=web"], &[]);
    let inlet = inlet(&user, &relay, &owner, &["--credential", &credential]);
    let mut running = connect(inlet.address);
    echo(&mut running, b"by default a credential is enough").expect("an echo");

    let set = |expression: &str| {
        let output = owner.output(&["policy", "create", "--resource", NAME, expression]);
        assert!(output.status.success(), "{output:?}");
    };
    set("component=web");
    echo(&mut running, b"still allowed").expect("an echo");
    set("component=batch");
    await_end(&mut running);
    is_kept_out(&inlet);
    assert!(denied(outlet.metrics) >= 2.0);
    set("not component=batch");
    eventually("let in again", PATIENCE, || gets_in(&inlet));
}

/// A running stream is reset: what was sent may not be all.
fn await_end(running: &mut TcpStream) {
    running.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let error = running.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn streams_end_with_the_credential() {
    let _turn = alone();
    let (service, relay, issuer) = (Service::echo(), Relay::start(&[]), Issuer::new());
    let (owner, user) = (Edge::new(), Edge::new());
    let _outlet = outlet(
        &owner,
        &relay,
        service.address(),
        &["--authority", &issuer.history],
    );
    let credential = issuer.issue(&user, &["component=web"], &["--ttl", "4s"]);
    let inlet = inlet(&user, &relay, &owner, &["--credential", &credential]);
    let mut running = connect(inlet.address);
    echo(&mut running, b"for now").expect("an echo");
    await_end(&mut running);
    is_kept_out(&inlet);
}

#[test]
fn an_inlet_asks_its_policy_too() {
    let _turn = alone();
    let (service, relay, issuer) = (Service::echo(), Relay::start(&[]), Issuer::new());
    let (owner, user) = (Edge::new(), Edge::new());
    let (friend, far) = (user.identifier.as_str(), ["--authority", &issuer.history]);
    let plain = owner.outlet(relay.address, service.address(), &[friend]);
    let inlet = user.start_inlet(relay.address, NAME, "127.0.0.1:0", &[], &far);
    inlet.process.event("up");
    is_kept_out(&inlet);
    assert!(denied(inlet.metrics) > 0.0);
    drop(plain);
    let credential = issuer.issue(&owner, &["component=db"], &[]);
    let more = ["--credential", &credential];
    let outlet = owner.start_outlet(relay.address, NAME, service.address(), &[friend], &more);
    outlet.process.event("registered");
    eventually("let in", PATIENCE, || gets_in(&inlet));
}

#[test]
fn names_are_registered_by_attribute() {
    let _turn = alone();
    let (service, issuer) = (Service::echo(), Issuer::new());
    let relay = Relay::start(&["--authority", &issuer.history]);
    let (owner, user) = (Edge::new(), Edge::new());
    let start = |attribute: &str| {
        let credential = issuer.issue(&owner, &[attribute], &[]);
        let to = service.address();
        let friend = [user.identifier.as_str()];
        owner.start_outlet(
            relay.address,
            NAME,
            to,
            &friend,
            &["--credential", &credential],
        )
    };
    for other in ["component=db", "ockam-relay=other"] {
        let outlet = start(other);
        let event = outlet.process.event("down");
        let reason = event.text("reason");
        assert!(reason.contains("may not register"), "{reason}");
    }
    // Each asked at least once.
    let before = denials(relay.metrics, "relay");
    assert!(before >= 2.0, "{before}");
    for enough in ["ockam-relay=db", "ockam-relay=*"] {
        let outlet = start(enough);
        outlet.process.event("registered");
    }
    // A policy is asked beside the attribute, and takes names back.
    let outlet = start("ockam-relay=db");
    outlet.process.event("registered");
    let expression = format!("not {}", owner.identifier);
    let output = Edge::command(relay.home())
        .args(["policy", "create", "--resource-type", "relay", &expression])
        .output(PATIENCE);
    assert!(output.status.success(), "{output:?}");
    let event = outlet.process.event("down");
    assert!(!event.text("reason").is_empty());
    assert!(denials(relay.metrics, "relay") > before);
}

#[test]
fn strangers_cannot_knock() {
    let _turn = alone();
    let (service, issuer) = (Service::echo(), Issuer::new());
    let relay = Relay::start(&["--authority", &issuer.history, "--require-authentication"]);
    let (owner, user) = (Edge::new(), Edge::new());
    let registers = issuer.issue(&owner, &["ockam-relay=db"], &[]);
    let member = issuer.issue(&user, &["component=web"], &[]);
    let more = ["--credential", registers.as_str()];
    let friend = [user.identifier.as_str()];
    let outlet = owner.start_outlet(relay.address, NAME, service.address(), &friend, &more);
    outlet.process.event("registered");

    let mut stranger = Wire::open(relay.address);
    let before = metrics::scrape(relay.metrics).count("not_permitted");
    stranger.send_message(&["forward_to_db", "api"], &["me"], b"knock");
    eventually("a refusal", PATIENCE, || {
        match metrics::scrape(relay.metrics).count("not_permitted") {
            now if now > before => Ok(()),
            now => Err(now),
        }
    });
    // Proving who one is does not help without a credential.
    let far = [owner.identifier.as_str()];
    let from = "127.0.0.1:0";
    let unknown = user.start_inlet(relay.address, NAME, from, &far, &["--authenticate"]);
    eventually("a denial", PATIENCE, || match denied(relay.metrics) {
        0.0 => Err(()),
        _ => Ok(()),
    });
    drop(unknown);
    let more = ["--authenticate", "--credential", member.as_str()];
    let known = user.start_inlet(relay.address, NAME, from, &far, &more);
    known.process.event("up");
    gets_in(&known).expect("let in");
}

/// Where a policy was all that said who may, its end must not open the door.
#[test]
fn without_its_only_policy_an_outlet_lets_nobody_in() {
    let _turn = alone();
    let (service, relay) = (Service::echo(), Relay::start(&[]));
    let [owner, user] = [(); 2].map(|()| Edge::new());
    let policy = format!("(= subject.identifier \"{}\")", user.identifier);
    let _outlet = outlet(&owner, &relay, service.address(), &["--policy", &policy]);
    let inlet = inlet(&user, &relay, &owner, &[]);
    gets_in(&inlet).expect("let in");
    let output = owner.output(&["policy", "delete", "--resource", NAME]);
    assert!(output.status.success(), "{output:?}");
    eventually("nobody is let in", PATIENCE, || match gets_in(&inlet) {
        Ok(()) => Err("let in"),
        Err(_) => Ok(()),
    });
}

#[test]
fn stored_credentials_are_shown() {
    let _turn = alone();
    let (service, relay, issuer) = (Service::echo(), Relay::start(&[]), Issuer::new());
    let (owner, user) = (Edge::new(), Edge::new());
    for (edge, attribute) in [(&owner, "component=db"), (&user, "component=web")] {
        let credential = issuer.issue(edge, &[attribute], &[]);
        let store = [
            "credential",
            "store",
            &credential,
            "--authority",
            &issuer.history,
        ];
        let output = edge.output(&store);
        assert!(output.status.success(), "{output:?}");
        // Not somebody else's.
        let other = issuer.issue(&issuer.edge, &[attribute], &[]);
        let store = [
            "credential",
            "store",
            &other,
            "--authority",
            &issuer.history,
        ];
        assert!(!edge.output(&store).status.success());
    }
    let arguments = ["--authority", &issuer.history, "--policy", "component=web"];
    let _outlet = outlet(&owner, &relay, service.address(), &arguments);
    let arguments = ["--authority", &issuer.history, "--policy", "component=db"];
    let inlet = user.start_inlet(relay.address, NAME, "127.0.0.1:0", &[], &arguments);
    inlet.process.event("up");
    gets_in(&inlet).expect("let in");
}

#[test]
fn channels_are_resources_too() {
    let _turn = alone();
    let (service, relay) = (Service::echo(), Relay::start(&[]));
    let (owner, user, other) = (Edge::new(), Edge::new(), Edge::new());
    let only = user.identifier.as_str();
    let set = [
        "policy",
        "create",
        "--resource-type",
        "secure-channel-listener",
        only,
    ];
    let output = owner.output(&set);
    assert!(output.status.success(), "{output:?}");
    let friends = [user.identifier.as_str(), other.identifier.as_str()];
    let outlet = owner.outlet(relay.address, service.address(), &friends);
    gets_in(&inlet(&user, &relay, &owner, &[])).expect("let in");
    assert_eq!(denied(outlet.metrics), 0.0);
    let far = [owner.identifier.as_str()];
    let _kept_out = other.start_inlet(relay.address, NAME, "127.0.0.1:0", &far, &[]);
    eventually("a denial", PATIENCE, || match denied(outlet.metrics) {
        0.0 => Err(()),
        _ => Ok(()),
    });
}
