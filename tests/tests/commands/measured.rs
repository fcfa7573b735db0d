//! `bench` and `doctor`: what they say differs, so their forms are looked at.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use culvert_tests::chain::{Chain, Edge};
use culvert_tests::transcript::Machine;
use culvert_tests::{PATIENCE, alone};
use serde_json::Value;

#[test]
fn a_portal_is_measured() {
    let _turn = alone();
    let machine = Machine::new();
    let serve = Edge::command(&machine.home())
        .args(["bench", "serve", "--output", "json"])
        .start("bench serve");
    let at = serve.event("listening");
    let chain = Chain::start(at.text("address").parse().expect("an address"));
    let to = chain.address().to_string();
    let run = |more: &[&str]| -> Value {
        let said = Edge::command(&machine.home())
            .args([
                "bench",
                "run",
                "--to",
                &to,
                "--duration",
                "300ms",
                "--output",
                "json",
            ])
            .args(more)
            .run();
        serde_json::from_str(&said).expect("JSON")
    };
    let echo = run(&["--connections", "2"]);
    let [trips, bytes] = ["round-trips", "bytes"].map(|key| echo[key].as_u64().expect("a number"));
    assert!(trips > 0 && bytes == 64 * trips, "{echo}");
    let [p50, p99, max] =
        ["p50-us", "p99-us", "max-us"].map(|key| echo["latency"][key].as_f64().expect("a number"));
    assert!(p50 > 0.0 && p50 <= p99 && p99 <= max, "{echo}");
    let sink = run(&["--mode", "sink", "--size", "10000"]);
    let bytes = sink["bytes"].as_u64().expect("a number");
    assert!(bytes > 0 && bytes.is_multiple_of(10_000), "{sink}");
    assert!(sink["latency"].is_null(), "{sink}");
    // The service outlives those who break off or say nonsense.
    for nonsense in [&b"x"[..], b"e\xff\xff\xff\xff", b"s\0\0"] {
        let mut client = culvert_tests::net::connect(chain.address());
        std::io::Write::write_all(&mut client, nonsense).expect("write");
    }
    run(&[]);
    assert_eq!(serve.terminate().code(), Some(0));
}

#[test]
fn a_measurement_needs_a_service() {
    let mut machine = Machine::new();
    let free = culvert_tests::net::free_address();
    machine.fails(6, &format!("bench run --to {free} --duration 1s"));
    machine.fails(2, "bench run --to 127.0.0.1:1 --connections 0");
    machine.fails(2, "bench run --to 127.0.0.1:1 --duration 2h");
    machine.check("bench");
}

/// What `doctor` says: whether all is well, and the state and message of one check.
fn look(machine: &Machine, code: i32, check: &str) -> (String, String) {
    let output = Edge::command(&machine.home())
        .args(["doctor", "--output", "json"])
        .output(PATIENCE);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["ok"], code == 0, "{said}");
    let checks = said["checks"].as_array().expect("a list");
    let found = checks.iter().find(|one| one["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} in {said}"));
    let text = |key: &str| found[key].as_str().expect("text").to_owned();
    (text("state"), text("message"))
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let mut machine = Machine::new();
    assert_eq!(look(&machine, 0, "state directory").0, "notice");
    machine.run("identity create");
    machine.run("policy create --resource db --allow web");
    machine.run("policy create --resource all 'has_credential'");
    assert_eq!(look(&machine, 0, "identity default").0, "ok");
    assert_eq!(look(&machine, 0, "policy of resource 'db'").0, "ok");
    assert_eq!(look(&machine, 0, "policy of resource 'all'").0, "notice");
    assert_eq!(look(&machine, 0, "database"), ("ok".into(), "whole".into()));

    let home = machine.home();
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(&home, mode(0o755)).expect("chmod");
    let (state, message) = look(&machine, 1, "state directory");
    assert!(state == "wrong" && message.contains("0755"), "{message}");
    fs::set_permissions(&home, mode(0o700)).expect("chmod");

    let vault = home.join("vaults/default.json");
    fs::set_permissions(&vault, mode(0o644)).expect("chmod");
    assert_eq!(look(&machine, 1, "secrets").0, "wrong");
    assert_eq!(look(&machine, 1, "identity default").0, "wrong");
    fs::set_permissions(&vault, mode(0o600)).expect("chmod");

    fs::write(home.join("culvert.db"), "no database".repeat(1000)).expect("write");
    for file in ["culvert.db-wal", "culvert.db-shm"] {
        let _ = fs::remove_file(home.join(file));
    }
    let (state, message) = look(&machine, 1, "database");
    assert!(
        state == "wrong" && message.contains("database"),
        "{message}"
    );
}
