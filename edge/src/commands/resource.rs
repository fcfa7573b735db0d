//! What all kinds of resources of a node have in common: they are created, listed, shown and deleted
//! in the same way.

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::at::{AtArgs, Running, escaped};
use crate::commands::now_s;
use crate::duration::{self, roughly};
use crate::failure::Failure;
use crate::moment;
use crate::output::Output;
use crate::store::Store;

/// Time between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// Which resource to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its name [default: the only one there is]
    pub name: Option<String>,
    /// Of which node.
    #[command(flatten)]
    pub at: AtArgs,
}

/// Which resources to delete.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Its name [default: the only one there is]
    #[arg(conflicts_with = "all")]
    pub name: Option<String>,
    /// Delete all of them.
    #[arg(long)]
    pub all: bool,
    /// Whether to ask first.
    #[command(flatten)]
    pub confirm: ConfirmArgs,
    /// Of which node.
    #[command(flatten)]
    pub at: AtArgs,
}

/// Whether to ask first.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ConfirmArgs {
    /// Do not ask. Without a terminal nobody is asked in any case.
    #[arg(long, short)]
    pub yes: bool,
}

impl ConfirmArgs {
    /// Asks whether to do something, where there is somebody to ask.
    ///
    /// # Errors
    ///
    /// When the answer is no.
    pub fn ask(&self, what: &str) -> Result<(), Failure> {
        let stdin = std::io::stdin();
        if self.yes || !stdin.is_terminal() || !std::io::stderr().is_terminal() {
            return Ok(());
        }
        let mut answer = String::new();
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{what}? [y/N] "));
        let _ = stdin.read_line(&mut answer);
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::new("nothing was done", "")),
        }
    }
}

/// How long to wait for something to work.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// How long to wait until it works. It is kept, and tried again, when it does not by then.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    #[arg(visible_alias = "connection-wait")]
    pub timeout: Duration,
    /// Do not wait until it works.
    #[arg(long)]
    pub no_connection_wait: bool,
}

/// A kind of resources.
pub struct Kind {
    /// What the API calls all of them.
    pub path: &'static str,
    /// What one is called.
    pub word: &'static str,
    /// Member that names one.
    pub id: &'static str,
    /// Columns of the list, and the members in them.
    pub columns: &'static [(&'static str, &'static str)],
}

impl Kind {
    fn of(&self, name: &str) -> String {
        format!("{}/{}", self.path, escaped(name))
    }

    /// Creates one, and waits until it works.
    ///
    /// # Errors
    ///
    /// What the node says. That it does not work is none: it is created.
    pub fn create(
        &self,
        node: &Running,
        spec: Value,
        wait: Option<&WaitArgs>,
    ) -> Result<Value, Failure> {
        let made = node.post(self.path, spec)?;
        match wait {
            Some(wait) if !wait.no_connection_wait => self.until_up(node, made, wait.timeout),
            _ => Ok(made),
        }
    }

    fn until_up(&self, node: &Running, made: Value, limit: Duration) -> Result<Value, Failure> {
        let until = Instant::now() + limit;
        let name = cell(&made, self.id);
        let waiting = Waiting::start(&format!("waiting for the {} '{name}'", self.word));
        let mut view = made;
        while cell(&view, "state") != "up" && Instant::now() < until {
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
            view = node.get(&self.of(&name))?;
        }
        waiting.end();
        if cell(&view, "state") != "up" {
            let word = self.word;
            let why = match view.get("reason").and_then(Value::as_str) {
                Some(reason) => format!(": {reason}"),
                None => String::new(),
            };
            tracing::warn!(
                "the {word} '{name}' does not work yet{why}; it is kept and tried again, see \
                 `culvert-edge {word} show {name}`"
            );
        }
        Ok(view)
    }

    /// Prints all of them.
    ///
    /// # Errors
    ///
    /// What the node says.
    pub fn list(&self, store: &Store, at: &AtArgs, output: Output) -> Result<(), Failure> {
        let all = at.open(store)?.get(self.path)?;
        let rows = all.as_array().into_iter().flatten();
        let rows = rows.map(|view| {
            let columns = self.columns.iter();
            columns.map(|(_, key)| cell(view, key)).collect()
        });
        let head: Vec<&str> = self.columns.iter().map(|(head, _)| *head).collect();
        output.table(&head, rows.collect(), &all);
        let down = |view: &&Value| cell(view, "state") == "down";
        for view in all.as_array().into_iter().flatten().filter(down) {
            let (name, why) = (cell(view, self.id), cell(view, "reason"));
            output.say(format!(
                "{name} is down: {why}; it is tried again all the time"
            ));
        }
        Ok(())
    }

