//! Vaults: encrypted and not, moved, deleted, damaged.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use culvert_crypto::identity::Comparison;
use culvert_crypto::vault::KeyType;
use culvert_crypto::vault::sealed::Cost;
use culvert_node::store::unlock::{Unlock, With};
use culvert_node::store::{NewIdentity, NewVault, Rotation, Store, StoreError, histories};
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

/// Some time in 2026.
const NOW: u64 = 1_780_000_000;
/// Guesses cost nothing in tests.
const CHEAP: Cost = Cost {
    memory_kib: 64,
    passes: 1,
    lanes: 1,
};

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("directory"))
    }

    fn secret_file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path).expect("open");
        std::io::Write::write_all(&mut file, content.as_bytes()).expect("write");
        path
    }

    /// Opens vaults with this passphrase.
    fn words(&self, words: &str) -> Unlock {
        Unlock::new(Some(self.secret_file(words, &format!("{words}\n"))), None)
    }

    fn key_file(&self, name: &str) -> Unlock {
        Unlock::new(None, Some(self.secret_file(name, &name.repeat(40))))
    }

    fn store(&self, unlock: Unlock) -> Store {
        let home = Some(self.0.path().join("home"));
        Store::open(home).expect("store").with_unlock(unlock)
    }
}

fn sealed(with: With) -> NewVault {
    NewVault {
        with: Some(with),
        cost: CHEAP,
        ..NewVault::default()
    }
}

fn in_vault(vault: &str) -> NewIdentity {
    NewIdentity {
        vault: Some(vault.to_owned()),
        ..NewIdentity::default()
    }
}

fn usable(store: &Store, name: &str) {
    let stored = store.load_for_use(name, NOW).expect("an identity");
    stored.endpoint().expect("an endpoint");
    let signature = stored.signing().sign(stored.handle(), b"data");
    let key = stored.identity.latest().key;
    let signature = signature.expect("a signature");
    assert!(culvert_crypto::vault::verify(&key, b"data", &signature));
}

