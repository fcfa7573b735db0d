//! The command line: what it prints, its exit codes, the files it leaves.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use culvert_tests::chain::{Edge, Relay};
use culvert_tests::net::{self, connect, free_address};
use culvert_tests::process::Spec;
use culvert_tests::service::Service;
use culvert_tests::{PATIENCE, alone, bins, metrics, proc};
use serde_json::Value;
use tempfile::TempDir;

fn home() -> TempDir {
    tempfile::tempdir().expect("directory")
}

fn edge(home: &Path, arguments: &[&str]) -> Output {
    Edge::command(home).args(arguments).output(PATIENCE)
}

fn relay(home: &Path, arguments: &[&str]) -> Output {
    Spec::new(bins::relay())
        .env("CULVERT_HOME", home)
        .args(arguments)
        .output(PATIENCE)
}

/// Checks the exit code; gives what was printed and the errors.
fn exited(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}{errors}");
    (said, errors)
}

/// What a command that succeeds prints as JSON.
fn json(home: &Path, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    let (said, errors) = exited(&edge(home, &arguments), 0);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in: {said}{errors}"))
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
    let made = json(home.path(), &["identity", "create"]);
    let identifier = made["identifier"].as_str().expect("identifier");
    assert!(is_identifier(identifier), "{made}");
    assert_eq!(made["name"], "default");
    hex::decode(made["change_history"].as_str().expect("history")).expect("hexadecimal");

    assert_eq!(json(home.path(), &["identity", "show"]), made);
    let (plain, _) = exited(&edge(home.path(), &["identity", "show"]), 0);
    assert!(plain.contains(identifier), "{plain}");

    // The name is taken; another is not.
    exited(&edge(home.path(), &["identity", "create"]), 5);
    let named = json(home.path(), &["identity", "create", "--name", "two"]);
    assert_eq!(named["name"], "two");
    assert_ne!(named["identifier"], made["identifier"]);
    assert_eq!(json(home.path(), &["identity", "show"]), made);
}

#[test]
fn home_is_an_option_or_a_variable() {
    let (variable, option) = (home(), home());
    let path = option.path().to_str().expect("UTF-8");
    let made = json(variable.path(), &["identity", "create", "--home", path]);
    assert_eq!(json(option.path(), &["identity", "show"]), made);
    exited(&edge(variable.path(), &["identity", "show"]), 4);
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
    exited(&edge(&state, &["identity", "create"]), 0);
    let relay = Relay::start(&[]);
    let files = [modes(top.path()), modes(relay.home())].concat();
    assert!(files.iter().any(|(_, _, directory)| !directory));
    for (path, mode, directory) in files {
        let expected = if directory { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{path} has mode {mode:o}");
    }
}

/// Makes an identity, spoils each file it is in, and shows it: the errors.
fn errors_of_spoilt_files(spoil: impl Fn(&str)) -> String {
    let home = home();
    exited(&edge(home.path(), &["identity", "create"]), 0);
    for (path, _, directory) in modes(home.path()) {
        if !directory {
            spoil(&path);
        }
    }
    exited(&edge(home.path(), &["identity", "show"]), 1).1
}

#[test]
fn a_key_others_can_read_is_refused() {
    let errors = errors_of_spoilt_files(|path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("chmod");
    });
    assert!(errors.contains("0600"), "{errors}");
}

#[test]
fn a_damaged_state_file_is_an_error_not_a_panic() {
    let errors = errors_of_spoilt_files(|path| {
        let mut bytes = fs::read(path).expect("read");
        bytes.truncate(bytes.len() / 2);
        fs::write(path, bytes).expect("write");
    });
    assert!(errors.contains("is damaged"), "{errors}");
}

