//! That the load harness works: every kind of work once, briefly, with what the tests need anyway. Nothing
//! here looks at how fast anything is.

use std::fs;
use std::time::Duration;

use culvert_tests::bins;
use culvert_tests::process::Spec;
use serde_json::Value;

/// What takes part: what needs nothing that is not a package of Debian.
const ONLY: &str = "direct,haproxy,stunnel,ssh,culvert,bytes";

fn quick(more: &[&str]) -> (Value, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let (json, markdown) = (directory.path().join("a"), directory.path().join("b"));
    fs::write(
        &markdown,
        "before\n<!-- load -->\nold\n<!-- /load -->\nafter\n",
    )
    .expect("a file");
    // Built first, if they have to be, for that is not what the limit below is for.
    let built = bins::relay();
    let output = Spec::new(env!("CARGO_BIN_EXE_load"))
        .env(bins::DIRECTORY_VARIABLE, built.parent().expect("a place"))
        .args(["--quick", "--only", ONLY])
        .args(more.iter().copied())
        .arg("--json")
        .arg(&json)
        .arg("--markdown")
        .arg(&markdown)
        .output(Duration::from_secs(300));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let json = fs::read_to_string(json).expect("all samples");
    let report = fs::read_to_string(markdown).expect("the report");
    (serde_json::from_str(&json).expect("JSON"), report)
}

#[test]
fn every_kind_of_work_gives_figures_and_moves_the_right_bytes() {
    let (json, report) = quick(&[]);
    let results = json["results"].as_array().expect("results");
    let has = |measure: &str, contender: &str| {
        let found = results.iter().any(|result| {
            result["measure"] == measure
                && result["contender"] == contender
                && result["median"].as_f64().is_some_and(f64::is_finite)
        });
        assert!(found, "no `{measure}` of {contender}\n{report}");
    };
    for measure in [
        "bulk both ways, 16 streams: GB/s",
        "1024 B, 20 streams: p99 us",
        "1024 B, 64 streams, at half of saturation: p99 us",
        "streams opened, used once and closed: per second",
        "4 fast readers: part that is left",
        "100 idle streams: KiB each",
        "pgbench -S, 64 clients: tps",
        "COPY FROM: MB/s",
        "65536 B messages, 20 links: CPU ms per GB",
        "64 B messages, 100 links, 50 forwarders more: per second",
        "100 idle links: KiB each",
        "handshakes, one after the other: per second",
    ] {
        has(measure, "Culvert");
    }
    for peer in [
        "direct",
        "3 x HAProxy",
        "3 x HAProxy, splice",
        "stunnel",
        "ssh",
    ] {
        has("bulk up, 1 streams: GB/s", peer);
    }
    for relay in ["epoll", "tokio", "monoio", "tokio-uring"] {
        let relay = format!("{relay}, bytes");
        has("64 B messages, 2 links: CPU us each", &relay);
    }
    assert_eq!(json["left_out"], Value::Array(Vec::new()));
    assert!(report.starts_with("before\n<!-- load -->\n"), "{report}");
    assert!(report.ends_with("<!-- /load -->\nafter\n"), "{report}");
    assert!(report.contains("## Targets"), "{report}");
    assert!(report.contains("](images/load-bulk.svg)"), "{report}");
    assert!(!report.contains("old"), "{report}");
}

#[test]
fn a_run_that_was_broken_off_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("figures");
    let built = bins::relay();
    let run = |more: &[&str]| -> Vec<Value> {
        let output = Spec::new(env!("CARGO_BIN_EXE_load"))
            .env(bins::DIRECTORY_VARIABLE, built.parent().expect("a place"))
            .args(["--quick", "--only", "direct,culvert", "--json"])
            .arg(&file)
            .args(more.iter().copied())
            .output(Duration::from_secs(120));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let text = fs::read_to_string(&file).expect("figures");
        let all: Value = serde_json::from_str(&text).expect("JSON");
        all["results"].as_array().expect("results").clone()
    };
    let first = run(&["--work", "connects"]);
    let both = run(&["--work", "connects,slow", "--resume"]);
    for (before, after) in first.iter().zip(&both) {
        for field in ["measure", "contender"] {
            assert_eq!(before[field], after[field]);
        }
        // Read from text and written again, the last digit may differ.
        let [before, after] = [before, after].map(|one| one["median"].as_f64().expect("a median"));
        let is_same = (before - after).abs() <= before.abs() * 1e-9;
        assert!(is_same, "measured again: {before}, {after}");
    }
    let goes_on = both
        .iter()
        .any(|result| result["section"] == "One slow reader");
    assert!(goes_on, "{both:?}");
}

#[test]
fn peers_that_are_missing_are_named() {
    // A place with nothing but what starts programs.
    let place = tempfile::tempdir().expect("a directory");
    let path = std::env::var_os("PATH").expect("PATH");
    let setpriv = std::env::split_paths(&path)
        .map(|directory| directory.join("setpriv"))
        .find(|file| file.exists())
        .expect("setpriv");
    std::os::unix::fs::symlink(setpriv, place.path().join("setpriv")).expect("a link");
    let output = Spec::new(env!("CARGO_BIN_EXE_load"))
        .args(["--quick", "--only", "stunnel", "--work", "bulk"])
        .env("PATH", place.path())
        .output(Duration::from_secs(60));
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("\n* stunnel: no `"), "{report}");
    assert!(output.status.success(), "{report}");
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let output = Spec::new(env!("CARGO_BIN_EXE_load"))
        .args(["--quick", "--ockam", "/nowhere/ockam-node"])
        .output(Duration::from_secs(60));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{errors}");
    assert!(
        errors.contains("/nowhere/ockam-node: no such program"),
        "{errors}"
    );
}
