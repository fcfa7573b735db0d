//! The nodes of a machine.

use std::fs;

use culvert_tests::PATIENCE;
use culvert_tests::net::eventually;
use culvert_tests::transcript::Machine;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Ends the process of a node without warning, and waits until it is gone.
fn kill(node: &Value) {
    let pid = node["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, Signal::KILL).expect("kill");
    let path = format!("/proc/{}", pid.as_raw_nonzero());
    eventually(
        "the process is gone",
        PATIENCE,
        || match std::path::Path::new(&path).exists() {
            true => Err("there"),
            false => Ok(()),
        },
    );
}

#[test]
fn a_node_from_its_beginning_to_its_end() {
    let mut machine = Machine::new();
    machine.run("node create");
    machine.both("node create");
    machine.both("node list");
    machine.both("node show");
    machine.both("node default");
    machine.run("node create second --shards 1");
    machine.fails(5, "node create second --shards 2");
    machine.json("node default second");
    machine.json("node show");
    machine.both("status");
    machine.run("node stop");
    machine.json("node stop second");
    machine.both("node show second");
    machine.json("node list");
    machine.run("node create second --shards 1");
    machine.run("node start second");
    let running = machine.json("node start second");
    kill(&running);
    machine.both("node list");
    machine.json("start");
    machine.run("stop --force");
    let path = machine.run("node logs second");
    assert!(fs::metadata(path).is_ok(), "it has a log");
    machine.run("node delete second -y");
    machine.fails(4, "node show second");
    machine.json("node delete --all -y");
    machine.both("node list");
    machine.check("node");
}

#[test]
fn a_node_that_cannot_start_is_not_left_behind() {
    let mut machine = Machine::new();
    let taken = culvert_tests::service::Service::echo();
    let at = taken.address().to_string();
    machine.hide(&at, "<taken>");
    machine.exits(4, "node create --identity nobody");
    machine.exits(5, &format!("node create --http {at}"));
    machine.fails(2, "node create 'a b'");
    machine.both("node list");
    machine.check("node-that-cannot-start");
}
