//! Commands about vaults.

#[cfg(feature = "aws-kms")]
pub mod kms;

use serde_json::{Value, json};

use crate::cli::{CreateVaultArgs, MoveArgs, Protect, VaultCommand};
use crate::failure::Failure;
use crate::output::Output;
use crate::store::service::Service;
use crate::store::unlock::{Unlock, With};
use crate::store::vault::{Header, Vault};
use crate::store::{NewVault, Store, StoreError};

/// Name of the only service there is.
pub const AWS_KMS: &str = "aws-kms";

/// Lets a store open the services that this program was built with.
#[must_use]
pub fn with_services(store: Store) -> Store {
    #[cfg(feature = "aws-kms")]
    let store = store.with_services(kms::open);
    store
}

/// Runs a command about vaults.
///
/// # Errors
///
/// What the store says; wrong usage.
pub fn run(store: &Store, command: &VaultCommand, output: Output) -> Result<(), Failure> {
    match command {
        VaultCommand::Create(args) => create(store, args, output),
        VaultCommand::List => list(store, output),
        VaultCommand::Show { name } => show(store, name.or_default(), output),
        VaultCommand::Move(args) => change(store, args, output),
        VaultCommand::Delete { name, key, force } => {
            delete(store, name.required()?, key.as_deref(), *force, output)
        }
    }
}

fn create(store: &Store, args: &CreateVaultArgs, output: Output) -> Result<(), Failure> {
    let new = NewVault {
        with: match args.protect {
            Some(protect) => protect.with(),
            None => store.given(),
        },
        service: args.kms.then(|| Service {
            name: AWS_KMS.to_owned(),
            region: args.kms_region.clone(),
            multi_region: args.kms_multi_region,
        }),
        adopt: args.kms_key.clone(),
        ..NewVault::default()
    };
    let vault = store.create_vault(args.name.required()?, &new)?;
    report("made", &vault, output);
    Ok(())
}

/// What protects the keys in the file, for people.
fn protection(header: &Header) -> &'static str {
    match header.with {
        None => "not encrypted: whoever can read its file has its keys",
        Some(With::Passphrase) => "encrypted with a passphrase",
        Some(With::KeyFile) => "encrypted with a key file",
    }
}

fn describe(name: &str, header: &Header) -> Value {
    json!({
        "name": name,
        "encrypted": header.with.is_some(),
        "with": header.with,
        "service": header.service,
    })
}

fn report(done: &str, vault: &Vault, output: Output) {
    let (name, header) = (&vault.name, vault.header());
    let text = format!("{done} the vault '{name}', {}", protection(&header));
    output.print(text, &describe(name, &header));
}

/// Lists all vaults that can be read; fails afterwards if some cannot.
fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let (mut rows, mut all, mut failed) = (Vec::new(), Vec::new(), None);
    for name in store.vaults()? {
        match store.vault_header(&name) {
            Ok(header) => {
                let service = match &header.service {
                    Some(service) => format!("signing keys in {}, the others ", service.name),
                    None => String::new(),
                };
                all.push(describe(&name, &header));
                rows.push(vec![name, format!("{service}{}", protection(&header))]);
            }
            Err(error) => failed = Some(error),
        }
    }
    output.table(&["NAME", "KEYS"], rows, &Value::Array(all));
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn show(store: &Store, name: &str, output: Output) -> Result<(), Failure> {
    let header = store.vault_header(name)?;
    let users = store.users(name)?;
    let mut value = describe(name, &header);
    let mut lines = vec![format!("vault '{name}', {}", protection(&header))];
    if let Some(service) = &header.service {
        let region = service.region.as_deref().unwrap_or("of the configuration");
        lines.push(format!("signing keys in {}, region {region}", service.name));
    }
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    lines.push(match names.is_empty() {
        true => "used by no identity".to_owned(),
        false => format!("used by {}", names.join(", ")),
    });
    value["identities"] = json!(names);
    // What is public is shown without a passphrase, so nobody is asked for one here.
    if header.with.is_none_or(|with| store.given() == Some(with)) {
        let vault = store.open_vault(name, None)?;
        let mut keys = Vec::new();
        for key in vault.keys_and_users(&users) {
            let by = match key.users.is_empty() {
                true => "not used".to_owned(),
                false => format!("of {}", key.users.join(", ")),
            };
            lines.push(format!("key {}  {}  {by}", key.name, key.key_type.name()));
            keys.push(json!({
                "key": key.name,
                "type": key.key_type.name(),
                "identities": key.users,
            }));
        }
        value["keys"] = Value::Array(keys);
    }
    output.print(lines.join("\n"), &value);
    Ok(())
}

fn change(store: &Store, args: &MoveArgs, output: Output) -> Result<(), Failure> {
    let new = Unlock::renewed(args.new_passphrase_file.clone(), args.new_key_file.clone());
    let new = new.given().is_some().then_some(&new);
    match (&args.name, &args.identity, &args.to) {
        (Some(name), None, _) => {
            let protect = args.protect.unwrap_or(Protect::Plain);
            let vault = store.protect_vault(name, protect.with(), Default::default(), new)?;
            report("changed", &vault, output);
        }
        (None, Some(identity), Some(to)) => {
            store.move_keys(identity, to, new)?;
            let text = format!("moved the keys of the identity '{identity}' to the vault '{to}'");
            output.print(text, &json!({ "identity": identity, "vault": to }));
        }
        _ => {
            return Err(Failure::usage(
                "it is not said what to move",
                "pass --name and --protect, or --identity and --to",
            ));
        }
    }
    Ok(())
}

fn delete(
    store: &Store,
    name: &str,
    key: Option<&str>,
    force: bool,
    output: Output,
) -> Result<(), Failure> {
    if let Some(key) = key {
        store.delete_key(name, key, force)?;
        let text = format!("deleted the key {key} of the vault '{name}'");
        output.print(text, &json!({ "vault": name, "deleted_key": key }));
        return Ok(());
    }
    let service = match store.vault_header(name) {
        Ok(header) => header.service,
        // A damaged vault can be deleted, too.
        Err(error @ StoreError::Corrupt { .. }) if force => {
            tracing::warn!(%error, "deleting it");
            None
        }
        Err(error) => return Err(error.into()),
    };
    store.delete_vault(name, force)?;
    let stay = service.map_or_else(String::new, |service| {
        format!("; its keys in {} stay there", service.name)
    });
    output.print(
        format!("deleted the vault '{name}'{stay}"),
        &json!({ "deleted": name }),
    );
    Ok(())
}
