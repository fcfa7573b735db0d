//! What is wrong with a file, and where.

use std::fmt;

use serde::Serialize;

use crate::problem::Problem;

/// Most findings that are kept of one file.
pub const MAX_FINDINGS: usize = 100;

/// A place in a text: both numbers start with 1, columns count characters.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// Where every text begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Whether a file with it can be used.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but this is probably not what was meant.
    Warning,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// How bad it is.
    pub severity: Severity,
    /// What, and what to do about it.
    pub message: String,
}

/// Everything that is wrong with a file, in the order of the file.
///
/// Shown as one line for each: `edge.yaml:12:5: unknown key 'form' in tcp-inlets.web, …`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Findings {
    /// Name of the file.
    pub file: String,
    /// At most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
}

impl Findings {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            findings: Vec::new(),
        }
    }

    /// The file cannot be used.
    pub fn refuse(&mut self, place: Place, message: impl Into<String>) {
        self.add(place, Severity::Error, message.into());
    }

    /// The file can be used, but.
    pub fn warn(&mut self, place: Place, message: impl Into<String>) {
        self.add(place, Severity::Warning, message.into());
    }

    fn add(&mut self, place: Place, severity: Severity, message: String) {
        let finding = Finding {
            place,
            severity,
            message,
        };
        let index = self
            .findings
            .partition_point(|other| (other.place, other.severity) <= (place, severity));
        // What is read several times says the same thing again.
        let is_known = self.findings[..index].contains(&finding);
        if !is_known && !self.is_full() {
            self.findings.insert(index, finding);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    /// Whether the file cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        let mut all = self.findings.iter();
        all.any(|finding| finding.severity == Severity::Error)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            let severity = match finding.severity {
                Severity::Error => "",
                Severity::Warning => "warning: ",
            };
            let Finding { place, message, .. } = finding;
            write!(f, "{end}{}:{place}: {severity}{message}", self.file)?;
        }
        Ok(())
    }
}

impl From<Findings> for Problem {
    fn from(findings: Findings) -> Self {
        Self::invalid(
            findings,
            "nothing was changed; correct the file and try again",
        )
    }
}
