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
    each(casts, Cast::to_string, test);
}

fn each<T: Copy>(all: impl Iterator<Item = T>, name: impl Fn(&T) -> String, test: impl Fn(T)) {
    let mut failed = Vec::new();
    for one in all {
        println!("--- {}", name(&one));
        let run = std::panic::AssertUnwindSafe(|| test(one));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(name(&one));
        }
    }
    assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
}

/// The same for each kind, as whatever the words say.
///
/// # Panics
/// At the end, with the kinds that failed.
pub fn for_each_kind(what: &str, test: impl Fn(Kind)) {
    each(
        Kind::BOTH.into_iter(),
        |kind| format!("{kind}: {what}"),
        test,
    );
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
