//! HAProxy in TCP mode with Debian's defaults.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use culvert_tests::net::free_address;
use culvert_tests::process::{Process, Spec};

use super::{Reach, Role, Started, until_listening};

/// Three, each passing TCP on to the next; plain text.
pub(super) fn chain(target: SocketAddr, splice: bool, reach: Reach<'_>) -> Started {
    let directory = tempfile::tempdir().expect("directory");
    let last = hop(directory.path(), "3", target, splice);
    let middle = hop(directory.path(), "2", reach(last.1), splice);
    let first = hop(directory.path(), "1", middle.1, splice);
    let hops = [first, middle, last];
    let roles = ["HAProxy 1", "HAProxy 2", "HAProxy 3"];
    let ids = hops.iter().map(|(process, _)| process.id());
    let processes = roles.into_iter().zip(ids).collect();
    (hops[0].1, processes, Box::new((hops, directory)))
}

/// One that listens and passes on to `next`.
pub(super) fn hop(
    directory: &Path,
    name: &str,
    next: SocketAddr,
    splice: bool,
) -> (Process, SocketAddr) {
    let listen = free_address();
    let path = directory.join(format!("haproxy-{name}.cfg"));
    // Not `splice-auto`, which finds no reason to splice here.
    let option = if splice {
        "    option splice-request\n    option splice-response\n"
    } else {
        ""
    };
    // It refuses to start when this needs more files than it may open: two sockets a connection, and
    // with splicing half a pipe.
    let most = (open_files() - 100) * 2 / if splice { 6 } else { 4 };
    let text = format!(
        "global\n    maxconn {most}\n\
         defaults\n    mode tcp\n{option}    timeout connect 5s\n    timeout client 1h\n    \
         timeout server 1h\n    backlog 4096\n\
         listen hop\n    bind {listen}\n    server next {next}\n"
    );
    fs::write(&path, text).expect("write a configuration");
    let process = Spec::new("haproxy")
        .args(["-db", "-f"])
        .arg(&path)
        .start("haproxy");
    until_listening("HAProxy listens", listen);
    (process, listen)
}

/// Whether each of its processes has had a stream whose bytes the kernel moved: pipes for that are kept.
pub(super) fn has_spliced(processes: &[Role]) -> bool {
    let entries = |id: u32, of: &str| {
        fs::read_dir(format!("/proc/{id}/{of}"))
            .expect("what the system says of a process")
            .flatten()
    };
    processes.iter().all(|&(_, id)| {
        let files = entries(id, "fd").filter_map(|file| fs::read_link(file.path()).ok());
        let mut pipes: Vec<_> = files
            .filter(|file| file.to_string_lossy().starts_with("pipe:"))
            .collect();
        pipes.sort_unstable();
        // Of its own are those that it has both ends of; each thread has one to be woken by.
        let own = pipes.windows(2).filter(|ends| ends[0] == ends[1]);
        own.count() > entries(id, "task").count()
    })
}

/// Files that a process may have open here.
fn open_files() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(1 << 16).min(1 << 16)
}
