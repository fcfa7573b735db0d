//! The command line of identities and vaults.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use culvert_crypto::vault::KeyType;

use super::COMMON;
use crate::failure::Failure;
use crate::store::DEFAULT_NAME;
use crate::store::unlock::{Unlock, With};

/// What opens encrypted vaults.
#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// File with the passphrase of an encrypted vault, on one line; or set CULVERT_PASSPHRASE. Without
    /// either it is asked for, at a terminal.
    #[arg(
        long,
        global = true,
        env = "CULVERT_PASSPHRASE_FILE",
        value_name = "FILE"
    )]
    #[arg(help_heading = COMMON)]
    pub passphrase_file: Option<PathBuf>,
    /// File that a vault is encrypted with: 32 random bytes or more.
    #[arg(long, global = true, env = "CULVERT_KEY_FILE", value_name = "FILE", help_heading = COMMON)]
    pub key_file: Option<PathBuf>,
}

impl UnlockArgs {
    /// Where passphrases and key files come from.
    #[must_use]
    pub fn unlock(&self) -> Unlock {
        Unlock::new(self.passphrase_file.clone(), self.key_file.clone())
    }
}

/// The name of an identity or a vault, in either place.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Its name on this machine [default: default]
    #[arg(value_name = "NAME")]
    pub of: Option<String>,
    /// The same.
    #[arg(
        long = "name",
        value_name = "NAME",
        conflicts_with = "of",
        hide_short_help = true
    )]
    pub name: Option<String>,
}

impl NameArgs {
    /// The name that was given, if one was.
    #[must_use]
    pub fn given(&self) -> Option<&str> {
        self.of.as_deref().or(self.name.as_deref())
    }

    /// The name, or that of what is used where none is named.
    #[must_use]
    pub fn or_default(&self) -> &str {
        self.given().unwrap_or(DEFAULT_NAME)
    }

    /// The name, which has to be given.
    ///
    /// # Errors
    ///
    /// Wrong usage.
    pub fn required(&self) -> Result<&str, Failure> {
        self.given()
            .ok_or_else(|| Failure::usage("it is not said which one", "pass its name"))
    }
}

/// Make, show, renew and compare identities.
#[derive(Debug, Subcommand)]
pub enum IdentityCommand {
    /// Make an identity; its keys stay in a vault of the state directory.
    Create {
        /// Which one.
        #[command(flatten)]
        name: NameArgs,
        /// Type of its primary key [default: ed25519; p256 in vaults of a key service]
        #[arg(long = "type", value_enum)]
        kind: Option<KeyKind>,
        /// Vault for its keys [default: 'default', which is made when missing]
        #[arg(long, value_name = "NAME")]
        vault: Option<String>,
        /// Use this key of the vault in place of a new one.
        #[arg(long, value_name = "KEY", requires = "vault", conflicts_with = "kind")]
        key: Option<String>,
    },
    /// Show the identifier, which peers need for --allow.
    Show {
        /// Which one.
        #[command(flatten)]
        name: NameArgs,
        /// Show the change history too.
        #[arg(long, short)]
        full: bool,
    },
    /// List all identities.
    List {
        /// List other nodes whose change histories were imported, in place of own identities.
        #[arg(long)]
        imported: bool,
    },
    /// Print a change history, in the hexadecimal form that Ockam uses too.
    Export {
        /// Name of an identity, or the identifier of another node that was imported.
        #[arg(default_value = DEFAULT_NAME, value_name = "NAME|IDENTIFIER")]
        of: String,
    },
    /// Remember the change history of another node; with --name and --vault, make an identity of this
    /// machine out of a history whose key is in the vault.
    Import {
        /// Hexadecimal digits, @FILE, or - for standard input.
        #[arg(value_name = "HISTORY")]
        history: String,
        /// Name of the identity on this machine.
        #[arg(long, requires = "vault")]
        name: Option<String>,
        /// Vault with its key.
        #[arg(long, value_name = "NAME", requires = "name")]
        vault: Option<String>,
    },
    /// Replace the primary key and the key of secure channels. The identifier stays; peers need not be
    /// told. Running edges and relays show the new history within a second or two; streams stay.
    Rotate {
        /// Which one.
        #[command(flatten)]
        name: NameArgs,
        /// Type of the new primary key [default: that of the old one]
        #[arg(long = "type", value_enum)]
        kind: Option<KeyKind>,
        /// Mark earlier purpose keys as revoked in the change. Every rotation makes them invalid; the
        /// mark is for readers of the history.
        #[arg(long)]
        revoke_purpose_keys: bool,
    },
    /// Tell how a change history relates to a known one: equal, newer, older, or conflict.
    Compare {
        /// The received one: hexadecimal digits, @FILE, - for standard input, name or identifier.
        #[arg(value_name = "RECEIVED")]
        received: String,
        /// The known one, in the same forms [default: what was imported of the same identity]
        #[arg(value_name = "KNOWN")]
        known: Option<String>,
    },
    /// Delete an identity and its keys for good.
    Delete {
        /// Which one.
        #[command(flatten)]
        name: NameArgs,
        /// Leave its keys in the vault.
        #[arg(long)]
        keep_keys: bool,
        /// Do it: nothing brings it back.
        #[arg(long, short, required = true)]
        yes: bool,
    },
    /// Show the identity that is meant where none is named: the one called 'default'.
    Default,
}

