//! What goes to stdout: data and events.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// Form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    #[value(alias = "plain")]
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

    /// Prints a list: a table for people, which is empty but for its head when there is nothing, and the
    /// whole as one array for programs.
    pub fn table(self, head: &[&str], rows: Vec<Vec<String>>, values: &Value) {
        self.print(table(head, rows, in_colour()), values);
    }

    /// Prints one thing: a line for each of its members for people, the object for programs.
    pub fn card(self, lines: &[(&str, String)], value: &Value) {
        let width = lines.iter().map(|(name, _)| name.chars().count()).max();
        let width = width.unwrap_or_default();
        let lines: Vec<String> = lines
            .iter()
            .map(|(name, text)| format!("{name:width$}  {text}"))
            .collect();
        self.print(lines.join("\n"), value);
    }
}

/// Whether results may have colours: at a terminal, unless NO_COLOR is set to anything but nothing.
fn in_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && io::stdout().is_terminal()
}

/// Columns of one width each, two blanks between them, none at the ends of lines.
fn table(head: &[&str], rows: Vec<Vec<String>>, colour: bool) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head)
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines = text.lines().map(str::trim_end).enumerate();
    let lines = lines.map(|(number, line)| match (colour, number) {
        (true, 0) => format!("\x1b[1m{line}\x1b[0m"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let rows = vec![
            vec![
                "a".to_owned(),
                "longer than the head".to_owned(),
                "up".to_owned(),
            ],
            vec!["the name".to_owned(), String::new(), "down".to_owned()],
        ];
        let expected = "NAME      TO                    STATE\n\
                        a         longer than the head  up\n\
                        the name                        down";
        assert_eq!(table(&["NAME", "TO", "STATE"], rows, false), expected);
        assert_eq!(table(&["A", "B"], Vec::new(), false), "A  B");
        assert_eq!(table(&["A", "B"], Vec::new(), true), "\x1b[1mA  B\x1b[0m");
    }
}
