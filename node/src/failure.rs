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
    /// Exit status, from 1 to 6: see [`Failure::because_of`].
    pub status: u8,
    /// What sort of failure it is, in the words of the management API: one for each status or more.
    pub kind: &'static str,
    /// What programs tell it from others by; may be empty.
    pub reason: &'static str,
}

impl Failure {
    /// A runtime error: the process exits with 1.
    pub fn new(message: impl Display, hint: impl Display) -> Self {
        Self {
            message: message.to_string(),
            hint: hint.to_string(),
            status: 1,
            kind: "failed",
            reason: "",
        }
    }

    /// The same, of another sort: 2 wrong usage, 3 denied, 4 no such thing, 5 there already or taken,
    /// 6 not running, unreachable or too late.
    #[must_use]
    pub fn because_of(self, status: u8, kind: &'static str) -> Self {
        Self {
            status,
            kind,
            ..self
        }
    }

    /// Whether it was asked for something that makes no sense.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.status == 2
    }

    /// There is nothing of this name: the process exits with 4.
    pub fn not_found(message: impl Display, hint: impl Display) -> Self {
        Self::new(message, hint).because_of(4, "not-found")
    }

    /// It is there already, or what it needs is taken: the process exits with 5.
    pub fn conflict(message: impl Display, hint: impl Display) -> Self {
        Self::new(message, hint).because_of(5, "conflict")
    }

    /// Whom it takes does not run or does not answer: the process exits with 6.
    pub fn unavailable(message: impl Display, hint: impl Display) -> Self {
        Self::new(message, hint).because_of(6, "unavailable")
    }

    /// The same, with a word that programs tell it from others by.
    #[must_use]
    pub fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// Wrong usage: the process exits with 2.
    pub fn usage(message: impl Display, hint: impl Display) -> Self {
        Self::new(message, hint).because_of(2, "invalid")
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
        if json && !self.is_usage() {
            let mut event = json!({ "event": "failed", "error": message, "hint": hint });
            event["kind"] = self.kind.into();
            if !self.reason.is_empty() {
                event["reason"] = self.reason.into();
            }
            let _ = writeln!(io::stdout(), "{event}");
        }
        ExitCode::from(self.status)
    }

    fn json(&self) -> Value {
        let mut error = json!({ "kind": self.kind, "message": self.message, "hint": self.hint });
        if !self.reason.is_empty() {
            error["reason"] = self.reason.into();
        }
        json!({ "error": error })
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = Self::new(&error, error.hint());
        match error {
            StoreError::Missing { .. } | StoreError::MissingVault { .. } => {
                failure.because_of(4, "not-found")
            }
            StoreError::Exists(_) | StoreError::VaultExists(_) => failure.because_of(5, "conflict"),
            _ => failure,
        }
    }
}

/// Reports a command line that its parser refused, and gives the exit status. `text` is what the
/// parser has to say to people.
#[must_use]
pub fn refused_usage(text: &str) -> ExitCode {
    if !wants_json(env::args_os()) {
        let _ = write!(io::stderr(), "{text}");
        return ExitCode::from(2);
    }
    let (message, hint) = in_short(text);
    Failure::usage(message, hint).end(true)
}

/// The first paragraph as the message, and of the others what to do next, each on one line.
fn in_short(text: &str) -> (String, String) {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.trim().split("\n\n");
    let message = one_line(paragraphs.next().unwrap_or_default());
    let mut lines = paragraphs.flat_map(str::lines).map(str::trim);
    let usage = lines.clone().find_map(|line| line.strip_prefix("Usage: "));
    let hint = match (lines.find_map(|line| line.strip_prefix("tip: ")), usage) {
        (Some(tip), _) => one_line(tip),
        (None, Some(usage)) => format!("it is used so: `{usage}`"),
        (None, None) => "`--help` says what can be given".to_owned(),
    };
    (message.trim_start_matches("error: ").to_owned(), hint)
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

    #[test]
    fn a_refused_command_line_is_said_on_one_line_each() {
        let tip = "error: unexpected argument '--form' found\n\n  tip: a similar argument exists: \
                   '--from'\n\nUsage: x --from <F>\n\nFor more information, try '--help'.\n";
        let usage = "error: the following required arguments were not provided:\n  --yes\n\n\
                     Usage: x --yes <NAME>\n\nFor more information, try '--help'.\n";
        let neither = "error: invalid value 'a' for '--b <B>'\n  [possible values: c, d]\n\n\
                       For more information, try '--help'.\n";
        for (text, message, hint) in [
            (
                tip,
                "unexpected argument '--form' found",
                "a similar argument exists: '--from'",
            ),
            (
                usage,
                "the following required arguments were not provided: --yes",
                "it is used so: `x --yes <NAME>`",
            ),
            (
                neither,
                "invalid value 'a' for '--b <B>' [possible values: c, d]",
                "`--help` says what can be given",
            ),
        ] {
            assert_eq!(in_short(text), (message.to_owned(), hint.to_owned()));
        }
    }
}