/// Make, show, move and delete vaults, where secret keys are.
#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Make a vault.
    Create(CreateVaultArgs),
    /// List all vaults.
    List,
    /// Show how a vault is protected, who uses it, and its keys if it can be opened.
    Show {
        /// Which one.
        #[command(flatten)]
        name: NameArgs,
    },
    /// Protect a vault in another way, or move the keys of an identity to another vault.
    Move(MoveArgs),
    /// Delete a vault, or one of its keys.
    Delete {
        /// Which one.
        #[command(flatten)]
        name: NameArgs,
        /// Delete only this key. A key service deletes it after a while: AWS KMS after seven days.
        #[arg(long)]
        key: Option<String>,
        /// Delete it although identities use it: they cannot be used any more.
        #[arg(long)]
        force: bool,
    },
}

/// Arguments of `vault create`.
#[derive(Debug, Args)]
pub struct CreateVaultArgs {
    /// Which one.
    #[command(flatten)]
    pub name: NameArgs,
    /// What protects its keys [default: the key file or passphrase that is given; plain without]
    #[arg(long, value_enum)]
    pub protect: Option<Protect>,
    /// Keep signing keys in AWS KMS; the keys of secure channels stay in the vault. Region and
    /// credentials come from where AWS programs look for them.
    #[arg(long)]
    pub kms: bool,
    /// Region of the keys [default: that of the AWS configuration]
    #[arg(long, requires = "kms", value_name = "REGION")]
    pub kms_region: Option<String>,
    /// Make keys that can be copied to other regions.
    #[arg(long, requires = "kms")]
    pub kms_multi_region: bool,
    /// Use this key, which exists already (ECC_NIST_P256, SIGN_VERIFY); may be repeated.
    #[arg(long, requires = "kms", value_name = "KEY_ID")]
    pub kms_key: Vec<String>,
}

/// Arguments of `vault move`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct MoveArgs {
    /// Name of the vault to protect in another way.
    #[arg(long, group = "what", requires = "protect")]
    pub name: Option<String>,
    /// What protects it from now on; a new passphrase is one, too.
    #[arg(long, value_enum, conflicts_with = "identity")]
    pub protect: Option<Protect>,
    /// Name of the identity whose keys are moved.
    #[arg(long, group = "what", requires = "to")]
    pub identity: Option<String>,
    /// Name of the vault they are moved to.
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub to: Option<String>,
    /// File with the new passphrase, or that of the vault in --to; or set CULVERT_NEW_PASSPHRASE.
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
    /// The new key file, or that of the vault in --to.
    #[arg(long, value_name = "FILE")]
    pub new_key_file: Option<PathBuf>,
}

/// What protects the keys of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protect {
    /// Only the mode of its file.
    Plain,
    /// Encryption with a passphrase.
    Passphrase,
    /// Encryption with the content of a file.
    KeyFile,
}

impl Protect {
    /// What it is encrypted with.
    #[must_use]
    pub fn with(self) -> Option<With> {
        match self {
            Self::Plain => None,
            Self::Passphrase => Some(With::Passphrase),
            Self::KeyFile => Some(With::KeyFile),
        }
    }
}

/// Type of a primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// EdDSA over Curve25519.
    Ed25519,
    /// ECDSA with SHA-256 over P-256, as cloud key services have.
    P256,
}

impl From<KeyKind> for KeyType {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Ed25519 => Self::Ed25519,
            KeyKind::P256 => Self::P256,
        }
    }
}
