//! What `ockam authority create`, `ockam project enroll` and `ockam project ticket` do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use miette::{IntoDiagnostic as _, Result, miette};
use ockam::Context;
use ockam::identity::TimestampInSeconds;
use ockam::tcp::TcpTransport;
use ockam_api::CliState;
use ockam_api::authenticator::direct::{
    OCKAM_ROLE_ATTRIBUTE_ENROLLER_VALUE, OCKAM_ROLE_ATTRIBUTE_KEY,
};
use ockam_api::authenticator::enrollment_tokens::TokenIssuer as _;
use ockam_api::authenticator::{PreTrustedIdentities, PreTrustedIdentity};
use ockam_api::authority_node::{Authority, Configuration, start_node};
use ockam_api::cli_state::{EnrollmentTicket, ExportedEnrollmentTicket};
use ockam_api::config::lookup::InternetAddress;
use ockam_api::enroll::enrollment::Enrollment as _;
use ockam_api::nodes::{InMemoryNode, NodeManager};
use serde_json::json;

use crate::say;

/// How long a ticket is good for.
const LIFETIME: Duration = Duration::from_secs(600);

/// Runs an authority until it is ended, and makes tickets' codes for two uses each.
pub(crate) async fn run(ctx: &Context, state: &CliState, port: u16) -> Result<()> {
    let identity = state.get_or_create_default_named_identity().await?;
    let enroller = state.create_identity_with_name("enroller").await?;
    let role = (
        OCKAM_ROLE_ATTRIBUTE_KEY,
        OCKAM_ROLE_ATTRIBUTE_ENROLLER_VALUE,
    );
    let role = BTreeMap::from([(role.0.as_bytes().to_vec(), role.1.as_bytes().to_vec())]);
    let now = TimestampInSeconds(0);
    let trusted = PreTrustedIdentity::new(role, now, None, identity.identifier());
    let configuration = Configuration {
        identifier: identity.identifier(),
        database_configuration: state.database_configuration()?,
        project_identifier: "p-1".to_owned(),
        tcp_listener_address: InternetAddress::new(&format!("127.0.0.1:{port}"))
            .ok_or_else(|| miette!("no address"))?,
        secure_channel_listener_name: None,
        authenticator_name: None,
        trusted_identities: PreTrustedIdentities::new(BTreeMap::from([(
            enroller.identifier(),
            trusted,
        )])),
        no_direct_authentication: false,
        no_token_enrollment: false,
        okta: None,
        account_authority: None,
        enforce_admin_checks: false,
        disable_trust_context_id: false,
        telemetry_endpoint_url: None,
    };
    let authority = Authority::create(&configuration, None)
        .await
        .into_diagnostic()?;
    start_node(ctx, &configuration, authority.clone())
        .await
        .into_diagnostic()?;
    let route = format!("/ip4/127.0.0.1/tcp/{port}/service/api");
    let client = NodeManager::authority_node_client(
        TcpTransport::get_or_create(ctx).into_diagnostic()?,
        authority.secure_channels(),
        &identity.identifier(),
        &route.parse().into_diagnostic()?,
        &enroller.identifier(),
        None,
    )
    .await
    .into_diagnostic()?;
    let attributes = BTreeMap::from([("component".to_owned(), "db".to_owned())]);
    let code = client
        .create_token(ctx, attributes, Some(LIFETIME), Some(2))
        .await?;
    let history = state.get_identity(&identity.identifier()).await?;
    say(&json!({
        "event": "listening",
        "identifier": identity.identifier().to_string(),
        "change_history": history.export_as_string().into_diagnostic()?,
        "route": route,
        "code": String::from(&code),
    }));
    tokio::signal::ctrl_c().await.into_diagnostic()
}

/// Redeems a ticket, fetches the credential and verifies it; with `issue`, makes a ticket for others.
pub(crate) async fn enroll(
    ctx: &Context,
    state: &CliState,
    ticket: &str,
    issue: bool,
) -> Result<()> {
    let exported: ExportedEnrollmentTicket =
        ticket.parse().map_err(|error| miette!("{error:?}"))?;
    let ticket: EnrollmentTicket = exported.import().await?;
    let model = ticket.project()?;
    let project = state
        .projects()
        .import_and_store_project(model.clone())
        .await?;
    let node = Arc::new(InMemoryNode::start(ctx, state).await?);
    let client = node
        .create_authority_client_with_project(ctx, &project, None, true)
        .await?;
    let status = client.present_token(ctx, &ticket.one_time_code).await?;
    let credential = client.issue_credential(ctx).await?;
    let me = state
        .get_or_create_default_named_identity()
        .await?
        .identifier();
    let authority = project
        .authority_identifier()
        .ok_or_else(|| miette!("no authority"))?;
    let verified = node
        .secure_channels()
        .identities()
        .credentials()
        .credentials_verification()
        .verify_credential(Some(&me), &[authority], &credential)
        .await
        .into_diagnostic()?;
    let attributes = verified.credential_data.get_attributes_display();
    let mut event = json!({
        "event": "enrolled",
        "status": format!("{status:?}"),
        "identifier": me.to_string(),
        "project": model.name,
        "attributes": attributes,
    });
    if issue {
        let attributes = BTreeMap::from([("component".to_owned(), "web".to_owned())]);
        let code = client
            .create_token(ctx, attributes, Some(LIFETIME), Some(1))
            .await?;
        let ticket = EnrollmentTicket::new_from_project(code, &model).await?;
        let text = ticket.export()?.hex_encoded()?;
        event["ticket"] = text.into();
    }
    say(&event);
    Ok(())
}
