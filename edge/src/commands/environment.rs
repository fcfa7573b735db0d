//! `culvert-edge environment`: the variables that are read, and what they are now.

use std::collections::BTreeMap;
use std::env;

use clap::{Command, CommandFactory};
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::output::Output;

/// Variables that are not those of an option: name, what it is, whether it is a secret.
const OTHERS: [(&str, &str, bool); 6] = [
    (
        "CULVERT_LOG",
        "What is logged: off, error, warn, info, debug or trace, or that of parts",
        false,
    ),
    (
        "CULVERT_PASSPHRASE",
        "Passphrase of an encrypted vault",
        true,
    ),
    (
        "CULVERT_NEW_PASSPHRASE",
        "New passphrase, for `vault move`",
        true,
    ),
    ("NO_COLOR", "No colours, whatever it is set to", false),
    (
        "XDG_STATE_HOME",
        "Directory whose `culvert` is the state directory unless CULVERT_HOME is set",
        false,
    ),
    ("SHELL", "Shell that `completion` is for", false),
];

/// Prints them.
pub fn run(output: Output) {
    let mut known = BTreeMap::new();
    for (name, what, secret) in OTHERS {
        known.insert(name.to_owned(), (what.to_owned(), secret));
    }
    of_options(&Cli::command(), &mut known);
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for (name, (what, secret)) in known {
        let value = env::var_os(&name).map(|value| match secret {
            true => "(set)".to_owned(),
            false => value.to_string_lossy().into_owned(),
        });
        let shown = value.clone().unwrap_or_else(|| "-".to_owned());
        rows.push(vec![name.clone(), shown, what.clone()]);
        all.push(json!({ "name": name, "value": value, "secret": secret, "help": what }));
    }
    output.table(&["NAME", "VALUE", "WHAT"], rows, &Value::Array(all));
}

/// The variables of a command's options, and of those below it.
fn of_options(command: &Command, known: &mut BTreeMap<String, (String, bool)>) {
    for argument in command.get_arguments() {
        let Some(name) = argument.get_env() else {
            continue;
        };
        let help = argument.get_help().map(ToString::to_string);
        let what = (help.unwrap_or_default(), argument.is_hide_env_values_set());
        known
            .entry(name.to_string_lossy().into_owned())
            .or_insert(what);
    }
    command
        .get_subcommands()
        .for_each(|below| of_options(below, known));
}
