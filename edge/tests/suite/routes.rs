//! From what the user writes to the hops and channels of a path.

use culvert_crypto::Identifier;
use culvert_crypto::trust::Trust;
use culvert_edge::endpoint::HostPort;
use culvert_edge::route::{self, RouteError};
use culvert_node::session::PathPlan;
use culvert_proto::multiaddr::MultiAddrError;

fn trust() -> Trust {
    Trust::only(Identifier([7; 32]))
}

/// A plan in one line: `host:port | hops > listener (trust) | ... | tail`.
fn line(plan: &PathPlan) -> String {
    let names = |hops: &[Vec<u8>]| {
        let hops: Vec<_> = hops
            .iter()
            .map(|hop| String::from_utf8_lossy(hop))
            .collect();
        hops.join(" ")
    };
    let mut parts = vec![format!("{}:{}", plan.host, plan.port)];
    for leg in &plan.legs {
        let listener = String::from_utf8_lossy(&leg.listener);
        let trust = match &leg.trust {
            Trust::Anyone => "anyone",
            given if *given == trust() => "given",
            _ => "other",
        };
        parts.push(
            format!("{} > {listener} ({trust})", names(&leg.hops))
                .trim()
                .to_owned(),
        );
    }
    parts.push(names(&plan.tail));
    parts.join(" | ")
}

#[test]
fn multiaddrs_become_paths() {
    for (text, expected) in [
        (
            "/dnsaddr/relay.example/tcp/4000/service/forward_to_db/secure/api/service/outlet",
            "relay.example:4000 | forward_to_db > api (given) | outlet",
        ),
        // A channel to the relay first: only the last one is asked who it is.
        (
            "/ip4/127.0.0.1/tcp/4000/secure/api/service/forward_to_db/secure/api/service/outlet",
            "127.0.0.1:4000 | > api (anyone) | forward_to_db > api (given) | outlet",
        ),
        (
            "/ip6/::1/tcp/4000/worker/a/service/b/secure/other/worker/c/service/d",
            "::1:4000 | a b > other (given) | c d",
        ),
        (
            "/ip4/10.0.0.1/tcp/1/secure/api/service/outlet",
            "10.0.0.1:1 | > api (given) | outlet",
        ),
    ] {
        let plan = route::parse(text, &trust(), false).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(line(&plan), expected, "{text}");
    }
}

#[test]
fn a_path_without_a_channel_has_to_be_asked_for() {
    let text = "/ip4/127.0.0.1/tcp/4000/service/forward_to_db/service/outlet";
    let refused = route::parse(text, &trust(), false).err();
    assert_eq!(refused, Some(RouteError::InClear));
    let plan = route::parse(text, &trust(), true).expect("asked for");
    assert_eq!(line(&plan), "127.0.0.1:4000 | forward_to_db outlet");
}

#[test]
fn other_multiaddrs_are_refused() {
    let foreign = |part: &str| RouteError::Foreign(part.into());
    let second = |part: &str| RouteError::SecondNode(part.into());
    let long = format!(
        "/ip4/1.1.1.1/tcp/1/service/{}/secure/api/service/o",
        "x".repeat(513)
    );
    let many = format!(
        "/ip4/1.1.1.1/tcp/1{}/secure/api/service/o",
        "/service/x".repeat(40)
    );
    for (text, expected) in [
        ("", RouteError::NoFirstNode),
        ("relay:4000", RouteError::Text(MultiAddrError::Slash)),
        ("/secure/api/service/outlet", RouteError::NoFirstNode),
        (
            "/ip4/127.0.0.1/secure/api/service/outlet",
            RouteError::NoFirstNode,
        ),
        (
            "/ip4/127.0.0.1/udp/4000/secure/api/service/outlet",
            RouteError::NoFirstNode,
        ),
        (
            "/ip4/127.0.0.1/tcp/0/secure/api/service/outlet",
            RouteError::NoFirstNode,
        ),
        ("/ip4/127.0.0.1/tcp/4000", RouteError::InClear),
        ("/ip4/127.0.0.1/tcp/4000/secure/api", RouteError::NoOutlet),
        (
            "/project/default/service/outlet",
            foreign("/project/default"),
        ),
        (
            "/ip4/1.1.1.1/tcp/1/node/n/secure/api/service/outlet",
            foreign("/node/n"),
        ),
        (
            "/ip4/1.1.1.1/tcp/1/secure/api/ip4/2.2.2.2/tcp/2/service/o",
            second("/ip4/2.2.2.2"),
        ),
        (&long, RouteError::PartTooLong),
        (&many, RouteError::TooLong),
    ] {
        let refused = route::parse(text, &trust(), false).err();
        assert_eq!(refused.as_ref(), Some(&expected), "{text}");
        assert!(!expected.hint().is_empty());
    }
}

#[test]
fn a_name_at_a_relay_becomes_a_path() {
    let relay: HostPort = "relay.example:4000".parse().expect("address");
    let plan = route::via(&relay, "db", trust()).expect("path");
    assert_eq!(
        line(&plan),
        "relay.example:4000 | forward_to_db > api (given) | outlet"
    );
    for name in ["", "a#b", "register", "forward_to_db", &"x".repeat(256)] {
        assert!(route::via(&relay, name, trust()).is_err(), "{name}");
    }
}
