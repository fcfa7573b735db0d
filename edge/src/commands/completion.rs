//! `culvert-edge completion` and `manpages`: the command line described for shells and for `man`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// Name of the program.
const PROGRAM: &str = "culvert-edge";

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell [default: that of SHELL]
    #[arg(value_enum, conflicts_with = "shell")]
    pub name: Option<Shell>,
    /// The same.
    #[arg(long, short, value_enum, hide = true)]
    pub shell: Option<Shell>,
}

/// Arguments of `manpages`.
#[derive(Debug, Args)]
pub struct ManpagesArgs {
    /// Directory for the pages; made when missing.
    #[arg(long, short, value_name = "DIR", default_value = "man1")]
    pub dir: PathBuf,
}

/// Prints what makes a shell complete commands.
///
/// # Errors
///
/// Wrong usage when it is not known for which shell.
pub fn completion(args: &CompletionArgs, output: Output) -> Result<(), Failure> {
    let shell = args.name.or(args.shell).or_else(Shell::from_env);
    let shell = shell.ok_or_else(|| {
        Failure::usage(
            "it is not said for which shell",
            "pass bash, elvish, fish, powershell or zsh",
        )
    })?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    match output {
        Output::Json => {
            let script = String::from_utf8_lossy(&script).into_owned();
            output.emit(&json!({ "shell": shell.to_string(), "script": script }));
        }
        // Nobody listening is no reason to fail.
        Output::Text => drop(io::stdout().write_all(&script)),
    }
    Ok(())
}

/// Writes a page for each command.
///
/// # Errors
///
/// When they cannot be written.
pub fn manpages(args: &ManpagesArgs, output: Output) -> Result<(), Failure> {
    let directory = args.dir.as_path();
    let failed = |error: io::Error| {
        Failure::new(
            format!("cannot write pages to {}: {error}", directory.display()),
            "name a directory of this user with --dir",
        )
    };
    fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
    let shown = directory.display().to_string();
    let text = format!("wrote the pages to {shown}: `man -l {shown}/{PROGRAM}.1`");
    output.print(text, &json!({ "directory": shown }));
    Ok(())
}
