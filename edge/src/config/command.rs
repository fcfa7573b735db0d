//! `culvert-edge check`: what is wrong with a configuration, without using it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use culvert_manage::config::{Finding, Findings, Severity};
use serde_json::{Value, json};

use super::source::{Source, VariableArgs};
use crate::failure::Failure;
use crate::model::Desired;
use crate::output::Output;
use crate::store::Store;

/// What the help of `check` ends with.
pub const AFTER_HELP: &str = "\
Everything that is wrong is named by line and column:
  edge.yaml:12:5: unknown key 'form' in tcp-inlets.web, did you mean 'from'?
Warnings do not make a file invalid. docs/configuration.md has all keys.

Exit status: 0 valid, 2 not valid, 4 there is no such file, 1 it cannot be read.";

/// Exit status of `check` for a file that cannot be used.
const INVALID: u8 = 2;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file, or - for standard input.
    pub file: PathBuf,
    /// Variables of the file.
    #[command(flatten)]
    pub variables: VariableArgs,
}

/// Checks a file, and prints what is wrong with it.
///
/// # Errors
///
/// A file that cannot be read.
pub fn run(store: &Store, args: &CheckArgs, output: Output) -> Result<ExitCode, Failure> {
    let source = Source::file(args.file.clone(), &args.variables).map_err(Failure::from)?;
    let (findings, desired) = match source.findings(Some(store)).map_err(Failure::from)? {
        Ok(configuration) => (configuration.warnings, Some(configuration.desired)),
        Err(findings) => (findings, None),
    };
    let mut lines: Vec<String> = findings.to_string().lines().map(str::to_owned).collect();
    match &desired {
        Some(desired) => lines.push(format!("{}: valid: {}", findings.file, described(desired))),
        None => lines.push(format!(
            "{}: not valid: {}",
            findings.file,
            counted(&findings)
        )),
    }
    output.print(lines.join("\n"), &as_json(&findings, desired.is_some()));
    Ok(match desired {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(INVALID),
    })
}

fn as_json(findings: &Findings, valid: bool) -> Value {
    let list: Vec<&Finding> = findings.findings.iter().collect();
    json!({ "file": findings.file, "valid": valid, "findings": list })
}

fn counted(findings: &Findings) -> String {
    let errors = findings.findings.iter();
    let errors = errors
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    let warnings = findings.findings.len() - errors;
    match warnings {
        0 => several(errors, "error"),
        _ => format!(
            "{}, {}",
            several(errors, "error"),
            several(warnings, "warning")
        ),
    }
}

/// What a file has, in short.
fn described(desired: &Desired) -> String {
    let counts = [
        (desired.policies.len(), "policy"),
        (desired.tcp_listeners.len(), "tcp-listener"),
        (desired.tcp_connections.len(), "tcp-connection"),
        (desired.secure_channels.len(), "secure-channel"),
        (desired.relays.len(), "relay"),
        (desired.tcp_outlets.len(), "tcp-outlet"),
        (desired.tcp_inlets.len(), "tcp-inlet"),
    ];
    let present = counts.iter().filter(|(count, _)| *count > 0);
    let mut parts = vec![format!("node '{}'", desired.node.name)];
    parts.extend(present.map(|(count, word)| several(*count, word)));
    parts.join(", ")
}

fn several(count: usize, word: &str) -> String {
    match (count, word.strip_suffix('y')) {
        (1, _) => format!("1 {word}"),
        (_, Some(stem)) if !stem.ends_with('a') => format!("{count} {stem}ies"),
        _ => format!("{count} {word}s"),
    }
}