fn error<T>(result: Result<T, StoreError>) -> StoreError {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

#[test]
fn an_encrypted_vault_shows_no_key_and_opens_with_its_secret_only() {
    for with in [With::Passphrase, With::KeyFile] {
        let home = Home::new();
        let (right, wrong) = match with {
            With::Passphrase => (home.words("right words"), home.words("wrong words")),
            With::KeyFile => (home.key_file("a"), home.key_file("b")),
        };
        let store = home.store(right);
        store.create_vault("v", &sealed(with)).expect("a vault");
        let made = store.create_identity("x", &in_vault("v"), NOW);
        let made = made.expect("an identity");
        usable(&store, "x");
        let text = fs::read_to_string(store.vault_path("v").expect("path")).expect("read");
        assert!(
            !text.contains("secret") && !text.contains("signing"),
            "{text}"
        );

        let refused = error(home.store(wrong).load("x"));
        assert!(
            matches!(refused, StoreError::WrongSecret { .. }),
            "{refused}"
        );
        assert!(refused.to_string().contains(with.name()), "{refused}");
        let nothing = home.store(Unlock::default());
        let refused = error(nothing.load("x"));
        assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
        // What is public needs nothing.
        let entry = nothing.entry("x").expect("an entry");
        assert_eq!(entry.identity, made.identity);
        assert_eq!(
            nothing.vault_header("v").expect("a header").with,
            Some(with)
        );
    }
}

#[test]
fn secrets_that_are_too_weak_are_refused() {
    let home = Home::new();
    let words = |content: &str| {
        let file = home.secret_file("words", content);
        let store = home.store(Unlock::new(Some(file), None));
        error(store.create_vault("v", &sealed(With::Passphrase)))
    };
    for content in ["", "\n", "short\n", "two\nlines of it\n", &"x".repeat(2000)] {
        let refused = words(content);
        assert!(
            matches!(refused, StoreError::Secret { .. }),
            "{content:?}: {refused}"
        );
    }
    let short = Unlock::new(None, Some(home.secret_file("key", "0123456789")));
    let refused = error(home.store(short).create_vault("v", &sealed(With::KeyFile)));
    assert!(matches!(refused, StoreError::Secret { .. }), "{refused}");
    let readable = home.secret_file("open", "long enough");
    fs::set_permissions(
        &readable,
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .expect("chmod");
    let store = home.store(Unlock::new(Some(readable), None));
    let refused = error(store.create_vault("v", &sealed(With::Passphrase)));
    assert!(matches!(refused, StoreError::Readable { .. }), "{refused}");
    assert!(store.vaults().expect("a list").is_empty());
}

#[test]
fn the_default_vault_is_encrypted_if_there_is_something_to_do_it_with() {
    let home = Home::new();
    let store = home.store(home.words("right words"));
    store.load_or_create("default", NOW).expect("an identity");
    assert_eq!(
        store.vault_header("default").expect("a header").with,
        Some(With::Passphrase)
    );
    let home = Home::new();
    let store = home.store(Unlock::default());
    store.load_or_create("default", NOW).expect("an identity");
    assert_eq!(store.vault_header("default").expect("a header").with, None);
}

#[test]
fn a_vault_is_protected_in_another_way() {
    let home = Home::new();
    let store = home.store(home.words("first words"));
    store
        .create_vault("v", &NewVault::default())
        .expect("a vault");
    store
        .create_identity("x", &in_vault("v"), NOW)
        .expect("an identity");
    let first = home.words("first words");
    store
        .protect_vault("v", Some(With::Passphrase), CHEAP, Some(&first))
        .expect("encrypted");
    usable(&store, "x");
    let second = home.words("second words");
    store
        .protect_vault("v", Some(With::Passphrase), CHEAP, Some(&second))
        .expect("another passphrase");
    let late = home.store(home.words("first words"));
    assert!(matches!(
        error(late.load("x")),
        StoreError::WrongSecret { .. }
    ));
    let store = home.store(home.words("second words"));
    usable(&store, "x");
    // A new passphrase that is no good leaves everything as it is.
    let bad = Unlock::new(Some(home.secret_file("bad", "short")), None);
    let refused = error(store.protect_vault("v", Some(With::Passphrase), CHEAP, Some(&bad)));
    assert!(matches!(refused, StoreError::Secret { .. }), "{refused}");
    usable(&store, "x");
    store
        .protect_vault("v", None, CHEAP, Some(&first))
        .expect("in clear");
    usable(&home.store(Unlock::default()), "x");
}

#[test]
fn keys_move_between_vaults() {
    let home = Home::new();
    let store = home.store(home.words("right words"));
    store
        .create_vault("a", &NewVault::default())
        .expect("a vault");
    store
        .create_vault("b", &sealed(With::Passphrase))
        .expect("a vault");
    for (name, key_type) in [("x", KeyType::Ed25519), ("y", KeyType::P256)] {
        let new = NewIdentity {
            key_type: Some(key_type),
            ..in_vault("a")
        };
        let made = store.create_identity(name, &new, NOW).expect("an identity");
        store.move_keys(name, "b", None).expect("moved");
        usable(&store, name);
        assert_eq!(store.entry(name).expect("an entry").vault(), Some("b"));
        assert_eq!(store.load(name).expect("loaded").identity, made.identity);
    }
    let text = fs::read_to_string(store.vault_path("a").expect("path")).expect("read");
    let left: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(left["keys"]["signing"], Value::Array(vec![]));
    assert_eq!(left["keys"]["channel"], Value::Array(vec![]));
    let refused = error(store.move_keys("x", "b", None));
    assert!(matches!(refused, StoreError::Vault { .. }), "{refused}");
    let refused = error(store.move_keys("x", "nowhere", None));
    assert!(
        matches!(refused, StoreError::MissingVault { .. }),
        "{refused}"
    );
    usable(&store, "x");
}

#[test]
fn what_is_used_is_not_deleted_unnoticed() {
    let home = Home::new();
    let store = home.store(Unlock::default());
    store
        .create_vault("v", &NewVault::default())
        .expect("a vault");
    let made = store.create_identity("x", &in_vault("v"), NOW);
    let key = hex::encode(&made.expect("an identity").handle().bytes);
    let in_use = |refused: StoreError| {
        let StoreError::InUse { by, .. } = &refused else {
            panic!("{refused}")
        };
        assert_eq!(by, &["'x'"]);
        assert!(refused.to_string().contains("'x'"), "{refused}");
    };
    in_use(error(store.delete_vault("v", false)));
    in_use(error(store.delete_key("v", &key, false)));
    usable(&store, "x");
    let refused = error(store.delete_key("v", "nonsense", false));
    assert!(matches!(refused, StoreError::NoKey { .. }), "{refused}");
    // An identity that cannot be read may be one that uses it.
    let path = store.path("y").expect("path");
    fs::write(&path, "{}").expect("write");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
    store
        .create_vault("w", &NewVault::default())
        .expect("a vault");
    assert!(matches!(
        error(store.delete_vault("w", false)),
        StoreError::Corrupt { .. }
    ));
    store.delete_vault("w", true).expect("forced");
    fs::remove_file(&path).expect("remove");

    store.delete_identity("x", false).expect("deleted");
    let vault = store.open_vault("v", None).expect("the vault");
    assert!(vault.handles().is_empty());
    store.delete_vault("v", false).expect("deleted");
    assert!(matches!(
        error(store.delete_vault("v", false)),
        StoreError::MissingVault { .. }
    ));
}

#[test]
fn a_shared_key_outlives_one_of_its_identities() {
    let home = Home::new();
    let store = home.store(Unlock::default());
    let first = store
        .create("x", KeyType::Ed25519, NOW)
        .expect("an identity");
    let again = NewIdentity {
        key: Some(hex::encode(&first.handle().bytes)),
        ..NewIdentity::default()
    };
    store
        .create_identity("y", &again, NOW + 1)
        .expect("an identity");
    store
        .rotate("x", Rotation::default(), NOW + 2)
        .expect("rotated");
    usable(&store, "y");
    store.delete_identity("y", false).expect("deleted");
    usable(&store, "x");
    let vault = store.open_vault("default", None).expect("the vault");
    assert_eq!(vault.handles().len(), 1);
}

#[test]
fn a_forced_deletion_is_told_when_the_identity_is_used() {
    let home = Home::new();
    let store = home.store(Unlock::default());
    let made = store
        .create("x", KeyType::Ed25519, NOW)
        .expect("an identity");
    let key = hex::encode(&made.handle().bytes);
    store.delete_key("default", &key, true).expect("forced");
    let refused = error(store.load("x"));
    assert!(matches!(refused, StoreError::NoKey { .. }), "{refused}");
    store.delete_vault("default", true).expect("forced");
    let refused = error(store.load("x"));
    assert!(
        matches!(refused, StoreError::MissingVault { .. }),
        "{refused}"
    );
}

#[test]
fn an_identity_is_imported_with_its_key() {
    let (there, here) = (Home::new(), Home::new());
    let source = there.store(Unlock::default());
    source
        .create("x", KeyType::Ed25519, NOW)
        .expect("an identity");
    let rotated = source
        .rotate("x", Rotation::default(), NOW + 1)
        .expect("rotated");
    let text = hex::encode(rotated.identity.history());
    let store = here.store(Unlock::default());
    store
        .create_vault("v", &NewVault::default())
        .expect("a vault");
    let identity = || histories::parse(&text).expect("a history");
    let refused = error(store.import_identity("x", identity(), "v", NOW));
    assert!(matches!(refused, StoreError::NoKey { .. }), "{refused}");
    assert!(store.names().expect("names").is_empty());
    let from = source.vault_path("default").expect("path");
    fs::copy(from, store.vault_path("v").expect("path")).expect("copy");
    let imported = store.import_identity("x", identity(), "v", NOW + 2);
    assert_eq!(imported.expect("imported").identity, rotated.identity);
    usable(&store, "x");
}

#[test]
fn a_rotation_says_what_was_asked_for() {
    let home = Home::new();
    let store = home.store(Unlock::default());
    let made = store
        .create("x", KeyType::Ed25519, NOW)
        .expect("an identity");
    let rotation = Rotation {
        key_type: Some(KeyType::P256),
        revoke_purpose_keys: true,
    };
    let rotated = store.rotate("x", rotation, NOW + 5).expect("rotated");
    assert_eq!(rotated.identifier(), made.identifier());
    assert_eq!(rotated.identity.compare(&made.identity), Comparison::Newer);
    assert_eq!(KeyType::of(&rotated.identity.latest().key), KeyType::P256);
    assert_eq!(rotated.identity.latest().valid_from, NOW + 5);
    // ChangeData of the second change: its key, then `true`.
    let key = hex::encode(culvert_proto::identity::encode(
        &rotated.identity.latest().key,
    ));
    let history = hex::encode(rotated.identity.history());
    assert!(history.contains(&format!("{key}f5")), "{history}");
    // A clock that went back.
    let refused = error(store.rotate("x", Rotation::default(), NOW));
    assert!(matches!(refused, StoreError::Keys { .. }), "{refused}");
    usable(&store, "x");
}

/// As of `identities.json`: histories of others are kept as a real node keeps them.
#[test]
fn histories_of_others_only_grow() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/identities.json");
    let vectors: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("vectors")).expect("JSON");
    let history = |value: &Value| histories::parse(value.as_str().expect("text")).expect("valid");
    for vector in vectors["comparison"].as_array().expect("a list") {
        let home = Home::new();
        let store = home.store(Unlock::default());
        let (received, known) = (history(&vector["received"]), history(&vector["known"]));
        assert_eq!(store.import_history(&known).expect("imported"), None);
        let compared = received.compare(&known);
        assert_eq!(
            format!("{compared:?}"),
            vector["result"].as_str().expect("text")
        );
        let imported = store.import_history(&received);
        let stored = store.known_history(&known.identifier()).expect("read");
        let expected = match compared {
            Comparison::Equal => imported.map(|_| &known).ok(),
            Comparison::Newer => imported.map(|_| &received).ok(),
            // Two unrelated identities do not meet: each has a file of its own.
            _ if received.identifier() != known.identifier() => imported.map(|_| &known).ok(),
            _ => {
                assert!(matches!(error(imported), StoreError::History(_)));
                Some(&known)
            }
        };
        assert_eq!(stored.as_ref(), expected, "{}", vector["name"]);
        assert!(!store.known_histories().expect("a list").is_empty());
    }
    for vector in vectors["rejected"].as_array().expect("a list") {
        let text = vector["change_history_cbor"].as_str().expect("text");
        if vector["expected_identifier"].is_null() {
            assert!(histories::parse(text).is_err(), "{}", vector["name"]);
        }
    }
    let text = vectors["change_history_text"]["text"]
        .as_str()
        .expect("text");
    assert_eq!(
        hex::encode(histories::parse(text).expect("valid").history()),
        text
    );
    assert!(histories::parse(&text.to_uppercase()).is_ok());
    assert!(histories::parse(&format!(" {text}")).is_err());
}

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
