//! Direct paths over UDP, offered and opened as a node of the command line does.

use std::time::Duration;

use clap::Args;
use ockam::flow_control::FlowControlId;
use ockam::identity::{Identifier, SecureChannel, SecureChannelOptions};
use ockam::udp::{
    UDP, UdpPunctureNegotiation, UdpPunctureNegotiationListener,
    UdpPunctureNegotiationListenerOptions, UdpTransportExtension,
};
use ockam::{Address, Node, Result, Route, route};

use crate::{Allow, services};

/// Address of the worker that agrees on paths.
const NEGOTIATION: &str = "udp";
/// How long each step may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether to leave the relay.
#[derive(Debug, Args)]
pub struct Direct {
    /// UDP address of a rendezvous: use a direct path.
    #[arg(long, value_name = "IP:PORT")]
    rendezvous: Option<String>,
}

impl Direct {
    fn rendezvous(&self) -> Option<Route> {
        let at: Address = (UDP, self.rendezvous.clone()?).into();
        Some(route![at, "rendezvous"])
    }

    /// Offers direct paths to whoever has a channel with this flow control.
    pub async fn offer(&self, node: &Node, channels: &FlowControlId) -> Result<()> {
        let Some(rendezvous) = self.rendezvous() else {
            return Ok(());
        };
        let udp = node.create_udp_transport().await?;
        let options = UdpPunctureNegotiationListenerOptions::new().as_consumer(channels);
        let paths = options.flow_control_id();
        let context = node.context();
        UdpPunctureNegotiationListener::create(context, NEGOTIATION, &udp, rendezvous, options)?;
        let controls = node.flow_controls();
        controls.add_consumer(&services::API.into(), &paths);
        Ok(())
    }

    /// Makes a second channel at the end of `way` and moves it to a direct path; none when there is
    /// to be none.
    pub async fn open(
        &self,
        node: &Node,
        me: &Identifier,
        way: &Route,
        allow: &Allow,
    ) -> Result<Option<SecureChannel>> {
        let Some(rendezvous) = self.rendezvous() else {
            return Ok(None);
        };
        let udp = node.create_udp_transport().await?;
        let options = SecureChannelOptions::new().with_trust_policy(allow.policy());
        let channel = node
            .create_secure_channel(me, way.clone() + services::API, options)
            .await?;
        let mut path = UdpPunctureNegotiation::start_negotiation(
            node.context(),
            way.clone() + NEGOTIATION,
            &udp,
            rendezvous,
            LIMIT,
        )
        .await?;
        path.wait_for_puncture(LIMIT).await?;
        channel.update_remote_node_route(route![path.sender_address()])?;
        Ok(Some(channel))
    }
}
