//! `secure_channel_probes.json`: experiments made with a real responder or initiator, repeated
//! with ours in its place. The other side is the second implementation of the handshake.
//!
//! The outcome is the recorded one, except where [`IMPROVED`] says otherwise. Experiments about
//! addresses and routes are not the business of this crate: [`ELSEWHERE`].

use culvert_crypto::channel::{Established, HandshakeError, Opener, Responder, Sealer};
use culvert_crypto::secret::Secret;
use culvert_crypto::trust::Trust;
use culvert_crypto::vault::{KeyType, SigningVault};
use serde_json::Value;

use crate::common::noise::Side;
use crate::common::{Known, NOW, Party, UNTIL, counting, list, text, unsealed, vectors};

mod credentials;
mod handshake;
mod transport;

/// Better than a real node, for a reason:
const IMPROVED: [&str; 6] = [
    // An all-zero DH result is refused: nobody on the path may read the responder's payload.
    "message_1_all_zero_ephemeral",
    // Injected garbage does not end a handshake.
    "message_2_corrupted_then_good",
    "message_2_79_bytes_then_good",
    // Many lost messages do not end a channel.
    "first_nonce_is_33",
    "gap_of_33_from_last_kills",
    // A peer that is not trusted is not remembered.
    "responder_trust_policy_denies",
];

/// Routes and local addresses; `key_exchange_only/api` is about a local interface.
const ELSEWHERE: [&str; 2] = [
    "responder_route_follows_sender",
    "own_address_in_outer_return_route",
];

fn observed(name: &str) -> Value {
    let vectors = vectors("secure_channel_probes");
    let probe = list(&vectors["probes"])
        .iter()
        .find(|probe| probe["name"] == name);
    probe.unwrap_or_else(|| panic!("{name}"))["observed"].clone()
}

fn responder() -> Party {
    Party::new(KeyType::Ed25519, 0x21)
}

fn initiator() -> Party {
    Party::new(KeyType::Ed25519, 1)
}

fn side(party: &Party) -> Side {
    Side::new(party.static_secret.clone(), Secret::new(counting(0x32)))
}

/// A handshake up to the point where message 3 is due.
struct Talk {
    machine: Responder,
    side: Side,
    known: Known,
}

impl Talk {
    fn new(me: &Party, peer: &Party) -> Self {
        Self::with(me, peer, Trust::Anyone, &[])
    }

    fn with(me: &Party, peer: &Party, trust: Trust, payload_1: &[u8]) -> Self {
        let mut side = side(peer);
        let message_1 = side.write_1(payload_1);
        let accepted = Responder::accept(&me.endpoint(), trust, counting(0x92), &message_1);
        let (machine, message_2) = accepted.unwrap();
        assert_eq!(side.read_2(&message_2), Some(me.payload(&[])));
        assert_eq!(side.remote_s, me.static_public);
        Self {
            machine,
            side,
            known: Known::new(),
        }
    }

    fn finish(&mut self, message_3: &[u8]) -> Result<Established, HandshakeError> {
        self.machine.read_message3(message_3, &mut self.known, NOW)
    }

    /// The initiator's directions.
    fn ends(&self) -> (Sealer, Opener) {
        let (k1, k2) = self.side.symmetric.split();
        (Sealer::new(&k2).unwrap(), Opener::new(&k1).unwrap())
    }

    /// Whether messages pass in both directions.
    fn usable(&self, established: &mut Established) -> bool {
        let (mut seal, mut open) = self.ends();
        let mut there = unsealed(b"there");
        seal.seal(&mut there).unwrap();
        let mut back = unsealed(b"back");
        established.seal.seal(&mut back).unwrap();
        established.open.open(&mut there).is_ok() && open.open(&mut back).is_ok()
    }
}

/// A complete channel with the second implementation as initiator.
fn channel() -> (Sealer, Opener, Established) {
    let peer = initiator();
    let mut talk = Talk::new(&responder(), &peer);
    let message_3 = talk.side.write_3(&peer.payload(&[]));
    let established = talk.finish(&message_3).unwrap();
    let (seal, open) = talk.ends();
    (seal, open, established)
}

#[test]
fn every_probe_is_covered() {
    let here = concat!(
        include_str!("credentials.rs"),
        include_str!("handshake.rs"),
        include_str!("transport.rs"),
    );
    let vectors = vectors("secure_channel_probes");
    for probe in list(&vectors["probes"]) {
        let name = text(&probe["name"]);
        // The experiments of this group are all lists of nonces, which one test walks through.
        let covered = probe["group"] == "replay_window"
            || ELSEWHERE.contains(&name)
            || here.contains(&format!("\"{name}\""));
        assert!(covered, "{name}");
    }
    for name in IMPROVED.iter().chain(&ELSEWHERE) {
        observed(name);
    }
}

/// The initiator's identity before and after a rotation.
fn rotated() -> (Party, Party) {
    let (old, mut again) = (initiator(), initiator());
    let key = again
        .vault
        .generate(KeyType::P256, &Secret::new([0x77; 32]))
        .unwrap();
    let identity = again
        .identity
        .rotate(&again.vault, &key, NOW - 10, UNTIL)
        .unwrap();
    (old, Party::of(again.vault, identity, 1))
}
