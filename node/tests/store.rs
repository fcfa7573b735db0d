//! Identities in files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use culvert_crypto::primitives::curve25519::x25519_public_key;
use culvert_crypto::secret::Secret;
use culvert_crypto::vault::{KeyType, SoftwareVault};
use culvert_node::store::{DEFAULT_NAME, Rotation, Store, StoreError};
use serde_json::Value;
use tempfile::TempDir;

/// Some time in 2026.
const NOW: u64 = 1_780_000_000;
const YEAR: u64 = 365 * 24 * 3600;

fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("directory");
    let store = Store::open(Some(directory.path().join("a/b"))).expect("store");
    (directory, store)
}

/// Writes the file of an identity as it was before there were vaults, with the keys of one that is in
/// the default vault.
fn write_inline(store: &Store, name: &str) {
    let path = store.path(name).expect("path");
    let read = |path: &Path| -> Value {
        serde_json::from_str(&fs::read_to_string(path).expect("read")).expect("JSON")
    };
    let identity = read(&path);
    let vault = read(&store.vault_path(DEFAULT_NAME).expect("path"));
    let stored = store.load(name).expect("an identity");
    let key = |secret: &Value| -> [u8; 32] {
        let bytes = hex::decode(secret["secret"].as_str().expect("text")).expect("digits");
        bytes.try_into().expect("32 bytes")
    };
    let primary = vault["keys"]["signing"].as_array().expect("keys").iter();
    let primary = primary.clone().find(|one| {
        let mut vault = SoftwareVault::new();
        let key_type = KeyType::from_name(one["type"].as_str().expect("text")).expect("type");
        vault
            .import_signing(key_type, Secret::new(key(one)))
            .ok()
            .as_ref()
            == Some(stored.handle())
    });
    let primary = primary.expect("the primary key");
    let channel = vault["keys"]["channel"].as_array().expect("keys").iter();
    let channel = channel.clone().find(|one| {
        let public = x25519_public_key(&Secret::new(key(one)));
        identity["channel"]["public_key"] == hex::encode(public)
    });
    let text = serde_json::json!({
        "version": 1,
        "name": name,
        "identifier": identity["identifier"],
        "change_history": identity["change_history"],
        "key_type": primary["type"],
        "primary_secret": primary["secret"],
        "channel": {
            "secret": channel.expect("the channel key")["secret"],
            "attestation": identity["channel"]["attestation"],
        },
    });
    fs::write(&path, serde_json::to_string_pretty(&text).expect("JSON")).expect("write");
}

fn mode(path: &Path) -> u32 {
    let data = fs::metadata(path).expect("metadata");
    data.permissions().mode() & 0o777
}

#[test]
fn what_is_stored_is_read_again() {
    let (_directory, store) = store();
    for (name, key_type) in [
        (DEFAULT_NAME, KeyType::Ed25519),
        ("p.256_x-1", KeyType::P256),
    ] {
        let made = store.create(name, key_type, NOW).expect("create");
        let read = store.load_for_use(name, NOW).expect("load");
        assert_eq!(read.identity, made.identity);
        let endpoint = read.endpoint().expect("endpoint");
        assert_eq!(endpoint.identifier(), made.identifier());
    }
    assert_eq!(store.names().expect("names"), [DEFAULT_NAME, "p.256_x-1"]);
}

#[test]
fn only_the_owner_may_read() {
    let (directory, store) = store();
    store.create("x", KeyType::Ed25519, NOW).expect("create");
    let path = store.path("x").expect("path");
    assert_eq!(mode(&path), 0o600);
    let vault = store.vault_path(DEFAULT_NAME).expect("path");
    assert_eq!(mode(&vault), 0o600);
    for inside in ["a", "a/b", "a/b/identities", "a/b/vaults"] {
        assert_eq!(mode(&directory.path().join(inside)), 0o700, "{inside}");
    }
    // Nothing is left behind beside it.
    let files = fs::read_dir(path.parent().expect("parent")).expect("list");
    assert_eq!(files.count(), 1);
    for path in [path, vault] {
        for refused in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(refused)).expect("chmod");
            let Err(error) = store.load("x") else {
                panic!("{refused:o} was accepted")
            };
            assert!(matches!(error, StoreError::Readable { mode, .. } if mode == refused));
            assert!(error.to_string().contains("0600"), "{error}");
            assert!(error.hint().contains("chmod 600"), "{}", error.hint());
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    }
    store.load("x").expect("as it was");
}

#[test]
fn a_name_is_taken_once() {
    let (_directory, store) = store();
    let first = store.create("x", KeyType::Ed25519, NOW).expect("create");
    let second = store.create("x", KeyType::Ed25519, NOW);
    assert!(matches!(second, Err(StoreError::Exists(_))));
    let read = store.load("x").expect("load");
    assert_eq!(read.identifier(), first.identifier());
}

