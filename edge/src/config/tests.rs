//! Configurations of nodes, good and bad, and what is said about them.

use proptest::prelude::*;

use super::*;
use crate::model::ListenerSpec;

const IDENTIFIER: &str = "I0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn variables() -> Variables {
    Variables::without_environment([("DB".to_owned(), "postgres:5432".to_owned())])
}

fn config(text: &str) -> Result<Configuration, Findings> {
    read("e.yaml", text, "default", &variables(), None)
}

fn refused(text: &str) -> String {
    match config(text) {
        Ok(read) => panic!("{text} is read as {read:?}"),
        Err(findings) => findings.to_string(),
    }
}

fn warnings(text: &str) -> String {
    match config(text) {
        Ok(read) => read.warnings.to_string(),
        Err(findings) => panic!("{text}: {findings}"),
    }
}

/// The example of what is known about Ockam's files, and what it stands for.
#[test]
fn a_file_of_the_reference_is_read() {
    let text = "
version: 1
name: db-edge
ticket: abc
relay: postgres
policies:
  - resource-type: tcp-outlet
    allow: postgres-inlet
tcp-outlet:
  pg: { to: $DB }
tcp_inlets:
  web: { from: tcp://0.0.0.0:15432, via: postgres, expression: '(= subject.a \"b\")' }
";
    let read = config(text).expect(text);
    assert_eq!(read.warnings.to_string(), "");
    assert_eq!(read.ticket.as_deref(), Some("abc"));
    let desired = read.desired;
    assert_eq!(desired.node.name, "db-edge");
    assert_eq!(desired.node.drain, 10);
    assert_eq!(desired.relays[0].name, "postgres");
    assert_eq!(
        desired.policies[0].resource_type.as_deref(),
        Some("tcp-outlet")
    );
    let outlet = &desired.tcp_outlets[0];
    assert_eq!(
        (outlet.name.as_str(), outlet.to.as_str()),
        ("pg", "postgres:5432")
    );
    let inlet = &desired.tcp_inlets[0];
    assert_eq!(
        (inlet.name.as_str(), inlet.from.as_str()),
        ("web", "0.0.0.0:15432")
    );
    assert_eq!(inlet.allow.as_deref(), Some("(= subject.a \"b\")"));
}

#[test]
fn resources_are_one_several_or_named() {
    let names = |text: &str| -> Vec<String> {
        let read = config(text).expect(text).desired;
        let relays = read.relays.into_iter().map(|relay| relay.name);
        let outlets = read.tcp_outlets.into_iter().map(|outlet| outlet.name);
        relays.chain(outlets).collect()
    };
    for (text, expected) in [
        ("relay: a", vec!["a"]),
        ("relays: [a, b]", vec!["a", "b"]),
        ("relays: [a, {name: b, at: 'h:1'}]", vec!["a", "b"]),
        ("relay: {a: {at: 'h:1'}, b: }", vec!["a", "b"]),
        ("relay: {at: 'h:1'}", vec!["default"]),
        ("relay: {name: a, at: 'h:1'}", vec!["a"]),
        ("relay:", vec![]),
        ("tcp-outlet: {to: 1}", vec!["outlet"]),
        ("tcp-outlets: {to: {to: 1}}", vec!["to"]),
        (
            "tcp-outlets: [{to: 1}, {to: 2, name: b}]",
            vec!["outlet", "b"],
        ),
        ("tcp-outlet: {to: 1, from: /service/x}", vec!["x"]),
    ] {
        assert_eq!(names(text), expected, "{text}");
    }
}

#[test]
fn everything_about_the_node() {
    let text = "
name: n
identity: i
project: p
shards: 3
max_memory: 64
trace: true
drain: 2m
http: {address: '127.0.0.1:0', token_file: t}
tcp-listener-address: 127.0.0.1:4000
tcp-listeners: ['127.0.0.1:0']
tcp-connections: {c: {to: 'h:1'}}
secure-channels: {s: {to: /dnsaddr/h/tcp/1/service/api, authorized: [ID]}}
tcp-inlet: {from: 1, to: /secure-channel/s/service/outlet}
"
    .replace("ID", IDENTIFIER);
    let read = config(&text).expect(&text);
    assert_eq!(read.warnings.to_string(), "");
    let desired = read.desired;
    let node = desired.node;
    assert_eq!(
        (node.identity.as_deref(), node.project.as_deref()),
        (Some("i"), Some("p"))
    );
    assert_eq!(
        (node.shards, node.max_memory, node.drain),
        (3, Some(64), 120)
    );
    assert!(node.trace);
    let http = node.http.expect("http");
    assert_eq!(
        (http.address.as_str(), http.token_file.as_deref()),
        ("127.0.0.1:0", Some("t"))
    );
    let listener = |address: &str| ListenerSpec {
        address: address.into(),
    };
    assert_eq!(
        desired.tcp_listeners,
        [listener("127.0.0.1:4000"), listener("127.0.0.1:0")]
    );
    assert_eq!(desired.tcp_connections[0].to, "h:1");
    assert_eq!(desired.secure_channels[0].authorized, [IDENTIFIER]);
    assert_eq!(desired.tcp_inlets[0].name, "inlet");
}

/// Files, and what is said first about each; what ends with a blank goes on.
const MISTAKES: &[(&str, &str)] = &[
    ("nmae: a", "1:1: unknown key 'nmae', did you mean 'name'?"),
    (
        "kafka-inlet: {}",
        "1:1: 'kafka-inlet' has no meaning here: Kafka portals are not supported; a tcp-inlet carries its \
             TCP connections",
    ),
    (
        "influxdb_outlets: {}",
        "1:1: 'influxdb_outlets' has no meaning here: InfluxDB portals are not supported; a tcp-outlet \
             carries its TCP connections",
    ),
    (
        "name: -x",
        "1:7: name: '-x' is not a name for a node: use 1 to 48 of a-z A-Z 0-9 . _ -, not starting with . or -, and not 'self'",
    ),
    (
        "drain: soon",
        "1:8: drain: expected a number and s, m, h or d, for example 10m",
    ),
    (
        "shards: many",
        "1:9: shards: expected a whole number from 0 to 255, found 'many'",
    ),
    (
        "authorities: [00]",
        "1:14: authorities[0]: not a change history: ",
    ),
    (
        "tcp-listener-address: localhost",
        "1:23: tcp-listener-address: 'localhost' is not ADDRESS:PORT, for example 127.0.0.1:4000",
    ),
    (
        "http: {address: '0.0.0.0:80'}",
        "1:17: http.address: others can read the token on the way: listen on 127.0.0.1, or give \
             'tls-certificate' and 'tls-key'",
    ),
    (
        "http: {address: '127.0.0.1:80', tls-key: k}",
        "1:42: http: 'tls-certificate' is missing beside 'tls-key'",
    ),
    (
        "http: {adress: '127.0.0.1:80'}",
        "1:7: http: 'address' is missing",
    ),
    (
        "relay: a\nrelays: [b]",
        "2:1: 'relay' is there as well as 'relays'; write one of them",
    ),
    (
        "relay: forward_to_a",
        "1:8: relay.name: leave out 'forward_to_': the name is what the outlet registers with --name",
    ),
    (
        "relays: [a, a]",
        "1:13: relays[1]: line 1 has a relay 'a' already",
    ),
    (
        "relay: {a: {at: nowhere}}",
        "1:17: relay.a.at: expected HOST:PORT, for example 127.0.0.1:5432",
    ),
    (
        "relay: {a: {to: n}}",
        "1:13: relay.a: 'to' has no meaning here: a file describes one node: all of it is there",
    ),
    (
        "relay: {a: {name: b}}",
        "1:13: relay.a: it is called 'a' already, by its key",
    ),
    (
        "relay: {a: {authorized: me}}",
        "1:25: relay.a.authorized: 'me': an identifier is I and 64 hexadecimal digits, see `identity show`",
    ),
    (
        "tcp-outlets: {a b: {to: 1}}",
        "1:15: 'a b' is not a name for a tcp-outlet: use 1 to 64 of a-z A-Z 0-9 . _ -, not starting with . or -",
    ),
    (
        "tcp-outlets: {a: 5}",
        "1:18: tcp-outlets.a: expected keys and values, found '5'",
    ),
    (
        "tcp-outlets: {a: {}}",
        "1:18: tcp-outlets.a: 'to' is missing",
    ),
    (
        "tcp-outlet: {to: 'h:0'}",
        "1:18: tcp-outlet.to: port 0 is not a port one can connect to",
    ),
    (
        "tcp-outlet: {to: 'a b:1'}",
        "1:18: tcp-outlet.to: 'a b' is not a host name or an address",
    ),
    (
        "tcp-outlet:\n  to: 1\n  allow: 'a == b'",
        "3:13: tcp-outlet.allow: ",
    ),
    (
        "tcp-inlets:\n  web:\n    form: 1\n    via: a",
        "3:5: unknown key 'form' in tcp-inlets.web, did you mean 'from'?",
    ),
    (
        "tcp-inlet: {from: 70000, via: a}",
        "1:19: tcp-inlet.from: '70000' is not a port (0 to 65535)",
    ),
    (
        "tcp-inlet: {from: 1, at: 'h:1'}",
        "1:12: tcp-inlet: it does not say where it leads to: give 'via', the name that the outlet's side \
             has at the relay, or 'to', a route",
    ),
    (
        "tcp-inlet: {from: 1, at: 'h:1', to: /project/p/service/outlet}",
        "1:26: tcp-inlet.at: it is the relay of 'via', which is missing",
    ),
    (
        "tcp-inlet: {from: 1, to: /dnsaddr/h/tcp/1/service/outlet}",
        "1:26: tcp-inlet.to: the route has no secure channel, so that the relay and everybody between could read and change the data; add /secure/api in front of the outlet",
    ),
    ("tcp-inlet: {from: 1, to: nowhere}", "1:26: tcp-inlet.to: "),
    (
        "tcp-inlet: {from: 1, to: /project/p}",
        "1:26: tcp-inlet.to: it must end with a service, for example /service/outlet",
    ),
    (
        "tcp-inlet: {from: 1, via: a, to: /a/b}",
        "1:34: tcp-inlet.to: with 'via' it is the address of the outlet there, for example 'outlet'",
    ),
    (
        "tcp-inlet: {from: 1, via: a, timeout: 5s}",
        "1:30: tcp-inlet: 'timeout' has no meaning here: it is an option of the command, not of the resource",
    ),
    (
        "tcp-inlets:\n  a: {from: 1, via: x}\n  b: {from: '0.0.0.0:1', via: x}",
        "3:13: tcp-inlets.b.from: tcp-inlets.a.from in line 2 listens on 127.0.0.1:1 already",
    ),
    (
        "tcp-listener-address: '[::]:1'\ntcp-inlet: {from: 1, via: x}",
        "2:19: tcp-inlet.from: tcp-listener-address in line 1 listens on [::]:1 already",
    ),
    (
        "policies: [{allow: a}]",
        "1:12: policies[0]: 'resource' or 'resource-type' is missing",
    ),
    (
        "policies: [{allow: a, resource: x, resource-type: relay}]",
        "1:51: policies[0]: 'resource' and 'resource-type' are both there; give one",
    ),
    (
        "policy: {resource-type: relay, allow: ''}",
        "1:40: policy.allow: there is nothing; ",
    ),
    (
        "policies:\n- {resource: o, allow: a}\ntcp-outlets: {o: {to: 1, allow: b}}",
        "3:33: tcp-outlets.o: line 2 gives the resource 'o' another policy",
    ),
    (
        "policy: {resource-type: tcp-outlets, allow: a}",
        "1:25: policy: a node has no resources of type 'tcp-outlets', did you mean 'tcp-outlet'?; types are \
         tcp-inlet, tcp-outlet, relay, secure-channel-listener",
    ),
    (
        "",
        "1:1: nothing is in it; a node that is to have nothing takes a 'name'",
    ),
    (
        "{}",
        "1:1: nothing is in it; a node that is to have nothing takes a 'name'",
    ),
    (
        "tcp-outlet: {to: $NONE}",
        "1:18: the variable NONE has no value; ",
    ),
];

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, expected) in MISTAKES {
        let found = refused(text);
        let found = found.lines().next().unwrap_or_default();
        let expected = format!("e.yaml:{expected}");
        let is_right = match expected.ends_with(' ') {
            true => found.starts_with(&expected),
            false => found == expected,
        };
        assert!(is_right, "{text}\n   found: {found}\nexpected: {expected}");
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = "\
name: n
kafka-outlet: {}
relay: {r: {at: x}}
tcp-outlets:
  a: {to: b, timeout: 1s, tp: 2}
  c: {to: 'h:1', allow: 'x and'}
tcp-inlets:
  d: {via: r}
  e: {from: 'h:99999', via: ''}
";
    let found = refused(text);
    let places: Vec<_> = found
        .lines()
        .map(|line| line.split(": ").next().unwrap_or_default())
        .collect();
    let expected = ["2:1", "3:17", "5:14", "5:27", "6:31", "8:6", "9:13", "9:29"];
    let expected: Vec<_> = expected
        .iter()
        .map(|place| format!("e.yaml:{place}"))
        .collect();
    assert_eq!(places, expected, "{found}");
}

