//! `culvert-edge doctor`: what is wrong on this machine, and what to do about it.

mod host;
mod reach;
mod state;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::duration;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How long each relay and authority may take to answer.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    pub timeout: Duration,
    /// Look at this machine only: ask no relay and no authority.
    #[arg(long)]
    pub offline: bool,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Fine,
    /// It works, but somebody should know.
    Notice,
    /// It keeps something from working.
    Wrong,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Notice => "notice",
            Self::Wrong => "wrong",
        }
    }
}

/// What was looked at, how it is, and what to do.
struct Finding {
    what: String,
    verdict: Verdict,
    message: String,
    hint: String,
}

/// Everything that was found.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, what: impl ToString, message: impl ToString) {
        self.add(what, Verdict::Fine, message, "");
    }

    fn notice(&mut self, what: impl ToString, message: impl ToString, hint: impl ToString) {
        self.add(what, Verdict::Notice, message, hint);
    }

    fn wrong(&mut self, what: impl ToString, message: impl ToString, hint: impl ToString) {
        self.add(what, Verdict::Wrong, message, hint);
    }

    /// What a failure says.
    fn failed(&mut self, what: impl ToString, failure: impl Into<Failure>) {
        let failure = failure.into();
        self.wrong(what, failure.message, failure.hint);
    }

    fn add(
        &mut self,
        what: impl ToString,
        verdict: Verdict,
        message: impl ToString,
        hint: impl ToString,
    ) {
        self.0.push(Finding {
            what: what.to_string(),
            verdict,
            message: message.to_string(),
            hint: hint.to_string(),
        });
    }
}

/// Looks at everything, and exits with 1 if something is wrong.
///
/// # Errors
///
/// None: what cannot be looked at is wrong.
pub fn run(store: &Store, args: &DoctorArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut found = Findings::default();
    host::clock(&mut found);
    host::driver(&mut found);
    host::limits(&mut found);
    if state::directory(store, &mut found) {
        state::database(store, &mut found);
        state::identities(store, &mut found);
        state::policies(store, &mut found);
        state::nodes(store, &mut found);
        reach::projects(store, args, &mut found);
    }
    let is_well = found.0.iter().all(|one| one.verdict != Verdict::Wrong);
    for one in &found.0 {
        output.say(format!(
            "{:<6}  {}: {}",
            one.verdict.word(),
            one.what,
            one.message
        ));
        if !one.hint.is_empty() {
            output.say(format!("        -> {}", one.hint));
        }
    }
    output.emit(&json!({
        "ok": is_well,
        "checks": found.0.iter().map(described).collect::<Vec<_>>(),
    }));
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn described(one: &Finding) -> Value {
    json!({
        "check": one.what,
        "state": one.verdict.word(),
        "message": one.message,
        "hint": one.hint,
    })
}
