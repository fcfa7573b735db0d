//! The OpenAPI document: made from the types and handlers, so that it says what they do.

use axum::Json;
use culvert_manage::problem::{Kind, Problem};
use utoipa::OpenApi;
use utoipa::openapi::{ContentBuilder, OpenApi as Described, Ref, RefOr, ResponseBuilder, Schema};

use super::answers::Refused;
use super::{
    VERSION, config, credentials, events, identities, members, messages, node, policies, relays,
    secure_channels, tcp_connections, tcp_inlets, tcp_listeners, tcp_outlets, tickets,
};

/// What all of them have in common.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Management API of culvert-edge",
        description = "Everything that a node has, made, shown, changed and deleted.\n\nThe node \
            serves this on a Unix socket of its own and, where it was told to, on TCP with a bearer \
            token. All bodies are JSON in kebab-case. What a node shows may get more fields within \
            version 1; fields that it does not know it refuses.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem, Kind)),
    tags(
        (name = "node", description = "The node itself"),
        (name = "tcp-inlets", description = "TCP ports of this machine that lead to outlets"),
        (name = "tcp-outlets", description = "TCP services that allowed peers reach"),
        (name = "relays", description = "Names that the node holds at relays"),
        (name = "secure-channels", description = "Secure channels that are kept up"),
        (name = "tcp-listeners", description = "Addresses that other nodes can connect to"),
        (name = "tcp-connections", description = "Connections to other nodes that are kept up"),
        (name = "policies", description = "Who may use what"),
        (name = "identities", description = "Identities of the state directory"),
        (name = "projects", description = "Membership: projects, credentials, tickets, members"),
        (name = "messages", description = "Messages to other nodes"),
        (name = "config", description = "Configurations: applied as a whole, only what differs"),
    )
)]
struct Common;

/// The document, version 3.1 of OpenAPI.
#[must_use]
pub fn document() -> Described {
    let mut common = Common::openapi();
    VERSION.clone_into(&mut common.info.version);
    let mut all = [
        node::Document::openapi(),
        tcp_inlets::Document::openapi(),
        tcp_outlets::Document::openapi(),
        relays::Document::openapi(),
        secure_channels::Document::openapi(),
        tcp_listeners::Document::openapi(),
        tcp_connections::Document::openapi(),
        policies::Document::openapi(),
        identities::Document::openapi(),
        credentials::Document::openapi(),
        tickets::Document::openapi(),
        members::Document::openapi(),
        messages::Document::openapi(),
        events::Document::openapi(),
        config::Document::openapi(),
    ]
    .into_iter()
    .fold(common, |all, one| all.nest("/v1", one));
    let components = all.components.get_or_insert_default();
    for (_, name, description) in Refused::ALL {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
        let refused = ResponseBuilder::new()
            .description(description)
            .content("application/json", problem.build());
        components
            .responses
            .insert(name.to_owned(), refused.build().into());
    }
    // Views are a spec and more: with this nothing would be a view. Requests with fields that are
    // not known are refused all the same.
    for schema in components.schemas.values_mut() {
        if let RefOr::T(Schema::Object(object)) = schema {
            object.additional_properties = None;
        }
    }
    all
}

pub(super) async fn show() -> Json<Described> {
    Json(document())
}
