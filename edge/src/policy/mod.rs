//! Commands about policies: who may use a resource of this machine.
//!
//! Specification: `protocol/20-policies.md`.

mod check;
pub(crate) mod lint;
mod text;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use culvert_crypto::Identifier;
use culvert_node::store::database::Database;
use culvert_proto::policy::{Mode, Policy, Scope};
use serde_json::{Value, json};

use crate::cli::identifier;
use crate::commands::at::{Running, node_name};
use crate::commands::resource::ConfirmArgs;
use crate::failure::Failure;
use crate::given;
use crate::output::Output;
use crate::store::Store;

/// What the help of these commands ends with.
pub const AFTER_HELP: &str = "\
Policies are written in one of two notations:
  component=web and not trial
  (and (= subject.component \"web\") (not (= subject.trial \"true\")))
Attributes are those of the peer's credential. Only a policy that is true lets anybody in: a missing
attribute does not. A policy of one resource counts in place of the one for its type.

Exit status: 0 done or allowed, 1 runtime error, 2 wrong usage, 3 denied (`check` only).";

/// Exit status of `check` when the answer is no.
const DENIED: u8 = 3;

/// Say who may use a resource.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Set the policy of a resource or a type; it takes the place of an earlier one.
    Create(CreateArgs),
    /// List all policies.
    List(ListArgs),
    /// Show one policy.
    Show(OneArgs),
    /// Delete a policy.
    Delete(OneArgs),
    /// Decide as if somebody wanted to use a resource; exits with 3 if not allowed.
    #[command(after_help = AFTER_HELP)]
    Check(CheckArgs),
}

/// What a policy is for.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ScopeArgs {
    /// One resource, by the name of its outlet, inlet or service.
    #[arg(long, value_name = "NAME", value_parser = resource)]
    pub resource: Option<String>,
    /// All resources of a type: tcp-outlet, tcp-inlet, relay, secure-channel-listener.
    #[arg(long, value_name = "TYPE", value_parser = resource)]
    pub resource_type: Option<String>,
}

impl ScopeArgs {
    fn scope(&self) -> Scope {
        match (&self.resource, &self.resource_type) {
            (Some(name), _) => Scope::Name(name.clone()),
            (None, kind) => Scope::Type(kind.as_deref().unwrap_or_default().into()),
        }
    }
}

/// Only with a running node.
#[derive(Debug, Args)]
pub struct WithArgs {
    /// Do it only if this node runs. Policies are those of all nodes of the state directory.
    #[arg(long, value_name = "NODE", value_parser = node_name)]
    pub at: Option<String>,
}

impl WithArgs {
    fn check(&self, store: &Store) -> Result<(), Failure> {
        match &self.at {
            Some(name) => Running::open(store, Some(name))?.get("status").map(drop),
            None => Ok(()),
        }
    }
}

/// Arguments of `policy list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only the one of this resource.
    #[arg(value_parser = resource)]
    pub resource: Option<String>,
    /// Only with a running node.
    #[command(flatten)]
    pub with: WithArgs,
}

/// Arguments of `policy show` and `policy delete`.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// One resource, by the name of its outlet, inlet or service.
    #[arg(value_name = "RESOURCE", value_parser = resource)]
    #[arg(required_unless_present_any = ["resource", "resource_type"])]
    #[arg(conflicts_with_all = ["resource", "resource_type"])]
    pub name: Option<String>,
    /// The same.
    #[arg(long, value_name = "NAME", value_parser = resource, conflicts_with = "resource_type")]
    pub resource: Option<String>,
    /// All resources of a type.
    #[arg(long, value_name = "TYPE", value_parser = resource)]
    pub resource_type: Option<String>,
    /// Whether to ask before something is deleted.
    #[command(flatten)]
    pub confirm: ConfirmArgs,
    /// Only with a running node.
    #[command(flatten)]
    pub with: WithArgs,
}

impl OneArgs {
    fn scope(&self) -> Scope {
        match (
            self.name.as_ref().or(self.resource.as_ref()),
            &self.resource_type,
        ) {
            (Some(name), _) => Scope::Name(name.clone()),
            (None, kind) => Scope::Type(kind.as_deref().unwrap_or_default().into()),
        }
    }
}

/// Arguments of `policy create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What it is for.
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// The policy.
    #[arg(allow_hyphen_values = true, required_unless_present = "allow")]
    pub expression: Option<String>,
    /// The same.
    #[arg(long, visible_alias = "expression", value_name = "EXPRESSION")]
    #[arg(allow_hyphen_values = true, conflicts_with = "expression")]
    pub allow: Option<String>,
    /// Only with a running node.
    #[command(flatten)]
    pub with: WithArgs,
    /// Read the expression as Ockam does, where `notary` means `not ary`. It is decided as any other.
    #[arg(long)]
    pub compat: bool,
}

