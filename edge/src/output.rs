//! What goes to stdout: data and events.

use std::io::{self, Write};

use serde_json::Value;

/// Form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Output {
    /// Prints one result or event: `text` for people, `value` for programs. Nobody listening is no
    /// reason to stop.
    pub fn print(self, text: impl AsRef<str>, value: &Value) {
        let mut stdout = io::stdout().lock();
        let _ = match self {
            Self::Text => writeln!(stdout, "{}", text.as_ref()),
            Self::Json => writeln!(stdout, "{value}"),
        };
        let _ = stdout.flush();
    }

    /// Prints text for people only.
    pub fn say(self, text: impl AsRef<str>) {
        if self == Self::Text {
            self.print(text, &Value::Null);
        }
    }

    /// Prints an event for programs only.
    pub fn emit(self, value: &Value) {
        if self == Self::Json {
            self.print("", value);
        }
    }
}
