//! Measures what secure channel handshakes cost the side that answers: a Culvert relay, and beside it a
//! real Ockam node if its program is given, in interleaved rounds over loopback.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints a report"
)]

use std::any::Any;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use culvert_benches::report::Report;
use culvert_crypto::channel::{Endpoint, Initiator, OVERHEAD};
use culvert_crypto::identity::Identity;
use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::purpose_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault, SoftwareVault};
use culvert_proto::credential::PurposePublicKey;
use culvert_proto::message::Message;
use culvert_proto::route::Route;
use culvert_proto::secure_channel::inner;
use culvert_tests::chain::Relay;
use culvert_tests::proc;
use culvert_tests::process::Spec;
use culvert_tests::wire::{Wire, framed};

/// Measure what handshakes cost who answers them.
#[derive(Parser)]
struct Arguments {
    /// Rounds; each measures every contender once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Handshakes of each contender in each round.
    #[arg(long, default_value_t = 500)]
    handshakes: usize,
    /// The program `ockam-node` of tests/interop, to measure beside Culvert.
    #[arg(long)]
    ockam: Option<PathBuf>,
}

/// Somebody who answers handshakes.
struct Contender {
    name: &'static str,
    process: u32,
    address: SocketAddr,
    _running: Box<dyn Any>,
}

fn culvert() -> Contender {
    let relay = Relay::start(&["--shards", "1"]);
    Contender {
        name: "Culvert",
        process: relay.process.id(),
        address: relay.address,
        _running: Box::new(relay),
    }
}

fn ockam(program: PathBuf) -> Contender {
    let home = tempfile::tempdir().expect("a directory");
    let process = Spec::new(program)
        .arg("--home")
        .arg(home.path())
        .args(["relay", "--listen", "127.0.0.1:0"])
        .start("ockam");
    let address = process.event("listening").text("address").parse();
    Contender {
        name: "Ockam 0.150",
        process: process.id(),
        address: address.expect("an address"),
        _running: Box::new((process, home)),
    }
}

fn main() {
    let arguments = Arguments::parse();
    let me = endpoint();
    let mut contenders = vec![culvert()];
    contenders.extend(arguments.ockam.map(ockam));
    let mut report = Report::default();
    for round in 0..=arguments.rounds {
        for contender in &contenders {
            let mut wire = Wire::open(contender.address);
            let (began, used) = (Instant::now(), proc::cpu_time(contender.process));
            for number in 0..arguments.handshakes {
                shake_hands(&mut wire, &me, number);
            }
            let took = began.elapsed().as_secs_f64();
            let used = (proc::cpu_time(contender.process) - used).as_secs_f64();
            // The first round is for warming up.
            if round > 0 {
                let count = arguments.handshakes as f64;
                report.add(
                    "answers a second, one after the other",
                    contender.name,
                    count / took,
                );
                report.add("CPU us of one answer", contender.name, used * 1e6 / count);
                report.add("answers a second and core", contender.name, count / used);
            }
        }
    }
    println!("{}", report.markdown());
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn endpoint() -> Endpoint {
    let mut vault = SoftwareVault::new();
    let now = now_s();
    let key = vault
        .generate(KeyType::Ed25519, &Secret::new([7; 32]))
        .expect("a key");
    let identity = Identity::create(&vault, &key, now, now + 100_000).expect("an identity");
    let secret = Secret::new([9; 32]);
    let public = PurposePublicKey::SecureChannel(x25519_public_key(&secret));
    let attestation = purpose_key::attest(&vault, &identity, &public, now).expect("attested");
    Endpoint::new(&identity, secret, attestation, Vec::new()).expect("an endpoint")
}

/// A whole handshake, and the end of the channel.
fn shake_hands(wire: &mut Wire, me: &Endpoint, number: usize) {
    let own = format!("client{number}");
    // Not secret here, but another one each time.
    let mut ephemeral = [1; 32];
    ephemeral[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let (machine, first) = Initiator::start(me, Trust::Anyone, ephemeral);
    wire.send_message(&["api"], &[&own], &first);
    let second = wire.message();
    let mut known = std::collections::HashMap::new();
    let (established, third) = machine
        .handle_message2(&second.payload, &mut known, now_s())
        .expect("message 2");
    let way = second.return_route;
    send(wire, &way, &own, &third);
    let mut seal = established.seal;
    let mut close = vec![0; inner::CLOSE.len() + OVERHEAD];
    close[8..8 + inner::CLOSE.len()].copy_from_slice(&inner::CLOSE);
    seal.seal(&mut close).expect("sealed");
    send(wire, &way, &own, &close);
}

fn send(wire: &mut Wire, way: &Route, own: &str, payload: &[u8]) {
    let back = culvert_tests::wire::route(&[own]);
    let message = Message::new(way.clone(), back, payload.to_vec());
    wire.send(&framed(&message.encode()));
}
