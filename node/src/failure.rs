//! How a program that is made of this node fails: what happened, to what, and what to do next.
//!
//! Both programs say it in the same forms. The parser of the command line is not named here, so that
//! the library does not bring it.

use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::store::StoreError;

/// Why a program ends without success.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What happened, and to what.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// Whether it was asked for something that makes no sense.
    pub usage: bool,
    /// What programs tell it from others by; may be empty.
    pub reason: &'static str,
}

impl Failure {
    /// A runtime error: the process exits with 1.
    pub fn new(message: impl Display, hint: impl Display) -> Self {
        Self {
            message: message.to_string(),
            hint: hint.to_string(),
            usage: false,
            reason: "",
        }
    }

    /// The same, with a word that programs tell it from others by.
    #[must_use]
    pub fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// Wrong usage: the process exits with 2.
    pub fn usage(message: impl Display, hint: impl Display) -> Self {
        Self {
            usage: true,
            ..Self::new(message, hint)
        }
    }

    /// Reports it on stderr, for people or as one JSON object, and gives the exit status. A runtime
    /// error is for programs also the last object on stdout, where those who follow events look.
    #[must_use]
    pub fn end(&self, json: bool) -> ExitCode {
        let Self { message, hint, .. } = self;
        let text = match (json, hint.as_str()) {
            (true, _) => self.json().to_string(),
            (false, "") => format!("error: {message}"),
            (false, _) => format!("error: {message}\n  hint: {hint}"),
        };
        // Nobody listening changes nothing.
        let _ = writeln!(io::stderr(), "{text}");
        if self.usage {
            return ExitCode::from(2);
        }
        if json {
            let mut event = json!({ "event": "failed", "error": message, "hint": hint });
            if !self.reason.is_empty() {
                event["reason"] = self.reason.into();
            }
            let _ = writeln!(io::stdout(), "{event}");
        }
        ExitCode::FAILURE
    }

    fn json(&self) -> Value {
        let mut error = json!({ "message": self.message, "hint": self.hint });
        if !self.reason.is_empty() {
            error["reason"] = self.reason.into();
        }
        json!({ "error": error })
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(&error, error.hint())
    }
}

/// Reports a command line that its parser refused, and gives the exit status. `text` is what the
/// parser has to say to people; its first paragraph is the message, the others are the hint.
#[must_use]
pub fn refused_usage(text: &str) -> ExitCode {
    if !wants_json(env::args_os()) {
        let _ = write!(io::stderr(), "{text}");
        return ExitCode::from(2);
    }
    let text = text.trim().trim_start_matches("error: ");
    let (message, hint) = text.split_once("\n\n").unwrap_or((text, ""));
    Failure::usage(message, hint).end(true)
}

/// Whether JSON was asked for, as far as that can be told from arguments that do not parse.
fn wants_json(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        if argument == "--output=json"
            || argument == "--output" && arguments.peek().is_some_and(|next| next == "json")
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_told_from_any_arguments() {
        let wanted = |arguments: &[&str]| wants_json(arguments.iter().map(OsString::from));
        assert!(wanted(&["x", "--output", "json"]));
        assert!(wanted(&["x", "--output=json", "--nonsense"]));
        assert!(wanted(&["x", "--output", "--output", "json"]));
        assert!(!wanted(&["x", "--output"]));
        assert!(!wanted(&["x", "--output", "text", "json"]));
        assert!(!wanted(&["x", "json"]));
    }
}
