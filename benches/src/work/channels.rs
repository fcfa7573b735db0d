//! New secure channels: what an answered handshake costs a relay. The initiator is the generator, the same for
//! all, and asks one at a time; both ends prove themselves with Ed25519 identities.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
use culvert_tests::wire::{Wire, framed};

use super::Run;
use crate::load::exchange::PER_SECOND;
use crate::load::messages::Ready;
use crate::load::{Figures, Meter, Outcome};
use crate::relays::Kind;

/// Name of this work.
pub const NAME: &str = "handshakes, one after the other";

pub(super) fn channels(run: &mut Run<'_>) {
    let me = endpoint();
    let mut relays = Vec::new();
    for kind in [Kind::Ockam, Kind::OneThread, Kind::Culvert] {
        if run.settings.wants(kind.name()) && kind.missing(run.settings).is_none() {
            relays.push(Ready::start(kind, run.settings));
        }
    }
    let time = run.settings.time();
    let mut number = 0;
    run.rounds("New secure channels", NAME, &relays, |ready| {
        let mut wire = Wire::open(ready.relay.address);
        let mut some = |end: Instant| -> Outcome<u32> {
            let mut count = 0;
            while Instant::now() < end {
                number += 1;
                shake_hands(&mut wire, &me, number)?;
                count += 1;
            }
            Ok(count)
        };
        some(Instant::now() + time / 6)?;
        let meter = Meter::of(&ready.relay.processes, None);
        let count = f64::from(some(Instant::now() + time)?);
        let (took, used) = meter.stop(count, "us each", 1e6);
        let mut figures: Figures = vec![(PER_SECOND.to_owned(), count / took)];
        figures.extend(used);
        Ok(figures)
    });
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

/// A whole handshake, and the end of the channel. The answer is authenticated, so an end that does not do its
/// part of the cryptography fails here.
fn shake_hands(wire: &mut Wire, me: &Endpoint, number: u64) -> Outcome<()> {
    let own = format!("client{number}");
    // Not secret here, but another one each time.
    let mut ephemeral = [1; 32];
    ephemeral[..8].copy_from_slice(&number.to_be_bytes());
    let (machine, first) = Initiator::start(me, Trust::Anyone, ephemeral);
    wire.send_message(&["api"], &[&own], &first);
    let second = wire.message();
    let mut known = std::collections::HashMap::new();
    let (established, third) = machine
        .handle_message2(&second.payload, &mut known, now_s())
        .map_err(|error| format!("message 2: {error}"))?;
    let way = second.return_route;
    send(wire, &way, &own, &third);
    let mut seal = established.seal;
    let mut close = vec![0; inner::CLOSE.len() + OVERHEAD];
    close[8..8 + inner::CLOSE.len()].copy_from_slice(&inner::CLOSE);
    seal.seal(&mut close)
        .map_err(|error| format!("close: {error}"))?;
    send(wire, &way, &own, &close);
    Ok(())
}

fn send(wire: &mut Wire, way: &Route, own: &str, payload: &[u8]) {
    let back = culvert_tests::wire::route(&[own]);
    let message = Message::new(way.clone(), back, payload.to_vec());
    wire.send(&framed(&message.encode()));
}