#[test]
fn what_is_probably_not_meant() {
    for (text, expected) in [
        (
            "tcp-outlet: {to: 1}\npolicy: {resource: outlte, allow: a}",
            "2:20: warning: policy: this file has no resource 'outlte', did you mean 'outlet'?",
        ),
        (
            "tcp-inlet: {from: 1, to: /secure-channel/s/service/outlet}",
            "1:26: warning: tcp-inlet.to: this file has no secure channel 's'",
        ),
        (
            "tcp-outlets: {a: {to: 1, from: b}}",
            "1:15: warning: tcp-outlets.a: the outlet is called 'b' here, as its address; 'a' is not used",
        ),
    ] {
        assert_eq!(warnings(text), format!("e.yaml:{expected}"), "{text}");
    }
}

#[test]
fn projects_are_looked_for_where_they_are_known() {
    let machine = |projects: &[&str]| Machine {
        projects: projects.iter().map(|name| (*name).to_owned()).collect(),
        policies: Some(vec!["type/tcp-outlet".to_owned()]),
    };
    let (known, none) = (machine(&["p"]), machine(&[]));
    let warnings = |text: &str, machine: Option<&Machine>| {
        let read = read("e", text, "n", &variables(), machine).expect(text);
        read.warnings.to_string()
    };
    assert_eq!(warnings("project: p", Some(&known)), "");
    assert_eq!(warnings("project: q", None), "");
    assert_eq!(warnings("project: q\nticket: t", Some(&known)), "");
    assert!(warnings("project: q", Some(&known)).contains("not enrolled with a project 'q'"));
    assert_eq!(warnings("relay: r", Some(&known)), "");
    assert!(warnings("relay: r", Some(&none)).contains("it is not said which relay"));

    let inlet = "tcp-inlets: {a: {from: 1, via: b, at: 'h:1'}}";
    assert_eq!(warnings(inlet, Some(&known)), "");
    assert!(warnings(inlet, Some(&none)).contains("tcp-inlets.a: nobody could use it"));
    assert_eq!(
        warnings(
            &format!("policies: [{{resource: a, allow: x}}]\n{inlet}"),
            Some(&none)
        ),
        ""
    );
    assert_eq!(warnings("tcp-outlet: {to: 1}", Some(&none)), "");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "relay", "relays", "tcp-inlet", "tcp-outlets", "policies", "policy", "from", "to", "via", "allow",
                "name", "http", "address", "secure-channels", "authorized", "resource", ": ", ":\n  ", "\n", "\n- ",
                "{", "}", "[", "]", ", ", "a", "1", "'h:1'", "/project/p/service/x", "/secure-channel/", "(= a",
                "$DB", "\u{e9}", "~", "tcp://", "/", "not", "'", "&a ", "*a",
            ]),
            0..50,
        )
    ) {
        if let Err(findings) = config(&pieces.concat()) {
            prop_assert!(findings.has_errors());
        }
    }
}
