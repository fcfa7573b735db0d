//! Files of vaults that somebody else wrote.

use std::fs;

use culvert_node::store::unlock::{Unlock, With};
use culvert_node::store::{NewVault, Store, StoreError};
use proptest::prelude::*;
use serde_json::Value;

use crate::{CHEAP, Home, NOW, error, in_vault, usable};

/// Every file that is not what was written is an error that names it, or opens to the same keys.
fn hostile(home: &Home, store: &Store, text: &[u8]) {
    let path = store.vault_path("v").expect("path");
    fs::write(&path, text).expect("write");
    match store.load("x") {
        Ok(stored) => drop(stored.endpoint().expect("an endpoint")),
        Err(error) => assert!(!error.to_string().is_empty() && !error.hint().is_empty()),
    }
    let _ = (
        store.vault_header("v"),
        home.store(Unlock::default()).load("x"),
    );
}

fn hostile_home(with: Option<With>) -> (Home, Store, Vec<u8>) {
    let home = Home::new();
    let store = home.store(home.words("right words"));
    let new = NewVault {
        with,
        cost: CHEAP,
        ..NewVault::default()
    };
    store.create_vault("v", &new).expect("a vault");
    store
        .create_identity("x", &in_vault("v"), NOW)
        .expect("an identity");
    let text = fs::read(store.vault_path("v").expect("path")).expect("read");
    (home, store, text)
}

/// What stands in clear beside the sealed part, with nonsense or too much in place of each value.
#[test]
fn headers_that_ask_for_too_much_are_refused() {
    let (_home, store, text) = hostile_home(Some(With::Passphrase));
    let good: Value = serde_json::from_slice(&text).expect("JSON");
    let path = store.vault_path("v").expect("path");
    let long = "00".repeat(300 * 1024);
    let cases = [
        ("memory_kib", serde_json::json!(u32::MAX)),
        ("memory_kib", serde_json::json!(0)),
        ("memory_kib", serde_json::json!(-1)),
        ("memory_kib", serde_json::json!(128)),
        ("passes", serde_json::json!(u32::MAX)),
        ("passes", serde_json::json!(0)),
        ("lanes", serde_json::json!(u64::MAX)),
        ("lanes", serde_json::json!(100)),
        ("kdf", serde_json::json!("argon2d")),
        ("with", serde_json::json!("nothing")),
        ("salt", serde_json::json!("00")),
        (
            "salt",
            serde_json::json!("00112233445566778899aabbccddeeff"),
        ),
        ("content", serde_json::json!("")),
        (
            "content",
            serde_json::json!("00112233445566778899aabbccddeeff"),
        ),
        ("content", serde_json::json!(long)),
        ("more", serde_json::json!(1)),
    ];
    for (field, value) in cases {
        let mut changed = good.clone();
        changed["sealed"][field] = value;
        fs::write(&path, changed.to_string()).expect("write");
        let refused = error(store.load("x"));
        let told = matches!(
            refused,
            StoreError::Corrupt { .. } | StoreError::WrongSecret { .. }
        );
        assert!(told, "{field}: {refused}");
    }
    // A service that was not there when it was sealed.
    let mut changed = good.clone();
    changed["service"] = serde_json::json!({ "name": "x", "region": null, "multi_region": false });
    fs::write(&path, changed.to_string()).expect("write");
    assert!(matches!(
        error(store.load("x")),
        StoreError::WrongSecret { .. }
    ));
    fs::write(&path, good.to_string()).expect("write");
    usable(&store, "x");
}

#[test]
fn a_service_that_is_not_known_is_told() {
    let (_home, store, text) = hostile_home(None);
    let mut changed: Value = serde_json::from_slice(&text).expect("JSON");
    changed["service"] = serde_json::json!({ "name": "x", "region": null, "multi_region": false });
    fs::write(store.vault_path("v").expect("path"), changed.to_string()).expect("write");
    let refused = error(store.load("x"));
    assert!(matches!(refused, StoreError::NoService { .. }), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_vaults_are_errors(
        sealed: bool,
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<u16>()),
    ) {
        let (home, store, mut text) = hostile_home(sealed.then_some(With::Passphrase));
        for (at, byte) in changes {
            let at = usize::from(at) % text.len();
            text[at] = byte;
        }
        if let Some(cut) = cut {
            text.truncate(usize::from(cut) % text.len());
        }
        hostile(&home, &store, &text);
    }

    #[test]
    fn any_bytes_are_an_error(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (home, store, _) = hostile_home(None);
        hostile(&home, &store, &text);
    }
}
