//! An identity and its keys in a directory: Ockam's own SQLite tables, and the identifier as text
//! beside them.

use std::fs;
use std::path::Path;

use ockam::errcode::{Kind, Origin};
use ockam::identity::{ChangeHistorySqlxDatabase, Identifier, Vault};
use ockam::vault::SigningKeyType;
use ockam::{Context, Error, Node, Result, SqlxDatabase};

use crate::KeyType;

/// Opens the directory, makes an identity in it when there is none, and returns a node that has it.
pub async fn open(ctx: &Context, home: &Path, key_type: KeyType) -> Result<(Node, Identifier)> {
    let io = |error| Error::new(Origin::Application, Kind::Io, error);
    fs::create_dir_all(home).map_err(io)?;
    let database = SqlxDatabase::create_sqlite(home.join("node.sqlite3")).await?;
    let node = Node::builder()
        .await?
        .with_vault(Vault::create_with_database(database.clone()))
        .with_change_history_repository(ChangeHistorySqlxDatabase::make_repository(database))
        .build(ctx)?;
    let written = home.join("identifier");
    let identifier = match fs::read_to_string(&written) {
        Ok(text) => text.parse()?,
        Err(_) => {
            let key_type = match key_type {
                KeyType::Ed25519 => SigningKeyType::EdDSACurve25519,
                KeyType::P256 => SigningKeyType::ECDSASHA256CurveP256,
            };
            let made = node
                .identities_creation()
                .identity_builder()
                .with_random_key(key_type)
                .build()
                .await?;
            fs::write(&written, made.to_string()).map_err(io)?;
            made
        }
    };
    Ok((node, identifier))
}
