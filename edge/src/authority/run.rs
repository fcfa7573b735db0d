//! Running an authority in the foreground.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_crypto::channel::Endpoint;
use culvert_crypto::identity::Identity;
use culvert_crypto::trust::Trust;
use culvert_node::channel::{API, ChannelListener, Credentials};
use culvert_node::control;
use culvert_node::limits::Limits;
use culvert_node::node::{Node, NodeConfig};
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::worker::{ECHO, Echo, Worker};
use culvert_proto::authority::{MemberAttributes, Service, check_attributes};
use culvert_proto::multiaddr::MultiAddr;
use culvert_proto::ticket;
use serde_json::json;

use super::args::CreateArgs;
use super::client::{history_of, listener_of, on_node};
use super::desk::Desk;
use super::issuer::{Callers, CredentialIssuer};
use super::rules::Rules;
use super::store::{self, Described, Member};
use crate::commands::now_s;
use crate::endpoint::HostPort;
use crate::failure::Failure;
use crate::output::Output;
use crate::portal::{metrics_at, serve_metrics};
use crate::process;
use crate::route;
use crate::store::Store;

/// How long the relay may take to say who it is.
const LEARN: Duration = Duration::from_secs(10);
/// Largest file of trusted identities.
const LARGEST_FILE: u64 = 16 << 20;
/// Name of a project that was given none.
const DEFAULT_PROJECT: &str = "default";

/// Runs an authority until a signal.
///
/// # Errors
///
/// When it cannot start.
pub(super) fn create(store: &Store, args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let trusted = match &args.trusted_identities {
        Some(file) => trusted_identities(file)?,
        None => BTreeMap::new(),
    };
    let mut signals = process::end_signals()?;
    process::set_process_up();
    let stored = store.load_or_create(&args.identity, now_s())?;
    let (id, endpoint) = (stored.identifier(), stored.endpoint()?);
    let own_history = stored.identity.history().to_vec();
    let mut db = Database::open(store.home())?;
    let before = prepare(&mut db, id, trusted)?;
    let route = project_route(args, before.as_ref())?;
    let rules = Rules {
        authority: id,
        trust_context: (!args.disable_trust_context_id).then(|| {
            route
                .as_ref()
                .map_or_else(own_id, |route| super::project_id(&route.to_string()))
        }),
        enforce_admin_checks: args.enforce_admin_checks,
    };
    let callers = Callers::default();
    let issuer = CredentialIssuer::new(
        stored,
        callers.clone(),
        args.credential_ttl.as_secs(),
        now_s(),
    )
    .map_err(|error| {
        let hint = "check the clock of this machine, or create a new identity";
        Failure::new(
            format!("the identity cannot issue credentials: {error}"),
            hint,
        )
    })?;
    let desk = Desk::start(rules, Database::open(store.home())?, issuer)
        .map_err(|error| Failure::new(format!("cannot start a thread: {error}"), "try again"))?;
    let node = start(args, endpoint.clone(), callers, desk)?;
    let metrics = serve_metrics(args.metrics, &node)?;
    let address = node.address().unwrap_or(args.listen);
    let own_route = listener_of(&public(args, address)?);
    let project_history = match &route {
        None => own_history.clone(),
        Some(route) => project_history(args, &node, endpoint, route, before.as_ref())?,
    };
    let name = args
        .project
        .clone()
        .or_else(|| Some(before.as_ref()?.project_name.clone()));
    let described = Described {
        project_name: name.unwrap_or_else(|| DEFAULT_PROJECT.to_owned()),
        project_route: route.unwrap_or_else(|| own_route.clone()).to_string(),
        project_history,
        route: own_route.to_string(),
    };
    db.with("write", |db| store::describe(db, &id, &described))?;
    announce(
        &Announced {
            id,
            history: &own_history,
            described: &described,
            address,
            metrics: metrics.as_ref().and_then(metrics_at),
            driver: node.driver(),
        },
        output,
    );
    signals.forever().next();
    tracing::info!("ending");
    node.shutdown();
    Ok(())
}

/// Puts the members of the configuration in place; gives what tickets have said so far.
fn prepare(
    db: &mut Database,
    id: Identifier,
    trusted: BTreeMap<Identifier, MemberAttributes>,
) -> Result<Option<Described>, Failure> {
    let added_at = now_s();
    let members: Vec<Member> = trusted
        .into_iter()
        .map(|(identifier, attributes)| Member {
            identifier,
            attributes,
            added_by: id,
            added_at,
            pre_trusted: true,
        })
        .collect();
    Ok(db.with("write", |db| {
        let work = db.transaction()?;
        store::set_pre_trusted(&work, &id, &members)?;
        let before = store::described(&work, &id)?;
        work.commit()?;
        Ok(before)
    })?)
}

/// Reads members that need no ticket.
fn trusted_identities(given: &str) -> Result<BTreeMap<Identifier, MemberAttributes>, Failure> {
    let failed = |what: String| {
        let message = format!("cannot use {given}: {what}");
        let hint = "expected a JSON object like {\"I…\": {\"ockam-role\": \"enroller\"}}";
        Failure::usage(message, hint)
    };
    let text = match given.trim_start().starts_with('{') {
        true => given.to_owned(),
        false => {
            let length = std::fs::metadata(given).map_err(|error| failed(error.to_string()))?;
            if length.len() > LARGEST_FILE {
                return Err(failed("it is too large".into()));
            }
            std::fs::read_to_string(given).map_err(|error| failed(error.to_string()))?
        }
    };
    let read: BTreeMap<String, MemberAttributes> =
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let mut members = BTreeMap::new();
    for (identifier, attributes) in read {
        let who: Identifier = identifier
            .parse()
            .map_err(|error| failed(format!("'{identifier}': {error}")))?;
        check_attributes(&attributes).map_err(|error| failed(format!("{who}: {error}")))?;
        members.insert(who, attributes);
    }
    Ok(members)
}

