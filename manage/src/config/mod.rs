//! Configuration files: YAML or JSON, with everything that is wrong named by its place.
//!
//! ```text
//! edge.yaml:12:5: unknown key 'form' in tcp-inlets.web, did you mean 'from'?
//! edge.yaml:14:9: tcp-inlets.db.direct: expected true or false, found 'yes'
//! ```
//!
//! A file is read in steps: its tree ([`tree`]), the values of its variables ([`Variables`]), the types
//! of the program (by serde), and what only the program can check, with [`Document::tree`] for the
//! places. Keys may be written with `-` or `_`. Files are bounded in length, depth and what aliases and
//! variables make of them; no text makes the reader panic.
//!
//! | module | what |
//! |---|---|
//! | [`findings`] | what is wrong, and where |
//! | [`tree`] | keys and values with their places |

mod access;
pub mod findings;
mod parse;
mod read;
#[cfg(test)]
mod tests;
pub mod tree;
mod variables;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::de::DeserializeOwned;

pub use findings::{Finding, Findings, Place, Severity};
pub use parse::{MAX_BYTES, MAX_DEPTH, MAX_FILE, MAX_VALUES};
pub use tree::Tree;
pub use variables::Variables;

use crate::problem::Problem;

/// A file whose text could be read, and what was found wrong with it so far.
#[derive(Debug)]
pub struct Document {
    /// Its keys and values, variables replaced.
    tree: Tree,
    findings: Findings,
}

impl Document {
    /// Reads the text of a file. `name` is what it is called in findings.
    ///
    /// # Errors
    ///
    /// Text that is no YAML, is too much, or uses variables without a value.
    pub fn parse(name: &str, text: &str, variables: &Variables) -> Result<Self, Findings> {
        let mut findings = Findings::new(name);
        let mut budget = parse::Budget::new();
        let Ok(mut tree) = parse::parse(text, &mut budget, &mut findings) else {
            return Err(findings);
        };
        let before = findings.findings.len();
        variables::expand(&mut tree, variables, &mut budget, &mut findings);
        if findings.findings.len() > before {
            return Err(findings);
        }
        Ok(Self { tree, findings })
    }

    /// The whole of it.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What was found so far.
    pub fn findings(&mut self) -> &mut Findings {
        &mut self.findings
    }

    /// The file as a type; none if something is wrong, which is then among the findings. Keys that the
    /// type does not have are wrong; types must not use `serde(flatten)`.
    pub fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        read::read(&self.tree, "", &mut self.findings)
    }

    /// The same for a part of it, or of another tree. `path` is what the part is called in findings, for
    /// example `tcp-inlets.web`.
    pub fn read_part<T: DeserializeOwned>(&mut self, part: &Tree, path: &str) -> Option<T> {
        read::read(part, path, &mut self.findings)
    }

    /// Refuses keys of a part, or of the whole with an empty `path`, that are not known.
    pub fn check_keys(&mut self, part: &Tree, path: &str, known: &[&str]) {
        for entry in part.entries() {
            if !known.iter().any(|key| tree::same_key(key, &entry.key)) {
                let message = read::unknown_key(&entry.key, path, known.iter().copied());
                self.findings.refuse(entry.place, message);
            }
        }
    }

    /// Ends reading: the value with the warnings, or what is wrong.
    ///
    /// # Errors
    ///
    /// Findings with an error, or no value.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Findings), Findings> {
        match value {
            Some(value) if !self.findings.has_errors() => Ok((value, self.findings)),
            _ => Err(self.findings),
        }
    }
}

/// Reads a whole text as a type, where nothing but its form has to be checked. The findings of a
/// success are warnings.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn read<T: DeserializeOwned>(
    name: &str,
    text: &str,
    variables: &Variables,
) -> Result<(T, Findings), Findings> {
    let mut document = Document::parse(name, text, variables)?;
    let value = document.read();
    document.finish(value)
}

/// The text of a file.
///
/// # Errors
///
/// A file that cannot be read, is too long, or is not UTF-8.
pub fn load(path: &Path) -> Result<String, Problem> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more.
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX) + 1;
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() > MAX_FILE {
        return Err(Problem::invalid(
            format!("{}: longer than {MAX_FILE} bytes", path.display()),
            "is this a configuration file?",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("{}: byte {at} is not UTF-8", path.display());
        Problem::invalid(message, "save it as UTF-8 text")
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let message = format!("{} cannot be read: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::NotFound => Problem::not_found(message, "check the path of the file"),
        _ => Problem::failed(message, "check that it is a file that this user may read"),
    }
}
