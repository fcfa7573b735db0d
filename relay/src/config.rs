//! The configuration file: the long options as keys.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use culvert_manage::config::{self, Findings, Variables};
use culvert_manage::problem::Problem;
use culvert_node::authority::Authority;
use culvert_node::control::listen_address;
use culvert_node::logging;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use tracing_subscriber::EnvFilter;

use crate::cli::{ManageAt, RunArgs};

/// Declares the file's type, and how its values and options meet.
macro_rules! options {
    ($($(#[$attribute:meta])* $name:ident: $type:ty, $key:literal;)*) => {
        /// What a file may say; nothing has to be there.
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "kebab-case", default)]
        struct File {
            $($(#[$attribute])* $name: Option<$type>,)*
        }

        impl File {
            /// Puts the file's values where neither the command line nor the environment has any.
            fn lay_under(self, run: &mut RunArgs, matches: &ArgMatches) {
                $(if let Some(value) = self.$name
                    && !is_given(matches, stringify!($name))
                {
                    run.$name = value.into();
                })*
            }
        }

        /// Names of the options that have different values.
        pub(crate) fn differences(a: &RunArgs, b: &RunArgs) -> Vec<&'static str> {
            let mut found = Vec::new();
            $(if a.$name != b.$name {
                found.push($key);
            })*
            found
        }
    };
}

options! {
    #[serde(deserialize_with = "address")]
    listen: SocketAddr, "listen";
    home: PathBuf, "home";
    passphrase_file: PathBuf, "passphrase-file";
    key_file: PathBuf, "key-file";
    shards: u8, "shards";
    allow_plain_registration: bool, "allow-plain-registration";
    #[serde(deserialize_with = "authorities")]
    authority: Vec<Authority>, "authority";
    require_authentication: bool, "require-authentication";
    max_forwarders: usize, "max-forwarders";
    #[serde(deserialize_with = "at_least::<1, _, _>")]
    max_forwarders_per_identity: u64, "max-forwarders-per-identity";
    max_links: u64, "max-links";
    #[serde(deserialize_with = "at_least::<32, _, _>")]
    max_memory: u32, "max-memory";
    frame_timeout: u64, "frame-timeout";
    stall_timeout: u64, "stall-timeout";
    #[serde(deserialize_with = "address")]
    rendezvous: SocketAddr, "rendezvous";
    #[serde(deserialize_with = "address")]
    metrics: SocketAddr, "metrics";
    #[serde(deserialize_with = "places")]
    manage: Vec<ManageAt>, "manage";
    no_manage: bool, "no-manage";
    manage_token_file: PathBuf, "manage-token-file";
    manage_tls_certificate: PathBuf, "manage-tls-certificate";
    manage_tls_key: PathBuf, "manage-tls-key";
    manage_insecure: bool, "manage-insecure";
    drain: u64, "drain";
    #[serde(deserialize_with = "log_filter")]
    log: String, "log";
}

/// The options of the command line and the environment, to which a file can be added again and again.
#[derive(Debug)]
pub(crate) struct Given {
    run: RunArgs,
    matches: ArgMatches,
}

impl Given {
    /// What was given with the command, and how.
    pub(crate) fn new(run: RunArgs, matches: ArgMatches) -> Self {
        Self { run, matches }
    }

    /// The file that is named.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.run.config.as_deref()
    }

    /// All options, with those of the file as it is now.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, and where.
    pub(crate) fn read(&self) -> Result<RunArgs, Problem> {
        let mut run = self.run.clone();
        if let Some(file) = self.file() {
            let (file, warnings) = load(file)?;
            if !warnings.findings.is_empty() {
                tracing::warn!("{warnings}");
            }
            file.lay_under(&mut run, &self.matches);
        }
        check(&run)?;
        Ok(run)
    }
}

/// Checks a file by itself; gives warnings.
///
/// # Errors
///
/// What is wrong with it, and where.
pub(crate) fn check_file(path: &Path) -> Result<Findings, Problem> {
    load(path).map(|(_, warnings)| warnings)
}

fn load(path: &Path) -> Result<(File, Findings), Problem> {
    let text = config::load(path)?;
    let name = path.display().to_string();
    let read = config::read::<File>(&name, &text, &Variables::new([]));
    Ok(read?)
}

/// What the parser of the command line checks, where a part comes from a file.
fn check(run: &RunArgs) -> Result<(), Problem> {
    if run.no_manage && !run.manage.is_empty() {
        return Err(Problem::invalid(
            "no-manage and manage make no sense together",
            "leave one out",
        ));
    }
    if run.manage_tls_certificate.is_some() != run.manage_tls_key.is_some() {
        return Err(Problem::invalid(
            "TLS takes both manage-tls-certificate and manage-tls-key",
            "name both, or none",
        ));
    }
    Ok(())
}

fn is_given(matches: &ArgMatches, name: &str) -> bool {
    let source = matches.value_source(name);
    source.is_some_and(|source| source != ValueSource::DefaultValue)
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    listen_address(&text).map(Some).map_err(D::Error::custom)
}

/// One text, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

fn texts<'de, T, E: Display, D: Deserializer<'de>>(
    from: D,
    parse: fn(&str) -> Result<T, E>,
) -> Result<Option<Vec<T>>, D::Error> {
    let texts = match Texts::deserialize(from)? {
        Texts::One(text) => vec![text],
        Texts::Several(texts) => texts,
    };
    let parsed = texts
        .iter()
        .map(|text| parse(text))
        .collect::<Result<_, _>>();
    parsed.map(Some).map_err(D::Error::custom)
}

fn authorities<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Authority>>, D::Error> {
    texts(from, Authority::parse)
}

fn places<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<ManageAt>>, D::Error> {
    texts(from, ManageAt::parse)
}

fn at_least<'de, const LEAST: u32, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + PartialOrd + From<u32>,
    D: Deserializer<'de>,
{
    let number = T::deserialize(from)?;
    match number >= T::from(LEAST) {
        true => Ok(Some(number)),
        false => Err(D::Error::custom(format!("expected at least {LEAST}"))),
    }
}

fn log_filter<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    filter(&text, "log").map_err(|failure| D::Error::custom(failure.message))?;
    Ok(Some(text))
}

/// What a text wants logged.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn filter(
    text: &str,
    origin: &str,
) -> Result<EnvFilter, culvert_node::failure::Failure> {
    logging::filter_of(text, origin)
}