/// Where the project's node is: as said now, or before; none if the authority itself is it.
fn project_route(
    args: &CreateArgs,
    before: Option<&Described>,
) -> Result<Option<MultiAddr>, Failure> {
    if let Some(route) = &args.project_route {
        if ticket::project_id(route).is_none() {
            return Err(Failure::usage(
                "--project-route has no /service/ part, which would be the project's id",
                "for example /dnsaddr/relay.example/tcp/4000/service/api",
            ));
        }
        return Ok(Some(route.clone()));
    }
    if let Some(relay) = &args.relay {
        return Ok(Some(listener_of(relay)));
    }
    Ok(before
        .filter(|before| before.project_route != before.route)
        .and_then(|before| before.project_route.parse().ok()))
}

/// The id of a project whose node is the authority.
fn own_id() -> String {
    String::from_utf8_lossy(API).into_owned()
}

fn public(args: &CreateArgs, address: SocketAddr) -> Result<HostPort, Failure> {
    match &args.public {
        Some(public) => Ok(public.clone()),
        None if address.ip().is_unspecified() => Err(Failure::usage(
            format!("tickets cannot say that the authority is at {address}"),
            "pass --public and the name or address that edges reach this machine by",
        )),
        None => Ok(HostPort {
            host: address.ip().to_string(),
            port: address.port(),
        }),
    }
}

/// Who the project's node is: as noted before, or asked now.
fn project_history(
    args: &CreateArgs,
    node: &Node,
    endpoint: Endpoint,
    route: &MultiAddr,
    before: Option<&Described>,
) -> Result<Vec<u8>, Failure> {
    let expected = args.relay_identity;
    if let Some(before) = before.filter(|before| before.project_route == route.to_string())
        && let Ok(known) = Identity::verify(&before.project_history, None)
        && expected.is_none_or(|expected| expected == known.identifier())
    {
        return Ok(before.project_history.clone());
    }
    let place =
        route::place(&route.to_string()).map_err(|error| Failure::usage(&error, error.hint()))?;
    let asked = on_node(node, async move |shard: &Shard| {
        history_of(shard, endpoint, &place, expected, LEARN).await
    })?;
    asked.map_err(|error| {
        Failure::new(
            format!("the relay does not say who it is: {error}"),
            "start the relay first, and check --relay and --relay-identity",
        )
    })
}

fn start(
    args: &CreateArgs,
    endpoint: Endpoint,
    callers: Callers,
    desk: Desk,
) -> Result<Node, Failure> {
    let config = NodeConfig {
        shards: 1,
        listen: Some(args.listen),
        limits: Limits {
            memory: control::memory_for_messages(None),
            ..Limits::default()
        },
    };
    let mut services = vec![Service::CredentialIssuer];
    if !args.no_direct_authentication {
        services.push(Service::DirectAuthenticator);
    }
    if !args.no_token_enrollment {
        services.extend([Service::TokenIssuer, Service::TokenAcceptor]);
    }
    let set_up = move |shard: &Shard| {
        // Anybody may prove who they are; what they may do, the services decide.
        let credentials = Credentials::new(endpoint.clone(), Trust::Anyone, callers.clone());
        let channels = ChannelListener::new(credentials, shard.accepted_channels_flow());
        let workers: [(&[u8], Rc<dyn Worker>); 2] =
            [(API, Rc::new(channels)), (ECHO, Rc::new(Echo))];
        for (name, worker) in workers {
            match shard.add_named(name, worker) {
                Ok(address) if name == API => shard.open_to_all(address.key),
                Ok(address) => shard.open_to_channels(address.key),
                Err(reason) => tracing::error!(%reason, "a service could not be started"),
            }
        }
        if let Err(reason) = desk.serve(shard, &services) {
            tracing::error!(%reason, "a service could not be started");
        }
    };
    Node::start(&config, set_up).map_err(|error| {
        let hint = "choose another --listen; `ulimit -l` shows the limit of locked memory";
        Failure::new(format!("cannot start: {error}"), hint)
    })
}

/// What others need to know.
struct Announced<'a> {
    id: Identifier,
    history: &'a [u8],
    described: &'a Described,
    address: SocketAddr,
    metrics: Option<String>,
    driver: &'a str,
}

fn announce(what: &Announced<'_>, output: Output) {
    let Announced {
        id,
        described,
        address,
        ..
    } = what;
    let history = hex::encode(what.history);
    let project = &described.project_name;
    output.print(
        format!(
            "authority of the project '{project}' as {id} on {address}\n\
             route: {}\nproject's node: {}\nchange history, for those who believe it: {history}",
            described.route, described.project_route
        ),
        &json!({
            "event": "listening",
            "role": "authority",
            "address": address.to_string(),
            "identifier": id.to_string(),
            "change_history": history,
            "route": described.route,
            "project": project,
            "project_id": super::project_id(&described.project_route),
            "project_route": described.project_route,
            "project_change_history": hex::encode(&described.project_history),
            "driver": what.driver,
            "metrics": what.metrics,
        }),
    );
}
