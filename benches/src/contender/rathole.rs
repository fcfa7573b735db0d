//! rathole with its Noise transport: a server that clients connect to, and a client beside the service. Two
//! processes, and the only leg between them is encrypted.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use culvert_tests::net::free_address;
use culvert_tests::process::{Process, Spec};

use super::{Reach, Started, until_listening};
use crate::settings::Settings;

pub(super) const MISSING: &str = "no `rathole` here (cargo install rathole --version 0.5.0 --no-default-features \
     --features server,client,noise; --rathole PATH)";

pub(super) fn start(settings: &Settings, target: SocketAddr, reach: Reach<'_>) -> Started {
    let program = settings.rathole.as_deref().expect("checked before");
    let directory = tempfile::tempdir().expect("directory");
    let keys = Spec::new(program).arg("--genkey").run();
    // A title above each key.
    let keys: Vec<&str> = keys.lines().filter(|line| !line.is_empty()).collect();
    let [_, private, _, public] = keys[..] else {
        panic!("other keys of rathole than expected: {keys:?}")
    };
    let (server, address) = (free_address(), free_address());
    let noise = "type = \"noise\"";
    let config = format!(
        "[server]\nbind_addr = \"{server}\"\ndefault_token = \"bench\"\n\
         [server.transport]\n{noise}\n[server.transport.noise]\nlocal_private_key = \"{private}\"\n\
         [server.services.bench]\nbind_addr = \"{address}\"\nnodelay = true\n"
    );
    let middle = run(program, directory.path(), "server", &config);
    until_listening("rathole listens", server);
    let config = format!(
        "[client]\nremote_addr = \"{}\"\ndefault_token = \"bench\"\n\
         [client.transport]\n{noise}\n[client.transport.noise]\nremote_public_key = \"{public}\"\n\
         [client.services.bench]\nlocal_addr = \"{target}\"\nnodelay = true\n",
        reach(server)
    );
    let outlet = run(program, directory.path(), "client", &config);
    // It listens there once the client has called.
    until_listening("rathole carries", address);
    let processes = vec![
        ("rathole server", middle.id()),
        ("rathole client", outlet.id()),
    ];
    (address, processes, Box::new((middle, outlet, directory)))
}

fn run(program: &Path, directory: &Path, side: &str, config: &str) -> Process {
    let path = directory.join(format!("{side}.toml"));
    fs::write(&path, config).expect("write a configuration");
    Spec::new(program)
        .arg(format!("--{side}"))
        .arg(&path)
        .env("RUST_LOG", "warn")
        .start("rathole")
}
