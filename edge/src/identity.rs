//! Commands about identities.

use std::io::Read;

use culvert_crypto::Identifier;
use culvert_crypto::identity::{Comparison, Identity, MAX_HISTORY};
use serde_json::{Value, json};

use crate::cli::IdentityCommand;
use crate::commands::now_s;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::{DEFAULT_NAME, Entry, NewIdentity, Rotation, Store, histories};

/// Longest text of a history: two digits a byte, and a line end.
const LONGEST: u64 = 2 * MAX_HISTORY as u64 + 2;

/// Runs a command about identities.
///
/// # Errors
///
/// What the store says; wrong usage.
pub fn run(store: &Store, command: &IdentityCommand, output: Output) -> Result<(), Failure> {
    match command {
        IdentityCommand::Create {
            name,
            kind,
            vault,
            key,
        } => {
            let new = NewIdentity {
                vault: vault.clone(),
                key_type: kind.map(Into::into),
                key: key.clone(),
            };
            let name = name.or_default();
            store.create_identity(name, &new, now_s())?;
            let entry = store.entry(name)?;
            show(&entry, false, output);
            tracing::info!(name, vault = entry.vault(), "made an identity");
        }
        IdentityCommand::Show { name, full } => {
            show(&store.entry(name.or_default())?, *full, output);
        }
        IdentityCommand::Default => show(&store.entry(DEFAULT_NAME)?, false, output),
        IdentityCommand::List { imported: true } => return list_imported(store, output),
        IdentityCommand::List { .. } => return list(store, output),
        IdentityCommand::Export { of } => {
            let identity = named(store, of)?;
            let history = hex::encode(identity.history());
            let value = json!({
                "identifier": identity.identifier().to_string(),
                "change_history": history,
            });
            output.print(&history, &value);
        }
        IdentityCommand::Import {
            history,
            name,
            vault,
        } => {
            return import(
                store,
                history,
                name.as_deref().zip(vault.as_deref()),
                output,
            );
        }
        IdentityCommand::Rotate {
            name,
            kind,
            revoke_purpose_keys,
        } => {
            let rotation = Rotation {
                key_type: kind.map(Into::into),
                revoke_purpose_keys: *revoke_purpose_keys,
            };
            let name = name.or_default();
            store.rotate(name, rotation, now_s())?;
            show(&store.entry(name)?, false, output);
        }
        IdentityCommand::Compare { received, known } => {
            return compare(store, received, known.as_deref(), output);
        }
        IdentityCommand::Delete {
            name, keep_keys, ..
        } => {
            let name = name.required()?;
            store.delete_identity(name, *keep_keys)?;
            let value = json!({ "deleted": name });
            output.print(format!("deleted the identity '{name}'"), &value);
        }
    }
    Ok(())
}

fn describe(entry: &Entry) -> Value {
    let latest = entry.identity.latest();
    json!({
        "name": entry.name,
        "identifier": entry.identifier().to_string(),
        "change_history": hex::encode(entry.identity.history()),
        "changes": entry.identity.change_hashes().len(),
        "vault": entry.vault(),
        "valid_from": latest.valid_from,
        "valid_until": latest.valid_until,
    })
}

fn show(entry: &Entry, full: bool, output: Output) {
    let identifier = entry.identifier();
    let text = match full {
        // As Ockam prints it (`protocol/11-identities.md` 8).
        true => format!(
            "Identifier:     {identifier}\nChange history: {}",
            hex::encode(entry.identity.history())
        ),
        false => identifier.to_string(),
    };
    output.print(text, &describe(entry));
}

