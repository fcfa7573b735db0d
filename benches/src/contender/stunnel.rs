//! A pair of stunnel with an HAProxy between them: TLS 1.3 from edge to edge, as people would set it up who
//! have a machine in the middle.

use std::fs;
use std::net::SocketAddr;

use culvert_tests::net::free_address;
use culvert_tests::process::{Process, Spec};
use tempfile::TempDir;

use super::{Reach, Started, haproxy, until_listening};

pub(super) fn start(target: SocketAddr, reach: Reach<'_>) -> Started {
    let directory = tempfile::tempdir().expect("directory");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let certificate = directory.path().join("certificate.pem");
    let key = directory.path().join("key.pem");
    fs::write(&certificate, made.cert.pem()).expect("write the certificate");
    fs::write(&key, made.signing_key.serialize_pem()).expect("write the key");

    let server = format!(
        "cert = {}\nkey = {}\n",
        certificate.display(),
        key.display()
    );
    let client = format!(
        "client = yes\nCAfile = {}\nverifyChain = yes\n",
        certificate.display()
    );
    let (outlet, end) = side(&directory, "outlet", &server, target);
    let (middle, at) = haproxy::hop(directory.path(), "middle", reach(end), false);
    let (inlet, address) = side(&directory, "inlet", &client, at);
    let processes = vec![
        ("stunnel client", inlet.id()),
        ("HAProxy", middle.id()),
        ("stunnel server", outlet.id()),
    ];
    (
        address,
        processes,
        Box::new((inlet, middle, outlet, directory)),
    )
}

fn side(directory: &TempDir, name: &str, more: &str, to: SocketAddr) -> (Process, SocketAddr) {
    let listen = free_address();
    let path = directory.path().join(format!("{name}.conf"));
    let text = format!(
        "foreground = yes\npid =\ndebug = 3\nsslVersion = TLSv1.3\n\
         socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n\
         [{name}]\naccept = {listen}\nconnect = {to}\n{more}"
    );
    fs::write(&path, text).expect("write a configuration");
    let process = Spec::new("stunnel").arg(&path).start("stunnel");
    until_listening("stunnel listens", listen);
    (process, listen)
}