/// Arguments of `policy check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The policy to try; without it the stored one that counts for --resource and --resource-type.
    #[arg(allow_hyphen_values = true, required_unless_present_any = ["resource", "resource_type"])]
    pub expression: Option<String>,
    /// Name of the resource.
    #[arg(long, value_name = "NAME", value_parser = resource)]
    pub resource: Option<String>,
    /// Its type.
    #[arg(long, value_name = "TYPE", value_parser = resource)]
    pub resource_type: Option<String>,
    /// Read and decide the expression exactly as Ockam does.
    #[arg(long, requires = "expression")]
    pub compat: bool,
    /// Who wants to use it [default: the subject of --credential]
    #[arg(long, value_name = "IDENTIFIER", value_parser = identifier)]
    pub identifier: Option<Identifier>,
    /// An attribute of its credential; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = given::pair)]
    pub attribute: Vec<(String, String)>,
    /// Its credential, as hexadecimal text or a file. Verified only with --authority.
    #[arg(long, value_name = "HEX|FILE", conflicts_with = "attribute")]
    pub credential: Option<String>,
    /// Change history of the authority that must have issued the credential.
    #[arg(long, value_name = "HEX|FILE", requires = "credential")]
    pub authority: Option<String>,
    /// It has no credential, as without --attribute and --credential.
    #[arg(long, conflicts_with_all = ["attribute", "credential"])]
    pub no_credential: bool,
    /// There is no authority whose credentials would count.
    #[arg(long, conflicts_with_all = ["attribute", "credential", "no_credential"])]
    pub no_authority: bool,
    /// Show what each part of the policy comes to, and which part decided.
    #[arg(long)]
    pub explain: bool,
}

/// Runs a command about policies.
///
/// # Errors
///
/// What the store says; wrong usage for a text that is not a policy.
pub fn run(store: &Store, command: &PolicyCommand, output: Output) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::Create(args) => create(store, args, output)?,
        PolicyCommand::List(args) => list(store, args, output)?,
        PolicyCommand::Show(args) => {
            args.with.check(store)?;
            let scope = args.scope();
            let found = Database::open(store.home())?.policy(&scope)?;
            let text = found.ok_or_else(|| missing(&scope))?;
            output.print(&text, &describe(&scope, &text));
        }
        PolicyCommand::Delete(args) => {
            args.with.check(store)?;
            let scope = args.scope();
            args.confirm.ask(&format!("delete the policy of {scope}"))?;
            if !Database::open(store.home())?.delete_policy(&scope)? {
                return Err(missing(&scope));
            }
            output.print(
                format!("deleted the policy of {scope}"),
                &json!({ "deleted": columns(&scope) }),
            );
        }
        PolicyCommand::Check(args) => return check::run(store, args, output),
    }
    Ok(ExitCode::SUCCESS)
}

fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    if let Some(kind) = &args.scope.resource_type {
        lint::check_type(kind)?;
    }
    args.with.check(store)?;
    let written = args.expression.as_ref().or(args.allow.as_ref());
    let written = written.map_or("", String::as_str);
    let policy = if args.compat {
        let canonical = parse(written, Mode::Compat, output)?.canonical();
        Policy::parse(&canonical, Mode::Strict).map_err(|error| {
            Failure::usage(
                format!("Ockam reads this as `{canonical}`, which no policy here may say: {error}"),
                error.hint(),
            )
        })?
    } else {
        parse(written, Mode::Strict, output)?
    };
    let scope = args.scope.scope();
    if Database::open(store.home())?.set_policy(&scope, &policy)? {
        tracing::info!("replaced the policy of {scope}");
    }
    let text = policy.canonical();
    let warnings = lint::warnings(&policy, &scope);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let mut value = describe(&scope, &text);
    value["warnings"] = warnings.into();
    output.print(&text, &value);
    Ok(())
}

fn list(store: &Store, args: &ListArgs, output: Output) -> Result<(), Failure> {
    args.with.check(store)?;
    let mut policies = Database::open(store.home())?.policies()?;
    if let Some(wanted) = &args.resource {
        policies.retain(|(scope, _)| *scope == Scope::Name(wanted.clone()));
    }
    let rows = policies.iter().map(|(scope, text)| {
        let (kind, name) = match scope {
            Scope::Name(name) => ("resource", name.as_str()),
            Scope::Type(kind) => ("type", kind.as_str()),
        };
        [kind, name, text].map(str::to_owned).to_vec()
    });
    let all = policies.iter().map(|(scope, text)| describe(scope, text));
    output.table(
        &["OF", "NAME", "EXPRESSION"],
        rows.collect(),
        &all.collect(),
    );
    Ok(())
}

fn missing(scope: &Scope) -> Failure {
    Failure::not_found(
        format!("there is no policy of {scope}"),
        "`culvert-edge policy list` shows all of them",
    )
}

/// What a policy is for, as members of an object.
fn columns(scope: &Scope) -> Value {
    match scope {
        Scope::Name(name) => json!({ "resource": name }),
        Scope::Type(kind) => json!({ "resource_type": kind.as_str() }),
    }
}

fn describe(scope: &Scope, text: &str) -> Value {
    let mut described = columns(scope);
    described["expression"] = text.into();
    described
}

/// Reads a policy; a text that is none is wrong usage.
fn parse(written: &str, mode: Mode, output: Output) -> Result<Policy, Failure> {
    Policy::parse(written, mode).map_err(|error| {
        let message = match output {
            Output::Text => text::pointed(written, &error),
            Output::Json => error.to_string(),
        };
        Failure::usage(message, error.hint())
    })
}

/// Reads the name of a resource or a type.
fn resource(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || text.contains(char::is_control) {
        return Err("a name has 1 to 255 bytes and no control characters".into());
    }
    Ok(text.to_owned())
}
