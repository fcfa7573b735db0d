//! What a machine's user types and sees, compared with what it was before.
//!
//! A transcript has every command with its output for people and for programs, its errors and its exit
//! status. What differs from run to run is replaced first. The files are in `tests/snapshots`; run the
//! test with `CULVERT_SNAPSHOTS=write` to write them anew, and look at what changed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::chain::Edge;
use crate::{PATIENCE, bins};

/// Set to `write` to write the files anew.
const VARIABLE: &str = "CULVERT_SNAPSHOTS";
/// Members of JSON that differ from run to run.
const VARYING: [&str; 15] = [
    "pid",
    "since",
    "started-at",
    "at-ms",
    "driver",
    "change_history",
    "credential",
    "expires_at",
    "expires-at",
    "created_at",
    "key_expires_at",
    "valid_from",
    "valid_until",
    "added-at",
    "ticket",
];

/// A state directory, and what was typed and seen with it. Nodes that were started are ended with it.
pub struct Machine {
    home: TempDir,
    said: String,
    hidden: Vec<(String, String)>,
    identifiers: Vec<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// One with nothing on it.
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("cv-").tempdir();
        Self {
            home: home.expect("a state directory"),
            said: String::new(),
            hidden: [
                ("29 days", "a month"),
                ("30 days", "a month"),
                ("io_uring", "<driver>"),
            ]
            .map(|(text, shown)| (text.to_owned(), shown.to_owned()))
            .to_vec(),
            identifiers: Vec::new(),
        }
    }

    /// Its state directory, which may not be there yet.
    pub fn home(&self) -> PathBuf {
        self.home.path().join("home")
    }

    /// A directory beside it that is removed with it.
    pub fn beside(&self) -> &Path {
        self.home.path()
    }

    /// Shows a text as something else.
    pub fn hide(&mut self, text: impl ToString, shown: &str) {
        self.hidden.push((text.to_string(), shown.to_owned()));
    }

    fn output(&self, arguments: &[String]) -> Output {
        Edge::command(&self.home())
            .env("CULVERT_LOG", "off")
            .args(arguments)
            .output(PATIENCE)
    }

    /// Runs a command as it is typed after `culvert-edge`, which has to exit so. What it printed.
    ///
    /// # Panics
    /// When it exits otherwise.
    pub fn exits(&mut self, code: i32, line: &str) -> String {
        let output = self.output(&words(line));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{line}\n{said}{errors}");
        let typed = self.plain(line);
        let _ = writeln!(self.said, "$ culvert-edge {typed}");
        for part in [&said, &errors] {
            let shown = match serde_json::from_str::<Value>(part) {
                Ok(value) => format!("{}\n", self.of_json(value)),
                Err(_) => self.of_text(part),
            };
            self.said.push_str(&shown);
        }
        if code != 0 {
            let _ = writeln!(self.said, "[exit status {code}]");
        }
        self.said.push('\n');
        said.trim_end().to_owned()
    }

    /// Runs a command that succeeds. What it printed.
    pub fn run(&mut self, line: &str) -> String {
        self.exits(0, line)
    }

    /// Runs a command that succeeds; what it printed as JSON.
    ///
    /// # Panics
    /// When that is no JSON.
    pub fn json(&mut self, line: &str) -> Value {
        let said = self.run(&format!("{line} --output json"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{line}: {error} in {said}"))
    }

    /// Runs a command that changes nothing, for people and for programs.
    pub fn both(&mut self, line: &str) -> Value {
        self.run(line);
        self.json(line)
    }

    /// Runs a command that fails so, for people and for programs.
    pub fn fails(&mut self, code: i32, line: &str) {
        self.exits(code, line);
        self.exits(code, &format!("{line} --output json"));
    }

    /// Compares everything with the file of this name.
    ///
    /// # Panics
    /// When it differs.
    pub fn check(&self, name: &str) {
        let directory = bins::project_root().join("tests/tests/snapshots");
        let path = directory.join(format!("{name}.txt"));
        if std::env::var_os(VARIABLE).is_some_and(|value| value == "write") {
            fs::write(&path, &self.said).expect("write a snapshot");
            return;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        for (number, (is, was)) in self.said.lines().zip(expected.lines()).enumerate() {
            assert_eq!(is, was, "line {} of {}", number + 1, path.display());
        }
        assert_eq!(
            self.said.lines().count(),
            expected.lines().count(),
            "{}",
            path.display()
        );
    }

    fn of_json(&mut self, mut value: Value) -> String {
        scrub(&mut value);
        self.of_text(&value.to_string())
    }

    /// A text with what varies replaced, and columns without their widths.
    fn of_text(&mut self, text: &str) -> String {
        let text = self.plain(text);
        let mut shown = String::new();
        for line in text.lines() {
            let indent = line.len() - line.trim_start().len();
            let columns = line
                .split("  ")
                .map(str::trim)
                .filter(|part| !part.is_empty());
            let mut columns: Vec<&str> = columns.collect();
            match columns.as_mut_slice() {
                ["retry-in", _] => continue,
                // A time has a date, with the digits of the year hidden, and how long ago it was.
                [_, time] if time.starts_with("<n>-") && time.ends_with(')') => *time = "<time>",
                // Ids of processes have any number of digits.
                ["pid", pid] | [_, "running", pid, ..] if is_number(pid) => *pid = "<n>",
                _ => {}
            }
            let columns = columns.join("  ");
            let _ = writeln!(shown, "{:indent$}{columns}", "");
        }
        shown
    }

    fn plain(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (hidden, shown) in &self.hidden {
            text = text.replace(hidden, shown);
        }
        let beside = self.home.path().display().to_string();
        let text = text.replace(&beside, "<dir>");
        let (mut plain, mut word) = (String::new(), String::new());
        for letter in text.chars().chain(['\n']) {
            if letter.is_ascii_alphanumeric() {
                word.push(letter);
            } else {
                plain.push_str(&self.of_word(&word));
                word.clear();
                plain.push(letter);
            }
        }
        plain.pop();
        plain
    }

    /// Identifiers by number, other long digits by what they are.
    fn of_word(&mut self, word: &str) -> String {
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_identifier = word.len() == 65 && word.strip_prefix('I').is_some_and(is_hex);
        if is_identifier {
            let known = self.identifiers.iter().position(|known| known == word);
            let number = known.unwrap_or_else(|| {
                self.identifiers.push(word.to_owned());
                self.identifiers.len() - 1
            });
            return format!("<I{}>", number + 1);
        }
        match word.len() {
            4.. if is_number(word) => "<n>".to_owned(),
            16.. if is_hex(word) => "<hex>".to_owned(),
            _ => word.to_owned(),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Replaces what varies in JSON by the name of its member.
fn scrub(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // It is not said while another attempt is being made.
            members.remove("retry-in-ms");
            for (name, value) in members {
                match VARYING.contains(&name.as_str()) && !value.is_null() {
                    true => *value = format!("<{name}>").into(),
                    false => scrub(value),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(scrub),
        _ => {}
    }
}

/// The words of a command line; quotes as in a shell.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (_, Some(open)) if letter == open => quote = None,
            (' ', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nodes in the background are not children of this process.
        let nodes = fs::read_dir(self.home().join("nodes"));
        for node in nodes.into_iter().flatten().flatten() {
            let lock = node.path().join("lock");
            let Ok(file) = fs::File::open(&lock) else {
                continue;
            };
            if file.try_lock().is_ok() {
                continue;
            }
            let pid = fs::read_to_string(&lock).unwrap_or_default();
            if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_a_shells() {
        let line = "policy create --expression '(= subject.a \"b c\")'  x ''";
        let expected = [
            "policy",
            "create",
            "--expression",
            "(= subject.a \"b c\")",
            "x",
            "",
        ];
        assert_eq!(words(line), expected);
    }

    #[test]
    fn what_varies_is_replaced() {
        let mut machine = Machine::new();
        let one = format!("I{}", "0a".repeat(32));
        let two = format!("I{}", "0b".repeat(32));
        let text = format!(
            "{two}  db   127.0.0.1:40123\n  {one} {two} {}",
            "ab".repeat(9)
        );
        let expected = "<I1>  db  127.0.0.1:<n>\n  <I2> <I1> <hex>\n";
        assert_eq!(machine.of_text(&text), expected);
        let value = serde_json::json!({ "pid": 17, "reason": null, "at-ms": null });
        let expected = "{\"at-ms\":null,\"pid\":\"<pid>\",\"reason\":null}\n";
        assert_eq!(machine.of_json(value), expected);
    }
}