/// Lists all identities that can be read; fails afterwards if some cannot.
fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let (mut rows, mut all, mut failed) = (Vec::new(), Vec::new(), None);
    for name in store.names()? {
        match store.entry(&name) {
            Ok(entry) => {
                all.push(describe(&entry));
                rows.push(vec![entry.identifier().to_string(), name]);
            }
            Err(error) => failed = Some(error),
        }
    }
    output.table(&["IDENTIFIER", "NAME"], rows, &Value::Array(all));
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn list_imported(store: &Store, output: Output) -> Result<(), Failure> {
    let identifiers = store.known_histories()?;
    let rows = identifiers.iter().map(|one| vec![one.to_string()]);
    let all = identifiers
        .iter()
        .map(|one| json!({ "identifier": one.to_string() }));
    output.table(&["IDENTIFIER"], rows.collect(), &all.collect());
    Ok(())
}

fn import(
    store: &Store,
    history: &str,
    own: Option<(&str, &str)>,
    output: Output,
) -> Result<(), Failure> {
    let identity = given(history)?;
    if let Some((name, vault)) = own {
        store.import_identity(name, identity, vault, now_s())?;
        show(&store.entry(name)?, false, output);
        return Ok(());
    }
    let comparison = store.import_history(&identity)?;
    let told = comparison.map_or("new", word);
    let identifier = identity.identifier().to_string();
    let value = json!({ "identifier": identifier, "result": told });
    output.print(format!("{identifier}  {told}"), &value);
    Ok(())
}

fn compare(
    store: &Store,
    received: &str,
    known: Option<&str>,
    output: Output,
) -> Result<(), Failure> {
    if received == "-" && known == Some("-") {
        let hint = "pass one of them as @FILE";
        return Err(Failure::usage(
            "standard input holds one history only",
            hint,
        ));
    }
    let received = named_or_given(store, received)?;
    let known = match known {
        Some(known) => named_or_given(store, known)?,
        None => imported(store, &received.identifier())?,
    };
    let result = word(received.compare(&known));
    let value = json!({
        "result": result,
        "received": received.identifier().to_string(),
        "known": known.identifier().to_string(),
    });
    output.print(result, &value);
    Ok(())
}

fn word(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "equal",
        Comparison::Newer => "newer",
        Comparison::Older => "older",
        Comparison::Conflict => "conflict",
    }
}

/// A history in any form: names have at most 64 bytes, and no history is that short.
fn named_or_given(store: &Store, text: &str) -> Result<Identity, Failure> {
    match text == "-" || text.starts_with('@') || text.len() > 65 {
        true => given(text),
        false => named(store, text),
    }
}

/// The history of an own identity, by name, or of another node that was imported, by identifier.
fn named(store: &Store, text: &str) -> Result<Identity, Failure> {
    match text.parse() {
        Ok(identifier) => imported(store, &identifier),
        Err(_) => Ok(store.entry(text)?.identity),
    }
}

fn imported(store: &Store, identifier: &Identifier) -> Result<Identity, Failure> {
    store.known_history(identifier)?.ok_or_else(|| {
        Failure::new(
            format!("no change history of {identifier} was imported"),
            "run `culvert-edge identity import` with what that node's `identity export` prints",
        )
    })
}

/// Hexadecimal digits, `@FILE`, or `-` for standard input.
fn given(text: &str) -> Result<Identity, Failure> {
    let failed = |error: std::io::Error| {
        let hint = "pass hexadecimal digits, @FILE, or - for standard input";
        Failure::new(format!("cannot read {text}: {error}"), hint)
    };
    let mut read = String::new();
    let digits = match (text, text.strip_prefix('@')) {
        ("-", _) => {
            let input = std::io::stdin().take(LONGEST);
            std::io::BufReader::new(input)
                .read_to_string(&mut read)
                .map_err(failed)?;
            read.trim_end_matches(['\r', '\n'])
        }
        (_, Some(path)) => {
            let file = std::fs::File::open(path).map_err(failed)?;
            file.take(LONGEST)
                .read_to_string(&mut read)
                .map_err(failed)?;
            read.trim_end_matches(['\r', '\n'])
        }
        _ => text,
    };
    Ok(histories::parse(digits)?)
}
