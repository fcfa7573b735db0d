//! The machine: its clock, its kernel, its limits.

use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use rustix::process::{Resource, getrlimit};

use super::Findings;
use crate::commands::now_s;

/// This program is younger: 2026-01-01.
const MADE_AFTER: u64 = 1_767_225_600;
/// And will not be used for longer than this: 30 years.
const USED_FOR: u64 = 30 * 365 * 86_400;
/// Fewer open files than this are used up by some hundred streams.
const FILES: u64 = 4096;
/// Where the kernel says whether programs may use io_uring.
const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";

pub(super) fn clock(found: &mut Findings) {
    let now = now_s();
    let hint = "set the clock of this machine: credentials and handshakes depend on it";
    match now {
        0..MADE_AFTER => found.wrong("clock", "it is behind: this program is younger", hint),
        _ if now > MADE_AFTER + USED_FOR => found.wrong("clock", "it is decades ahead", hint),
        _ => found.fine("clock", "plausible"),
    }
}

pub(super) fn driver(found: &mut Findings) {
    let config = NodeConfig {
        shards: 1,
        listen: None,
        limits: Limits::default(),
    };
    let node = match Node::start(&config, |_| ()) {
        Ok(node) => node,
        Err(error) => {
            let hint = "raise the limit of locked memory (`ulimit -l`)";
            return found.wrong("kernel", format!("a node cannot start: {error}"), hint);
        }
    };
    let driver = node.driver();
    node.shutdown();
    if driver == "io_uring" {
        return found.fine("kernel", "io_uring is used");
    }
    let disabled = std::fs::read_to_string(DISABLED);
    let (why, hint) = match disabled.as_deref().map(str::trim) {
        Ok("1" | "2") => (
            "the kernel forbids it (kernel.io_uring_disabled)",
            "set kernel.io_uring_disabled to 0 if that is acceptable on this machine",
        ),
        _ => (
            "the kernel has none, or a container forbids it",
            "use Linux 5.11 or newer, and a seccomp profile that allows io_uring",
        ),
    };
    found.notice(
        "kernel",
        format!("epoll is used, which is slower: {why}"),
        hint,
    );
}

pub(super) fn limits(found: &mut Findings) {
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < FILES => found.wrong(
            "open files",
            format!("at most {most}: each stream takes two"),
            format!(
                "raise the hard limit to {FILES} or more (`ulimit -Hn`, LimitNOFILE= of systemd)"
            ),
        ),
        Some(most) => found.fine("open files", format!("up to {most}")),
        None => found.fine("open files", "no limit"),
    }
    let memory = getrlimit(Resource::Memlock).current;
    match memory {
        Some(bytes) => found.fine("locked memory", format!("up to {} KiB", bytes / 1024)),
        None => found.fine("locked memory", "no limit"),
    }
}