    /// Prints one of them.
    ///
    /// # Errors
    ///
    /// What the node says.
    pub fn show(&self, store: &Store, args: &ShowArgs, output: Output) -> Result<(), Failure> {
        let node = args.at.open(store)?;
        let name = self.named(&node, args.name.as_deref())?;
        card(&node.get(&self.of(&name))?, output);
        Ok(())
    }

    /// Deletes one, or all.
    ///
    /// # Errors
    ///
    /// What the node says.
    pub fn delete(&self, store: &Store, args: &DeleteArgs, output: Output) -> Result<(), Failure> {
        let (node, word) = (args.at.open(store)?, self.word);
        let names = match args.all {
            true => self.names(&node)?,
            false => vec![self.named(&node, args.name.as_deref())?],
        };
        let question = match names.as_slice() {
            [one] => format!("delete the {word} '{one}'"),
            _ => format!("delete {} of kind {word}", names.len()),
        };
        args.confirm.ask(&question)?;
        for name in &names {
            node.delete(&self.of(name))?;
            output.say(format!("deleted the {word} '{name}'"));
        }
        output.emit(&json!({ "deleted": names }));
        Ok(())
    }

    fn names(&self, node: &Running) -> Result<Vec<String>, Failure> {
        let all = node.get(self.path)?;
        let all = all.as_array().into_iter().flatten();
        Ok(all.map(|view| cell(view, self.id)).collect())
    }

    /// The given name, or that of the only one.
    fn named(&self, node: &Running, name: Option<&str>) -> Result<String, Failure> {
        if let Some(name) = name {
            return Ok(name.to_owned());
        }
        let (word, mut names) = (self.word, self.names(node)?);
        match (names.pop(), names.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Failure::not_found(
                format!("node '{}' has no {word}", node.name),
                format!("make one with `culvert-edge {word} create`"),
            )),
            _ => Err(Failure::usage(
                format!("there are several of kind {word}"),
                format!("say which one; see `culvert-edge {word} list`"),
            )),
        }
    }
}

/// Prints one thing, member by member; for people times and durations as they write them.
pub fn card(view: &Value, output: Output) {
    let members = view.as_object().into_iter().flatten();
    let lines = members.filter(|(_, value)| !value.is_null());
    let now = now_s();
    let lines: Vec<_> = lines
        .map(|(name, value)| readable(name, value, now))
        .collect();
    output.card(&lines, view);
}

/// A member for people: its name, and its value with its unit.
fn readable<'a>(name: &'a str, value: &Value, now: u64) -> (&'a str, String) {
    let Some(number) = value.as_u64() else {
        return (name, plain(value));
    };
    if let Some(name) = name.strip_suffix("-ms") {
        return (name, roughly(number.div_ceil(1000)));
    }
    let is_time = name == "since" || name.ends_with("-at");
    match name {
        "drain" => (name, roughly(number)),
        _ if is_time => (name, moment::shown(number, now)),
        _ => (name, number.to_string()),
    }
}

/// A member as text for people; `-` where there is none. The state of something that does not work has
/// the reason behind it in lists, which is a member of its own.
#[must_use]
pub fn cell(view: &Value, key: &str) -> String {
    let keys = key.split('|');
    let mut found = keys.filter_map(|key| view.get(key).filter(|value| !value.is_null()));
    found.next().map_or_else(|| "-".to_owned(), plain)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) if all.is_empty() => "-".to_owned(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let pairs = members.iter();
            let pairs = pairs.map(|(name, value)| format!("{name}={}", plain(value)));
            pairs.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// A sign that something takes a while, for people at a terminal.
struct Waiting(Option<ProgressBar>);

impl Waiting {
    fn start(what: &str) -> Self {
        let wanted = std::io::stderr().is_terminal() && tracing::enabled!(tracing::Level::INFO);
        Self(wanted.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(LOOK);
            bar
        }))
    }

    fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_for_people() {
        let shown = |name, value: Value| readable(name, &value, 2000);
        for (name, value, expected) in [
            ("retry-in-ms", 1200, ("retry-in", "2 s")),
            ("drain", 10, ("drain", "10 s")),
            (
                "since",
                1820,
                ("since", "1970-01-01T00:30:20Z (3 min 0 s ago)"),
            ),
            ("added-at", 2000, ("added-at", "1970-01-01T00:33:20Z (now)")),
            ("streams", 1820, ("streams", "1820")),
        ] {
            let (expected, text) = expected;
            assert_eq!(shown(name, value.into()), (expected, text.to_owned()));
        }
        assert_eq!(shown("looked-at", "it".into()), ("looked-at", "it".into()));
    }
}