#[test]
fn names_stay_inside_the_directory() {
    let (_directory, store) = store();
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        ".x",
        "-x",
        "a b",
        "ä",
        &"x".repeat(65),
    ] {
        let refused = store.create(name, KeyType::Ed25519, NOW);
        assert!(matches!(refused, Err(StoreError::Name(_))), "{name}");
    }
    assert!(matches!(store.load("x"), Err(StoreError::Missing { .. })));
}

#[test]
fn damaged_files_are_named() {
    let (_directory, store) = store();
    store.create("x", KeyType::Ed25519, NOW).expect("create");
    store.create("y", KeyType::Ed25519, NOW).expect("create");
    write_inline(&store, "x");
    write_inline(&store, "y");
    let path = store.path("x").expect("path");
    let good = fs::read_to_string(&path).expect("read");
    let of_another = fs::read_to_string(store.path("y").expect("path")).expect("read");
    let field = |text: &str, name: &str| {
        let parsed: Value = serde_json::from_str(text).expect("JSON");
        parsed[name].as_str().expect("text").to_owned()
    };
    let secret = field(&good, "primary_secret");
    let history = field(&good, "change_history");
    let damage = [
        String::new(),
        "{}".to_owned(),
        "not JSON".to_owned(),
        good[..good.len() / 2].to_owned(),
        good.replace("\"version\": 1", "\"version\": 2"),
        good.replace("EdDSACurve25519", "RSA"),
        good.replace(&secret, &secret[1..]),
        good.replace(&secret, &field(&of_another, "primary_secret")),
        good.replace(&history, &field(&of_another, "change_history")),
        good.replace(&history, &history[2..]),
        good.replace("\"name\"", "\"nom\""),
    ];
    for (number, text) in damage.iter().enumerate() {
        fs::write(&path, text).expect("write");
        let Err(error) = store.load("x") else {
            panic!("damage {number} was not noticed")
        };
        assert!(
            matches!(error, StoreError::Corrupt { .. }),
            "{number}: {error}"
        );
        let said = error.to_string();
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert!(!said.contains(&secret[1..20]), "{said}");
    }
}

/// Files from before there were vaults go on to work, and stay what they are.
#[test]
fn keys_in_the_file_of_an_identity_still_work() {
    for key_type in [KeyType::Ed25519, KeyType::P256] {
        let (_directory, store) = store();
        let made = store.create("x", key_type, NOW).expect("create");
        write_inline(&store, "x");
        fs::remove_file(store.vault_path(DEFAULT_NAME).expect("path")).expect("remove");
        let path = store.path("x").expect("path");
        let before = fs::read(&path).expect("read");
        let read = store.load_for_use("x", NOW).expect("load");
        assert_eq!(read.identity, made.identity);
        assert_eq!(read.vault(), None);
        read.endpoint().expect("endpoint");
        assert_eq!(fs::read(&path).expect("read"), before);
        let rotated = store
            .rotate("x", Rotation::default(), NOW)
            .expect("rotated");
        assert_eq!(rotated.identifier(), made.identifier());
        assert_eq!(store.load("x").expect("load").identity, rotated.identity);
        let text = fs::read_to_string(&path).expect("read");
        assert!(
            text.contains("primary_secret") && !store.vaults().expect("list").iter().any(|_| true)
        );
    }
}

#[test]
fn an_attestation_that_ends_is_made_again() {
    for in_file in [false, true] {
        let (_directory, store) = store();
        store.create("x", KeyType::Ed25519, NOW).expect("create");
        if in_file {
            write_inline(&store, "x");
        }
        an_attestation_is_made_again(&store);
    }
}

fn an_attestation_is_made_again(store: &Store) {
    let path = store.path("x").expect("path");
    let before = fs::read(&path).expect("read");
    store.load_for_use("x", NOW + 4 * YEAR).expect("still good");
    assert_eq!(fs::read(&path).expect("read"), before);
    let renewed = store.load_for_use("x", NOW + 5 * YEAR).expect("renewed");
    renewed.endpoint().expect("endpoint");
    let after = fs::read(&path).expect("read");
    assert_ne!(after, before);
    assert_eq!(mode(&path), 0o600);
    // Up to the end of the identity, but no longer.
    store.load_for_use("x", NOW + 10 * YEAR - 1).expect("good");
    let expired = store.load_for_use("x", NOW + 10 * YEAR + 1);
    assert!(matches!(expired, Err(StoreError::Expired(_))));
}

#[test]
fn two_processes_that_start_at_once_agree() {
    let (_directory, store) = store();
    let identifiers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| store.load_or_create(DEFAULT_NAME, NOW)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .expect("thread")
                    .expect("identity")
                    .identifier()
            })
            .collect()
    });
    assert!(identifiers.iter().all(|other| *other == identifiers[0]));
}
