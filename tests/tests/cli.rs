//! The command line: what it prints, its exit codes, the files it leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use culvert_tests::chain::{Edge, Relay};
use culvert_tests::net::{connect, free_address};
use culvert_tests::process::Spec;
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, alone, bins, metrics};
use serde_json::Value;
use tempfile::TempDir;

fn home() -> TempDir {
    tempfile::tempdir().expect("directory")
}

fn edge(home: &Path, arguments: &[&str]) -> Output {
    Edge::command(home).args(arguments).output(PATIENCE)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error} in: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        )
    })
}

fn is_identifier(text: &str) -> bool {
    text.len() == 65
        && text.starts_with('I')
        && text[1..]
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[test]
fn an_identity_is_made_once_and_shown() {
    let home = home();
    let made = edge(home.path(), &["identity", "create", "--output", "json"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let made = json(&made);
    assert!(
        is_identifier(made["identifier"].as_str().expect("identifier")),
        "{made}"
    );
    assert_eq!(made["name"], "default");
    hex::decode(made["change_history"].as_str().expect("history")).expect("hexadecimal");

    let shown = edge(home.path(), &["identity", "show", "--output", "json"]);
    assert_eq!(json(&shown), made);
    let plain = edge(home.path(), &["identity", "show"]);
    assert!(text(&plain.stdout).contains(made["identifier"].as_str().expect("identifier")));

    // The name is taken; another is not.
    let again = edge(home.path(), &["identity", "create"]);
    assert_eq!(again.status.code(), Some(1));
    let named = edge(
        home.path(),
        &["identity", "create", "--name", "two", "--output", "json"],
    );
    assert_eq!(json(&named)["name"], "two");
    assert_ne!(json(&named)["identifier"], made["identifier"]);
    assert_eq!(
        json(&edge(
            home.path(),
            &["identity", "show", "--output", "json"]
        )),
        made
    );
}

#[test]
fn home_is_an_option_or_a_variable() {
    let (variable, option) = (home(), home());
    let path = option.path().to_str().expect("UTF-8");
    let made = edge(
        variable.path(),
        &["identity", "create", "--home", path, "--output", "json"],
    );
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert_eq!(
        json(&edge(
            option.path(),
            &["identity", "show", "--output", "json"]
        )),
        json(&made)
    );
    assert_eq!(
        edge(variable.path(), &["identity", "show"]).status.code(),
        Some(1)
    );
}

/// Every file below a directory, with its mode.
fn modes(directory: &Path) -> Vec<(String, u32, bool)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).expect("read a directory") {
        let path = entry.expect("entry").path();
        let data = path.symlink_metadata().expect("metadata");
        all.push((
            path.display().to_string(),
            data.permissions().mode() & 0o777,
            data.is_dir(),
        ));
        if data.is_dir() {
            all.extend(modes(&path));
        }
    }
    all
}

#[test]
fn secrets_are_for_their_owner_only() {
    let top = home();
    let state = top.path().join("state");
    let made = edge(&state, &["identity", "create"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let relay = Relay::start(&[]);
    let files = [modes(top.path()), modes(relay.home())].concat();
    assert!(files.iter().any(|(_, _, directory)| !directory));
    for (path, mode, directory) in files {
        assert_eq!(
            mode,
            if directory { 0o700 } else { 0o600 },
            "{path} has mode {mode:o}"
        );
    }
}

#[test]
fn a_key_others_can_read_is_refused() {
    let home = home();
    assert_eq!(
        edge(home.path(), &["identity", "create"]).status.code(),
        Some(0)
    );
    for (path, _, directory) in modes(home.path()) {
        if !directory {
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("chmod");
        }
    }
    let shown = edge(home.path(), &["identity", "show"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(
        text(&shown.stderr).contains("0600"),
        "{}",
        text(&shown.stderr)
    );
}

#[test]
fn a_damaged_state_file_is_an_error_not_a_panic() {
    let home = home();
    assert_eq!(
        edge(home.path(), &["identity", "create"]).status.code(),
        Some(0)
    );
    for (path, _, directory) in modes(home.path()) {
        if !directory {
            let mut bytes = fs::read(&path).expect("read");
            bytes.truncate(bytes.len() / 2);
            fs::write(&path, bytes).expect("write");
        }
    }
    let shown = edge(home.path(), &["identity", "show", "--output", "json"]);
    assert_eq!(shown.status.code(), Some(1), "{}", text(&shown.stderr));
    assert!(!text(&shown.stderr).contains("panicked"));
}

#[test]
fn mistakes_in_usage_exit_with_2() {
    let home = home();
    for arguments in [
        &["no-such-command"][..],
        &["identity"],
        &["outlet", "--name", "x"],
        &["inlet", "--no-such-option"],
        &[
            "outlet",
            "--relay",
            "127.0.0.1:1",
            "--name",
            "x",
            "--to",
            "nowhere",
            "--allow",
            "I00",
        ],
        &[
            "inlet",
            "--relay",
            "127.0.0.1:1",
            "--via",
            "x",
            "--from",
            "127.0.0.1:0",
            "--allow",
            "x",
        ],
        &[
            "outlet",
            "--relay",
            "127.0.0.1:99999",
            "--name",
            "x",
            "--to",
            "127.0.0.1:1",
        ],
    ] {
        let output = edge(home.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(
            text(&output.stderr).contains("error"),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    let relay = Spec::new(bins::relay())
        .args(["--listen", "not an address"])
        .output(PATIENCE);
    assert_eq!(relay.status.code(), Some(2), "{}", text(&relay.stderr));
}

#[test]
fn help_and_version_exit_with_0() {
    let home = home();
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["outlet", "--help"],
        &["inlet", "--help"],
    ] {
        let output = edge(home.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
    let help = text(&edge(home.path(), &["--help"]).stdout);
    for command in ["identity", "outlet", "inlet", "demo"] {
        assert!(help.contains(command), "{help}");
    }
    let relay = Spec::new(bins::relay()).arg("--help").output(PATIENCE);
    assert!(text(&relay.stdout).contains("--allow-plain-registration"));
}

/// The message of the error a command printed as JSON, on the last line of its standard error.
fn error_message(output: &Output) -> String {
    let errors = text(&output.stderr);
    let last = errors.lines().last().unwrap_or_default();
    let error: Value =
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {errors}"));
    error["error"]["message"]
        .as_str()
        .expect("a message")
        .to_owned()
}

#[test]
fn failures_exit_with_1_and_say_why_as_json_when_asked() {
    let home = home();
    let missing = edge(home.path(), &["identity", "show", "--output", "json"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        error_message(&missing).contains("default"),
        "{}",
        error_message(&missing)
    );
    let plain = edge(home.path(), &["identity", "show"]);
    assert_eq!(plain.status.code(), Some(1));
    assert!(plain.stdout.is_empty() && text(&plain.stderr).starts_with("error: "));

    // A port that is taken.
    let service = Service::echo();
    let taken = service.address().to_string();
    let relay = Spec::new(bins::relay())
        .args(["--listen", &taken, "--output", "json", "--home"])
        .arg(home.path())
        .output(PATIENCE);
    assert_eq!(relay.status.code(), Some(1), "{}", text(&relay.stderr));
    assert!(
        error_message(&relay).contains(&taken),
        "{}",
        error_message(&relay)
    );
    let owner = Edge::new();
    let inlet = owner.output(&[
        "inlet",
        "--relay",
        "127.0.0.1:1",
        "--via",
        "x",
        "--from",
        &taken,
        "--allow",
        &owner.identifier,
        "--output",
        "json",
    ]);
    assert_eq!(inlet.status.code(), Some(1), "{}", text(&inlet.stderr));
    assert!(
        error_message(&inlet).contains(&taken),
        "{}",
        error_message(&inlet)
    );
}

#[test]
fn two_relays_do_not_share_a_port_unnoticed() {
    let first = Relay::start(&[]);
    let home = home();
    let at = first.address.to_string();
    let second = Spec::new(bins::relay())
        .args(["--listen", &at, "--home"])
        .arg(home.path())
        .output(PATIENCE);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("cannot listen on"));
}

#[test]
fn the_relay_says_where_it_listens() {
    let _turn = alone();
    let relay = Relay::start(&["--shards", "2"]);
    let said = &relay.listening.json;
    assert!(is_identifier(&relay.identifier));
    assert!(
        ["io_uring", "epoll"].contains(&relay.listening.text("driver")),
        "{said}"
    );
    assert_eq!(said["shards"], 2);
    connect(relay.address);
    let identifier = relay.identifier.clone();
    // The identity stays over a restart.
    let relay = relay.kill_and_restart();
    assert_eq!(relay.identifier, identifier);
    assert_eq!(relay.process.terminate().code(), Some(0));

    let home = home();
    let plain = Spec::new(bins::relay())
        .args(["--listen", "127.0.0.1:0", "--home"])
        .arg(home.path())
        .start("relay");
    let line = plain.expect("a line", PATIENCE, |_| true);
    let line = line.text("line");
    assert!(
        line.starts_with("culvert-relay listening on 127.0.0.1:"),
        "{line}"
    );
    assert!(
        line.contains(" as I") && line.contains(" shards)"),
        "{line}"
    );
    assert_eq!(plain.terminate().code(), Some(0));
}

#[test]
fn edges_end_in_order_on_sigterm_and_sigint() {
    let _turn = alone();
    let service = Service::echo();
    let relay = Relay::start(&[]);
    let (owner, user) = (Edge::new(), Edge::new());
    let outlet = owner.outlet(relay.address, service.address(), &[&user.identifier]);
    let mut inlet = user.inlet(relay.address, &[&owner.identifier]);
    assert!(metrics::scrape(outlet.metrics).has("culvert_messages_total"));
    assert!(metrics::scrape(inlet.metrics).has("culvert_streams"));
    inlet.process.signal(rustix::process::Signal::INT);
    assert_eq!(inlet.process.exit_status().code(), Some(0));
    assert_eq!(outlet.process.terminate().code(), Some(0));
}

#[test]
fn edges_without_an_identity_make_or_name_one() {
    let home = home();
    let relay = free_address().to_string();
    let identity = format!("I{}", "ab".repeat(32));
    let output = Edge::command(home.path())
        .args([
            "outlet",
            "--relay",
            &relay,
            "--name",
            "x",
            "--to",
            "127.0.0.1:1",
        ])
        .args([
            "--allow",
            &identity,
            "--identity",
            "no-such-name",
            "--output",
            "json",
        ])
        .output(PATIENCE);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        error_message(&output).contains("no-such-name"),
        "{}",
        error_message(&output)
    );
}

#[test]
fn the_demo_shows_the_whole_way() {
    let _turn = alone();
    let home = home();
    let demo = Spec::new(bins::edge())
        .args(["demo", "--once"])
        .env("CULVERT_HOME", home.path())
        .output(2 * PATIENCE);
    let said = text(&demo.stdout);
    assert_eq!(demo.status.code(), Some(0), "{said}{}", text(&demo.stderr));
    assert!(
        said.contains("relay") && said.contains("inlet") && said.contains("outlet"),
        "{said}"
    );

    let service = Service::echo();
    let demo = Spec::new(bins::edge())
        .args([
            "demo",
            "--output",
            "json",
            "--to",
            &service.address().to_string(),
        ])
        .env("CULVERT_HOME", home.path())
        .start("demo");
    let event = demo.expect("address of the inlet", PATIENCE, |event| {
        event.json["inlet"].is_string()
    });
    let mut client = connect(event.text("inlet").parse().expect("an address"));
    culvert_tests::net::echo(&mut client, b"hello").expect("echo");
    let children = culvert_tests::proc::descendants(demo.id());
    assert!(
        children.len() >= 3,
        "relay and two edges are processes of their own: {children:?}"
    );
    assert_eq!(demo.terminate().code(), Some(0));
    culvert_tests::net::eventually("the demo's processes end", Duration::from_secs(10), || {
        let alive = |id: &&u32| Path::new(&format!("/proc/{id}/stat")).exists();
        match children.iter().find(alive) {
            None => Ok(()),
            Some(id) => Err(*id),
        }
    });
}
