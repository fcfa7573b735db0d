//! Where a configuration comes from, so that it can be read again.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use culvert_manage::config::{self, Document, Findings, MAX_FILE, Variables};
use culvert_manage::problem::Problem;
use culvert_node::store::database::Database;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Configuration, Machine};
use crate::model::PolicySpec;
use crate::store::{DEFAULT_NAME, Store};

/// What the values of variables are, on the command line.
#[derive(Clone, Debug, Default, Args)]
pub struct VariableArgs {
    /// A value for a variable of the file, before the environment and the file's own `variables`; may be
    /// repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = Variables::pair)]
    pub variable: Vec<(String, String)>,
}

/// A configuration that can be read, and read again later with the same variables.
///
/// It can be stored, to be read by another process.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Source {
    place: Place,
    variables: Vec<(String, String)>,
    name: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    File(PathBuf),
    /// Text that was given in place of a file, and what it is called.
    Text(String, String),
}

impl Source {
    /// A file. `-` is standard input, which is read now.
    ///
    /// # Errors
    ///
    /// Standard input that cannot be read, or is too long.
    pub fn file(path: PathBuf, args: &VariableArgs) -> Result<Self, Problem> {
        let place = match path.as_os_str() == "-" {
            true => Place::Text(standard_input()?, "standard input".to_owned()),
            false => Place::File(path),
        };
        Ok(Self::new(place, args))
    }

    /// A text from the command line.
    #[must_use]
    pub fn text(text: String, args: &VariableArgs) -> Self {
        Self::new(Place::Text(text, "configuration".to_owned()), args)
    }

    fn new(place: Place, args: &VariableArgs) -> Self {
        Self {
            place,
            variables: args.variable.clone(),
            name: DEFAULT_NAME.to_owned(),
        }
    }

    /// What the node is called if the file does not say.
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    /// What it is called in findings.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Text(_, name) => name.clone(),
        }
    }

    /// Reads it, again if need be. Its projects are looked for in `store`, where one is given and has been
    /// used before.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or everything that is wrong with it.
    pub fn read(&self, store: Option<&Store>) -> Result<Configuration, Problem> {
        self.findings(store)?.map_err(Problem::from)
    }

    /// The same, with findings apart from a file that cannot be read.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn findings(
        &self,
        store: Option<&Store>,
    ) -> Result<Result<Configuration, Findings>, Problem> {
        let text = self.load()?;
        let machine = store.and_then(machine);
        let variables = self.variables();
        Ok(super::read(
            &self.shown(),
            &text,
            &self.name,
            &variables,
            machine.as_ref(),
        ))
    }

    /// The same with a path that does not depend on the working directory.
    ///
    /// # Errors
    ///
    /// When there is no working directory.
    pub fn absolute(self) -> Result<Self, Problem> {
        let place = match self.place {
            Place::File(path) => Place::File(std::path::absolute(&path).map_err(|error| {
                let message = format!("{} cannot be found again: {error}", path.display());
                Problem::failed(message, "give the whole path")
            })?),
            text => text,
        };
        Ok(Self { place, ..self })
    }

    /// Its keys and values as JSON, variables replaced.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], as far as its form is concerned.
    pub fn object(&self) -> Result<Value, Problem> {
        let document = Document::parse(&self.shown(), &self.load()?, &self.variables())?;
        Ok(document.tree().to_json())
    }

    fn load(&self) -> Result<String, Problem> {
        match &self.place {
            Place::Text(text, _) => Ok(text.clone()),
            Place::File(path) => config::load(path),
        }
    }

    fn variables(&self) -> Variables {
        Variables::new(self.variables.iter().cloned())
    }
}

/// What this machine has; none if that cannot be told.
fn machine(store: &Store) -> Option<Machine> {
    // Looking must not make a state directory.
    if !store.home().exists() {
        return Some(Machine {
            policies: Some(Vec::new()),
            ..Machine::default()
        });
    }
    let mut database = Database::open(store.home()).ok()?;
    let projects = database.projects().ok()?.into_iter();
    let policies = database.policies().ok()?.into_iter();
    let policies = policies.map(|(scope, allow)| PolicySpec::new(scope, allow).key());
    Some(Machine {
        projects: projects.map(|project| project.name).collect(),
        policies: Some(policies.collect()),
    })
}

fn standard_input() -> Result<String, Problem> {
    let mut text = String::new();
    // One byte more than allowed is refused as too long.
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX) + 1;
    let read = std::io::stdin().take(limit).read_to_string(&mut text);
    read.map_err(|error| {
        let message = format!("standard input cannot be read: {error}");
        Problem::failed(message, "pipe a configuration into this command")
    })?;
    Ok(text)
}
