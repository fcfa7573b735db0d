//! Making the node have what a configuration says.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use culvert_manage::config::Variables;
use culvert_manage::problem::Problem;
use culvert_node::store::database::Database;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use super::Api;
use super::answers::{Answer, Refused, ok, problem};
use super::given::{At, Given, kind, read};
use crate::config::{self, Machine};
use crate::daemon::Manager;
use crate::model::Differences;

/// What configurations add to the document.
#[derive(OpenApi)]
#[openapi(paths(apply, reload))]
pub(super) struct Document;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/{node}/config", post(apply))
        .route("/{node}/reload", post(reload))
}

/// A configuration to apply.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Wanted {
    /// The text of a configuration file, or the same as an object.
    #[schema(value_type = Object)]
    config: Value,
    /// Values for its variables. The environment of the node has none.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// What was done, or would be.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct Applied {
    #[serde(flatten)]
    differences: Differences,
    /// What is probably not meant.
    warnings: Vec<String>,
}

impl Wanted {
    fn text(&self) -> Result<String, Problem> {
        match &self.config {
            Value::String(text) => Ok(text.clone()),
            // It is YAML, too.
            object @ Value::Object(_) => Ok(object.to_string()),
            other => Err(Problem::invalid(
                format!("the field 'config' is {}", kind(other)),
                "send the text of a configuration file, or the same as an object",
            )),
        }
    }

    fn apply(self, manager: &Manager) -> Result<Applied, Problem> {
        let text = self.text()?;
        let mut db = Database::open(manager.store().home()).map_err(problem)?;
        let projects = db.projects().map_err(problem)?.into_iter();
        let machine = Machine {
            projects: projects.map(|project| project.name).collect(),
            policies: None,
        };
        let variables = Variables::without_environment(self.variables);
        let name = manager.name();
        let read = config::read("config", &text, name, &variables, Some(&machine))?;
        if read.desired.node.name != name {
            return Err(Problem::invalid(
                format!("this is the configuration of '{}'", read.desired.node.name),
                format!("send it to that node, or leave the name out; this is '{name}'"),
            ));
        }
        if read.ticket.is_some() {
            return Err(Problem::invalid(
                "a running node does not take a ticket from its configuration",
                "redeem it at tickets/enroll first, and leave it out",
            ));
        }
        let warnings = read.warnings.to_string();
        Ok(Applied {
            differences: manager.apply(&read.desired, self.dry_run)?,
            warnings: warnings.lines().map(ToOwned::to_owned).collect(),
        })
    }
}

/// Makes the node have what a configuration says. Of what it had only that goes which an earlier
/// configuration made; what does not differ is left alone.
#[utoipa::path(post, path = "/{node}/config", tag = "config", operation_id = "apply config",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    request_body = Wanted,
    responses((status = 200, description = "What differed", body = Applied), Refused))]
async fn apply(State(api): State<Api>, At(node): At<String>, given: Given) -> Answer {
    let wanted: Wanted = read(given.0)?;
    ok(api.work(&node, |manager| wanted.apply(manager)).await?)
}

/// Reads the file again that the node was started with, and applies what differs.
#[utoipa::path(post, path = "/{node}/reload", tag = "config", operation_id = "reload",
    params(("node" = String, Path, description = "Name of the node, or `self`")),
    responses((status = 200, description = "What differed", body = Differences), Refused))]
async fn reload(State(api): State<Api>, At(node): At<String>) -> Answer {
    ok(api.work(&node, Manager::reload).await?)
}