#[test]
fn mistakes_in_usage_exit_with_2() {
    let home = home();
    let inlet = "inlet --relay 127.0.0.1:1 --via x --from 0";
    let outlet = format!("outlet --name x --allow I{}", "ab".repeat(32));
    for (arguments, expected) in [
        ("no-such-command", "no-such-command"),
        ("identity", "Usage: culvert-edge identity"),
        ("outlet --name x", "--relay"),
        ("inlet --no-such-option", "--no-such-option"),
        (&format!("{inlet} --allow x"), "64 hexadecimal digits"),
        (
            &format!("{outlet} --relay 127.0.0.1:1 --to nowhere"),
            "expected HOST:PORT",
        ),
        (
            &format!("{outlet} --relay 127.0.0.1:99999 --to 127.0.0.1:1"),
            "'99999' is not a port",
        ),
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let (said, errors) = exited(&edge(home.path(), &arguments), 2);
        assert!(said.is_empty(), "{arguments:?}: {said}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
    for address in ["localhost:4000", "4000", "127.0.0.1", "::1:4000", ""] {
        let (_, errors) = exited(&relay(home.path(), &["--listen", address]), 2);
        let expected = format!("invalid value '{address}' for '--listen <LISTEN>'");
        assert!(errors.contains(&expected), "{errors}");
        let hint = "expected an IP address and a port, for example 127.0.0.1:4000";
        assert!(errors.contains(hint), "{errors}");
    }
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
        let (said, errors) = exited(&edge(home.path(), arguments), 0);
        assert!(!said.is_empty() && errors.is_empty(), "{arguments:?}");
    }
    let (help, _) = exited(&edge(home.path(), &["--help"]), 0);
    for command in ["identity", "outlet", "inlet", "demo"] {
        assert!(help.contains(command), "{help}");
    }
    let (help, _) = exited(&relay(home.path(), &["--help"]), 0);
    assert!(help.contains("--allow-plain-registration"), "{help}");
}

/// Checks the exit code; gives the message of the error that was printed as JSON, on the last line
/// of standard error.
fn error_message(output: &Output, code: i32) -> String {
    let (_, errors) = exited(output, code);
    let last = errors.lines().last().unwrap_or_default();
    let error: Value =
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {errors}"));
    error["error"]["message"]
        .as_str()
        .expect("a message")
        .to_owned()
}

#[test]
fn mistakes_in_usage_are_json_when_asked() {
    let home = home();
    let arguments = ["--no-such-option", "--output", "json"];
    for output in [
        relay(home.path(), &arguments),
        edge(home.path(), &arguments),
    ] {
        let message = error_message(&output, 2);
        assert!(message.contains("--no-such-option"), "{message}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_wrong_choice_of_logs_is_a_mistake_in_usage() {
    let home = home();
    let not_utf8 = OsStr::from_bytes(b"a=\xff");
    for (log, named) in [
        (OsStr::new("debg"), "'debg'"),
        (OsStr::new("info,culvert_node=loud"), "'culvert_node=loud'"),
        (OsStr::new("info,[x"), "'[x'"),
        (not_utf8, "'a=\u{fffd}'"),
    ] {
        let programs: [(_, &[&str]); 2] = [
            (bins::relay(), &["--listen", "127.0.0.1:0"]),
            (bins::edge(), &["identity", "create"]),
        ];
        for (program, arguments) in programs {
            let run = |more: &[&str]| {
                Spec::new(&program)
                    .env("CULVERT_HOME", home.path())
                    .env("CULVERT_LOG", log)
                    .args([arguments, more].concat())
                    .output(PATIENCE)
            };
            let (said, errors) = exited(&run(&[]), 2);
            assert!(
                said.is_empty() && errors.starts_with(&format!("error: {named} in CULVERT_LOG ")),
                "{errors}"
            );
            assert!(
                errors.contains("hint: use off, error, warn, info, debug or trace"),
                "{errors}"
            );
            let message = error_message(&run(&["--output", "json"]), 2);
            assert!(message.starts_with(named), "{message}");
        }
    }
    // Nothing was made on the way.
    assert_eq!(home.path().read_dir().expect("list").count(), 0);
}

#[test]
fn logs_are_those_that_were_asked_for() {
    for (log, wanted) in [
        ("", true),
        ("INFO", true),
        ("warn, culvert_edge=info", true),
        ("off", false),
        ("culvert_node=trace", false),
        ("info,culvert_edge::identity=warn", false),
    ] {
        let home = home();
        let made = Edge::command(home.path())
            .env("CULVERT_LOG", log)
            .args(["identity", "create"])
            .output(PATIENCE);
        let (_, logs) = exited(&made, 0);
        assert_eq!(logs.contains("made an identity"), wanted, "{log}: {logs}");
    }
}

#[test]
fn failures_say_whose_turn_it_is_and_why_as_json_when_asked() {
    let home = home();
    let missing = edge(home.path(), &["identity", "show", "--output", "json"]);
    let message = error_message(&missing, 4);
    assert!(message.contains("default"), "{message}");
    let (said, errors) = exited(&edge(home.path(), &["identity", "show"]), 4);
    assert!(said.is_empty() && errors.starts_with("error: "), "{errors}");

    // A port that is taken.
    let service = Service::echo();
    let taken = service.address().to_string();
    let at_taken = ["--listen", &taken, "--output", "json"];
    let message = error_message(&relay(home.path(), &at_taken), 5);
    assert!(message.contains(&taken), "{message}");
    let owner = Edge::new();
    let at_relay = ["inlet", "--relay", "127.0.0.1:1", "--via", "x"];
    let from = ["--from", &taken, "--allow", &owner.identifier];
    let arguments = [&at_relay[..], &from, &["--output", "json"]].concat();
    let message = error_message(&owner.output(&arguments), 5);
    assert!(message.contains(&taken), "{message}");
}

#[test]
fn two_relays_do_not_share_a_port_unnoticed() {
    let first = Relay::start(&[]);
    let home = home();
    let at = first.address.to_string();
    let (_, errors) = exited(&relay(home.path(), &["--listen", &at]), 5);
    assert!(errors.contains("cannot listen on"), "{errors}");
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
    let outlet = [
        "outlet",
        "--relay",
        &relay,
        "--name",
        "x",
        "--to",
        "127.0.0.1:1",
    ];
    let who = ["--allow", &identity, "--identity", "no-such-name"];
    let arguments = [&outlet[..], &who, &["--output", "json"]].concat();
    let message = error_message(&edge(home.path(), &arguments), 4);
    assert!(message.contains("no-such-name"), "{message}");
}

#[test]
fn the_demo_shows_the_whole_way() {
    let _turn = alone();
    let home = home();
    let demo = Edge::command(home.path())
        .args(["demo", "--once"])
        .output(2 * PATIENCE);
    let (said, _) = exited(&demo, 0);
    for part in ["relay", "inlet", "outlet"] {
        assert!(said.contains(part), "{said}");
    }

    let service = Service::echo();
    let demo = Edge::command(home.path())
        .args(["demo", "--output", "json", "--to"])
        .arg(service.address().to_string())
        .start("demo");
    let event = demo.expect("address of the inlet", PATIENCE, |event| {
        event.json["inlet"].is_string()
    });
    let mut client = connect(event.text("inlet").parse().expect("an address"));
    net::echo(&mut client, b"hello").expect("echo");
    let children = proc::descendants(demo.id());
    assert!(
        children.len() >= 3,
        "relay and two edges are processes of their own: {children:?}"
    );
    assert_eq!(demo.terminate().code(), Some(0));
    net::eventually("the demo's processes end", Duration::from_secs(10), || {
        let alive = |id: &&u32| Path::new(&format!("/proc/{id}/stat")).exists();
        match children.iter().find(alive) {
            None => Ok(()),
            Some(id) => Err(*id),
        }
    });
}
