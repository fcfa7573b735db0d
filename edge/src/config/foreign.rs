//! What Ockam's node configuration has and this one has not: refused, with the reason.

use culvert_manage::config::tree::same_key as same;

/// Keys of the whole file.
const FILE: &[(&str, &str)] = &[
    (
        "influxdb-outlet",
        "InfluxDB portals are not supported; a tcp-outlet carries its TCP connections",
    ),
    (
        "influxdb-inlet",
        "InfluxDB portals are not supported; a tcp-inlet carries its TCP connections",
    ),
    (
        "kafka-inlet",
        "Kafka portals are not supported; a tcp-inlet carries its TCP connections",
    ),
    (
        "kafka-outlet",
        "Kafka portals are not supported; a tcp-outlet carries its TCP connections",
    ),
    ("udp", "an inlet leaves the relay with 'direct: true'"),
    (
        "udp-listener-address",
        "an inlet leaves the relay with 'direct: true'",
    ),
    ("enrollment-ticket", "write 'ticket'"),
    (
        "opentelemetry-context",
        "it is an option of the command, not of the node",
    ),
    (
        "foreground",
        "`culvert-edge run -f FILE` stays in the foreground, `node create FILE` does not",
    ),
    (
        "exit-on-eof",
        "it is an option of the command, not of the node",
    ),
    ("skip-is-running-check", "two processes cannot be one node"),
    (
        "in-memory",
        "a node keeps its state; use another --home to throw it away",
    ),
    ("launch-config", "write what it has into this file"),
    (
        "trust-context",
        "a node believes the authority of its 'project', and 'authorities'",
    ),
    ("authority-identity", "write 'authorities'"),
    (
        "authority-route",
        "it comes with the project; enroll with a 'ticket'",
    ),
    (
        "credential-scope",
        "it comes with the project; enroll with a 'ticket'",
    ),
    (
        "status-endpoint",
        "metrics and the status page are served at 'http: {address: …}'",
    ),
    (
        "status-endpoint-port",
        "metrics and the status page are served at 'http: {address: …}'",
    ),
    (
        "http-server",
        "metrics and the status page are served at 'http: {address: …}'",
    ),
    (
        "enable-http-server",
        "metrics and the status page are served at 'http: {address: …}'",
    ),
    ("no-status-endpoint", "without 'http' there is none on TCP"),
    (
        "services",
        "a node has its channel listener at /service/api, and its management API on a Unix socket and at \
         'http'",
    ),
    ("vaults", "make them with `culvert-edge vault create`"),
    (
        "identities",
        "make them with `culvert-edge identity create`",
    ),
    ("nodes", "a file describes one node; write a file for each"),
];

/// Arguments of a resource of any kind.
const ANY: &[(&str, &str)] = &[
    ("alias", "the name of a resource is its key"),
    (
        "enable-nagle",
        "small writes are put together by the sender as they come",
    ),
    ("privileged", "raw sockets are not used"),
    (
        "tls",
        "TLS is left to the service and its client; portals carry it as it is",
    ),
    ("no-connection-wait", "a file waits for no connections"),
    (
        "timeout",
        "it is an option of the command, not of the resource",
    ),
    (
        "retry-wait",
        "attempts get rarer by themselves, up to a limit",
    ),
    ("connection-wait", "a file waits for no connections"),
    ("udp", "write 'direct: true' in the tcp-inlet"),
    (
        "no-tcp-fallback",
        "there is always the relay to fall back to",
    ),
    ("identity", "it is the identity of the node"),
    ("project-relay", "'at' says which relay"),
];

/// Arguments of one kind of resource.
const OF: &[(&str, &str, &str)] = &[
    (
        "tcp-inlet",
        "http-header",
        "what goes through a portal is not changed",
    ),
    (
        "tcp-inlet",
        "tls-certificate-provider",
        "TLS is left to the service and its client; portals carry it as it is",
    ),
    (
        "tcp-outlet",
        "at",
        "a file describes one node: all of it is there",
    ),
    (
        "relay",
        "to",
        "a file describes one node: all of it is there",
    ),
    (
        "relay",
        "allow",
        "write a policy with 'resource-type: relay'",
    ),
];

/// Why there is no such key in the file. Singular and plural are the same key.
pub(super) fn of_file(key: &str) -> Option<&'static str> {
    let singular = key.strip_suffix('s').unwrap_or(key);
    FILE.iter()
        .find(|(known, _)| same(known, key) || same(known, singular))
        .map(|(_, reason)| *reason)
}

/// Why resources of this kind have no such key.
pub(super) fn of_resource(kind: &str, key: &str) -> Option<&'static str> {
    let own = OF
        .iter()
        .find(|(of, known, _)| *of == kind && same(known, key))
        .map(|(_, _, reason)| *reason);
    own.or_else(|| {
        let any = ANY.iter().find(|(known, _)| same(known, key));
        any.map(|(_, reason)| *reason)
    })
}
