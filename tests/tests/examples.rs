//! The examples of the library are whole programs: they are built and run, and do what they say.

use culvert_tests::bins;
use culvert_tests::chain::Relay;
use culvert_tests::process::Spec;

/// What an example prints, line by line.
fn lines(name: &str, arguments: &[String]) -> Vec<String> {
    let output = Spec::new(bins::example(name)).args(arguments).run();
    output.lines().map(str::to_owned).collect()
}

#[test]
fn echo_over_secure_channel() {
    let lines = lines("echo_over_secure_channel", &[]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "bob answers alice: hello");
    assert!(
        lines[1].starts_with("bob does not answer mallory: "),
        "{lines:?}"
    );
}

#[test]
fn custom_worker_behind_relay() {
    let relay = Relay::start(&[]);
    let lines = lines("custom_worker_behind_relay", &[relay.address.to_string()]);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[0], "registered as forward_to_counter");
    let asker = lines[1].strip_prefix("asking as ").expect("who asks");
    assert_eq!(
        lines[2..],
        [
            format!("answer: question 1 is 'how many?', of {asker}"),
            format!("answer: question 2 is 'and now?', of {asker}"),
        ]
    );
}

#[test]
fn embed_inlet() {
    let expected = [
        "the inlet is up",
        "the service answers: HELLO THROUGH THE PORTAL",
        "secure channels in use: true",
    ];
    assert_eq!(lines("embed_inlet", &[]), expected);
}

#[test]
fn what_cannot_work_is_said() {
    let program = bins::example("custom_worker_behind_relay");
    let output = Spec::new(program).output(culvert_tests::PATIENCE);
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && says.contains("pass the address of a relay"));
}
