//! Keys that are replaced while everything runs.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use culvert_tests::chain::{Edge, NAME, Relay};
use culvert_tests::net::{connect, echo, eventually, try_connect};
use culvert_tests::process::{Process, Spec};
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, alone, bins};
use tempfile::TempDir;

/// What a process says once it shows the new key.
const CHANGED: &str = "handshakes show the changed identity";
/// What it says to a peer that shows a key it has replaced.
const OLDER: &str = "older change history";

fn says(process: &Process, what: &str) {
    eventually(what, PATIENCE, || {
        let log = process.log();
        if log.contains(what) { Ok(()) } else { Err(log) }
    });
}

/// A copy of a state directory, as an attacker may have.
fn copy(home: &Path) -> TempDir {
    let to = tempfile::tempdir().expect("directory");
    for inside in ["identities", "vaults"] {
        fs::create_dir(to.path().join(inside)).expect("directory");
        for entry in fs::read_dir(home.join(inside)).expect("list").flatten() {
            let target = to.path().join(inside).join(entry.file_name());
            fs::copy(entry.path(), target).expect("copy");
        }
    }
    to
}

fn rotate(home: &Path, more: &[&str]) -> String {
    let shown = Edge::command(home)
        .args(["identity", "rotate"])
        .args(more)
        .run();
    shown.trim().to_owned()
}

fn echoes(address: SocketAddr) {
    eventually("an echo", PATIENCE, || {
        let mut client = try_connect(address, Duration::from_secs(2))?;
        echo(&mut client, b"hello")
    });
}

/// Outlet, inlet and relay show new keys without being started again; streams stay; who has only seen
/// the new keys refuses the old ones.
#[test]
fn running_nodes_show_a_new_key() {
    let _turn = alone();
    let service = Service::echo();
    let directory = tempfile::tempdir().expect("directory");
    let words = directory.path().join("words");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).mode(0o600).open(&words);
    let file = file.as_mut().expect("open");
    std::io::Write::write_all(file, b"a passphrase\n").expect("write");
    let words = words.to_str().expect("UTF-8");
    let relay = Relay::start(&["--passphrase-file", words, "--allow-plain-registration"]);
    let (server, client) = (Edge::new(), Edge::new());
    let one = ["--shards", "1"];
    let (at, to) = (relay.address, service.address());
    let mut outlet = server.start_outlet(at, NAME, to, &[&client.identifier], &one);
    outlet.process.event("registered");
    let inlet = client.start_inlet(at, NAME, "127.0.0.1:0", &[&server.identifier], &one);
    let mut stream = connect(inlet.address);
    echo(&mut stream, b"before").expect("an echo");

    let (old_server, old_client) = (copy(server.home()), copy(client.home()));
    assert_eq!(rotate(server.home(), &[]), server.identifier);
    assert_eq!(
        rotate(client.home(), &["--type", "p256"]),
        client.identifier
    );
    let encrypted = ["--name", "relay", "--passphrase-file", words];
    assert_eq!(rotate(relay.home(), &encrypted), relay.identifier);
    for process in [&outlet.process, &inlet.process, &relay.process] {
        says(process, CHANGED);
    }
    echo(&mut stream, b"after").expect("an echo on the same stream");

    // New handshakes everywhere, between the nodes that have run all the time.
    let relay = relay.kill_and_restart();
    echoes(inlet.address);
    assert_eq!(relay.listening.text("identifier"), relay.identifier);

    let more = ["--from", "127.0.0.1:0", "--allow", &server.identifier];
    let thief = Edge::command(old_client.path())
        .args([
            "inlet",
            "--relay",
            &at.to_string(),
            "--via",
            NAME,
            "--output",
            "json",
        ])
        .args(more)
        .args(one)
        .start("inlet with the old key");
    says(&outlet.process, OLDER);
    drop(thief);

    // The relay has seen the new key of the outlet, and so has the inlet.
    outlet.process.kill();
    let thief = |more: &[&str]| {
        Edge::command(old_server.path())
            .args([
                "outlet",
                "--relay",
                &at.to_string(),
                "--name",
                NAME,
                "--output",
                "json",
            ])
            .args(["--to", &to.to_string(), "--allow", &client.identifier])
            .args(one)
            .args(more)
            .start("outlet with the old key")
    };
    let refused = thief(&[]);
    says(&relay.process, OLDER);
    drop(refused);
    let _registered = thief(&["--plain-registration"]);
    // An inlet without clients takes its time to look for the far side.
    let _client = connect(inlet.address);
    says(&inlet.process, OLDER);
}

#[test]
fn a_relay_needs_the_passphrase_of_its_vault() {
    let _turn = alone();
    let home = tempfile::tempdir().expect("directory");
    let relay = |passphrase: Option<&str>| {
        let relay = Spec::new(bins::relay())
            .env("CULVERT_HOME", home.path())
            .args(["--listen", "127.0.0.1:0", "--output", "json"]);
        match passphrase {
            Some(words) => relay.env("CULVERT_PASSPHRASE", words),
            None => relay,
        }
    };
    let first = relay(Some("a passphrase")).start("relay");
    let identifier = first.event("listening").text("identifier").to_owned();
    first.terminate();
    for (passphrase, expected) in [
        (None, "CULVERT_PASSPHRASE"),
        (Some("another one"), "does not open"),
    ] {
        let output = relay(passphrase).output(PATIENCE);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let again = relay(Some("a passphrase")).start("relay");
    assert_eq!(again.event("listening").text("identifier"), identifier);
}
