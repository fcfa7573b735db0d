//! What the tests share: Ockam nodes and Culvert's programs behind the same handles, and a service
//! that shows whether bytes arrive.

// Each test program uses its part of this.
#![allow(dead_code)]

pub mod chain;
pub mod http;
pub mod node;
pub mod peer;
pub mod portal;
pub mod record;

use chain::Cast;
use culvert_tests::PATIENCE;
use culvert_tests::net::eventually;
use culvert_tests::service::Service;
use node::Kind;

/// Runs a test for each cast, all of them even when some fail.
///
/// # Panics
/// At the end, with the names of those that failed.
pub fn for_each(casts: impl Iterator<Item = Cast>, test: impl Fn(Cast)) {
    let mut failed = Vec::new();
    for cast in casts {
        println!("--- {cast}");
        let run = std::panic::AssertUnwindSafe(|| test(cast));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(cast.to_string());
        }
    }
    assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
}

/// Both ends, at least one of them Ockam's, with Culvert's relay.
pub fn mixed() -> impl Iterator<Item = Cast> {
    Cast::all().filter(|cast| {
        cast.relay == Kind::Culvert && [cast.inlet, cast.outlet].contains(&Kind::Ockam)
    })
}

/// Waits until the service has that many connections.
pub fn open_becomes(service: &Service, expected: usize) {
    eventually("connections at the service", PATIENCE, || {
        match service.open() {
            open if open == expected => Ok(()),
            open => Err(open),
        }
    });
}
