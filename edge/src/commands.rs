//! Commands about identities.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::cli::IdentityCommand;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::{DEFAULT_NAME, Store, Stored};

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Runs a command about identities.
///
/// # Errors
///
/// What the store says.
pub fn identity(store: &Store, command: &IdentityCommand, output: Output) -> Result<(), Failure> {
    match command {
        IdentityCommand::Create { name, kind } => {
            let stored = store.create(name, (*kind).into(), now_s())?;
            show(&stored, output);
            output_note(store, &stored);
        }
        IdentityCommand::Show { name } => show(&store.load(name)?, output),
        IdentityCommand::List => return list(store, output),
    }
    Ok(())
}

fn describe(stored: &Stored) -> Value {
    json!({
        "name": stored.name,
        "identifier": stored.identifier().to_string(),
        "change_history": hex::encode(stored.identity.history()),
    })
}

fn show(stored: &Stored, output: Output) {
    output.print(stored.identifier().to_string(), &describe(stored));
}

fn output_note(store: &Store, stored: &Stored) {
    if let Ok(path) = store.path(&stored.name) {
        tracing::info!(name = stored.name, file = %path.display(), "made an identity");
    }
}

/// Lists all identities that can be read; fails afterwards if some cannot.
fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let (mut all, mut failed) = (Vec::new(), None);
    for name in store.names()? {
        match store.load(&name) {
            Ok(stored) => {
                output.say(format!("{}  {name}", stored.identifier()));
                all.push(describe(&stored));
            }
            Err(error) => failed = Some(error),
        }
    }
    output.emit(&Value::Array(all));
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// The identity to run with. The default one is made when there is none.
///
/// # Errors
///
/// What the store says; that there is none, for any other name.
pub fn identity_for_use(store: &Store, name: &str) -> Result<Stored, Failure> {
    let stored = match name {
        DEFAULT_NAME => store.load_or_create(name, now_s()),
        _ => store.load_for_use(name, now_s()),
    };
    Ok(stored?)
}
