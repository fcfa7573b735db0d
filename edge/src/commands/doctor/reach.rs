//! Projects: whether their relays and authorities answer and are who they should be, and whether what
//! they say about this machine is still valid.

use std::collections::BTreeMap;
use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_crypto::credential::{self, CredentialError};
use culvert_crypto::identity::{Histories, Identity};
use culvert_crypto::purpose_key::PurposeKeyError;
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::store::projects::Project;

use super::{DoctorArgs, Findings};
use crate::authority::client::{Client, history_of};
use crate::commands::now_s;
use crate::duration::roughly;
use crate::failure::Failure;
use crate::route;
use crate::store::Store;

pub(super) fn projects(store: &Store, args: &DoctorArgs, found: &mut Findings) {
    let projects = Database::open(store.home()).and_then(|mut db| db.projects());
    let projects = match projects {
        Ok(projects) => projects,
        Err(error) => return found.failed("projects", error),
    };
    for project in &projects {
        credential_of(store, project, found);
        if !args.offline {
            let node = Identity::verify(&project.change_history, None);
            let node = node.ok().map(|node| node.identifier());
            let relay = ("relay", project.route.as_str(), node);
            let authority = (
                "authority",
                project.authority_route.as_str(),
                Some(project.authority),
            );
            for (kind, route, expected) in [relay, authority] {
                let what = format!("{kind} of project {}", project.name);
                match reach(store, project, route, expected, args.timeout) {
                    Ok(()) => found.fine(what, format!("{route} answers and is who it should be")),
                    Err(failure) => found.failed(what, failure),
                }
            }
        }
    }
}

fn credential_of(store: &Store, project: &Project, found: &mut Findings) {
    let what = format!("credential of project {}", project.name);
    let stored = store.entry(&project.identity).and_then(|entry| {
        let me = entry.identifier();
        let mut database = Database::open(store.home())?;
        Ok((me, database.credential(&me, &project.authority)?))
    });
    let (me, stored) = match stored {
        Ok((me, Some(stored))) => (me, stored),
        Ok((_, None)) => {
            let hint = "enroll with `culvert-edge project enroll TICKET`; nodes of this project ask \
                        for one when they start";
            return found.notice(what, "there is none", hint);
        }
        Err(error) => return found.failed(what, error),
    };
    let (issuers, mut known) = ([project.authority], BTreeMap::new());
    known.put(&project.authority, &project.authority_history);
    let now = now_s();
    match credential::verify(&stored.encoded, Some(&me), &issuers, &known, now) {
        Ok(verified) => {
            let left = roughly(verified.expires_at.saturating_sub(now));
            found.fine(what, format!("valid for {left}"));
        }
        Err(error) => {
            let is_clock = matches!(
                error,
                CredentialError::FromTheFuture
                    | CredentialError::PurposeKey(PurposeKeyError::FromTheFuture)
            );
            let hint = match is_clock {
                true => "the clock of this machine is behind that of the authority: set it",
                false => "start a node of this project, which gets a new one, or enroll again",
            };
            found.wrong(what, format!("it is not valid: {error}"), hint);
        }
    }
}

/// Connects, and makes a secure channel.
fn reach(
    store: &Store,
    project: &Project,
    route: &str,
    expected: Option<Identifier>,
    limit: Duration,
) -> Result<(), Failure> {
    let unreadable = |error: route::RouteError| {
        Failure::new(
            format!("the route {route} cannot be used: {error}"),
            "enroll again",
        )
    };
    let place = route::place(route).map_err(unreadable)?;
    let endpoint = store.load(&project.identity)?.endpoint()?;
    let client = Client::start()?;
    let asked = client
        .run(async move |shard: &Shard| history_of(shard, endpoint, &place, expected, limit).await);
    client.end();
    asked?.map(drop).map_err(|error| {
        let hint =
            "check that it runs, that this machine can connect to it, and the clocks of both";
        Failure::unavailable(error, hint)
    })
}
