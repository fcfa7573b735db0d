//! A project as JSON, as Ockam exports and imports it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use culvert_crypto::identity::Identity;
use culvert_node::store::database::Database;
use culvert_node::store::projects::Project;
use culvert_proto::multiaddr::MultiAddr;
use culvert_proto::ticket;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::find;
use crate::commands::identity_for_use;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

/// Longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// The members of Ockam's JSON that say something here; it has others.
#[derive(Debug, Deserialize, Serialize)]
struct Exported {
    id: String,
    name: String,
    /// Multiaddr of the project's node.
    access_route: String,
    /// Its identifier; only shown.
    #[serde(default)]
    identity: Option<String>,
    /// Its change history in hexadecimal digits.
    #[serde(default)]
    project_change_history: Option<String>,
    /// Multiaddr of the authority.
    authority_access_route: String,
    /// Change history of the authority in hexadecimal digits.
    authority_identity: String,
}

/// Prints a project so that another machine can import it.
pub(super) fn information(
    store: &Store,
    name: Option<&str>,
    output: Output,
) -> Result<(), Failure> {
    let project = find(&mut Database::open(store.home())?, name)?;
    let node = Identity::verify(&project.change_history, None);
    let exported = Exported {
        identity: node.ok().map(|node| node.identifier().to_string()),
        project_change_history: Some(hex::encode(&project.change_history)),
        authority_identity: hex::encode(&project.authority_history),
        id: project.id,
        name: project.name,
        access_route: project.route,
        authority_access_route: project.authority_route,
    };
    let value = json!(exported);
    output.print(format!("{value:#}"), &value);
    Ok(())
}

/// Stores a project that another machine printed. Nobody is a member by that.
pub(super) fn import(
    store: &Store,
    path: &Path,
    identity: &str,
    output: Output,
) -> Result<(), Failure> {
    let refused = |what: &dyn std::fmt::Display| {
        Failure::usage(
            format!("cannot import the project in {}: {what}", path.display()),
            "pass what `culvert-edge project information` or `ockam project information` printed",
        )
    };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map_err(|error| refused(&error))?;
    let given: Exported = serde_json::from_str(&text).map_err(|error| refused(&error))?;
    ticket::check_name(&given.name).map_err(|error| refused(&error))?;
    for route in [&given.access_route, &given.authority_access_route] {
        route
            .parse::<MultiAddr>()
            .map_err(|error| refused(&format!("the route {route}: {error}")))?;
    }
    let history = |digits: &str, what: &str| {
        let bytes = hex::decode(digits.trim()).map_err(|error| error.to_string());
        let identity = bytes
            .and_then(|bytes| Identity::verify(&bytes, None).map_err(|error| error.to_string()));
        identity.map_err(|error| refused(&format!("the change history of the {what}: {error}")))
    };
    let authority = history(&given.authority_identity, "authority")?;
    let node = match &given.project_change_history {
        Some(digits) => history(digits, "project")?,
        None => return Err(refused(&"project_change_history is missing")),
    };
    let mut database = Database::open(store.home())?;
    let other = database.project(&given.name)?;
    if other.is_some_and(|other| other.authority != authority.identifier()) {
        return Err(Failure::conflict(
            format!("there is another project '{}' here", given.name),
            format!("run `culvert-edge project delete {}` first", given.name),
        )
        .because("project_taken"));
    }
    let me = identity_for_use(store, identity)?;
    let project = Project {
        name: given.name,
        id: given.id,
        route: given.access_route,
        change_history: node.history().to_vec(),
        authority: authority.identifier(),
        authority_history: authority.history().to_vec(),
        authority_route: given.authority_access_route,
        identity: me.name,
    };
    database.save_project(&project)?;
    output.print(
        format!("imported the project '{}'", project.name),
        &json!({
            "project": project.name,
            "authority": project.authority.to_string(),
            "identity": project.identity,
        }),
    );
    Ok(())
}
