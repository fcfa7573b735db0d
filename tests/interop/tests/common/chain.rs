//! The whole way: inlet, relay, outlet, in front of a service.

use std::fmt;
use std::net::{SocketAddr, TcpStream};

use culvert_tests::net::{self, connect};
use culvert_tests::process::Process;
use culvert_tests::service::Service;

use super::node::{Home, Kind, OckamHome, Registration, Relay};

/// Who plays what, and how.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    pub inlet: Kind,
    pub relay: Kind,
    pub outlet: Kind,
    pub registration: Registration,
    /// Type of the edges' primary keys: of the inlet's, of the outlet's.
    pub keys: [&'static str; 2],
}

impl Cast {
    /// Ed25519 keys.
    pub fn new(inlet: Kind, relay: Kind, outlet: Kind, registration: Registration) -> Self {
        Self {
            inlet,
            relay,
            outlet,
            registration,
            keys: ["ed25519", "ed25519"],
        }
    }

    /// Every combination of inlet, relay and outlet, registered over plain TCP.
    pub fn all() -> impl Iterator<Item = Self> {
        use Kind::{Culvert, Ockam};
        let both = [Culvert, Ockam];
        both.into_iter().flat_map(move |inlet| {
            both.into_iter().flat_map(move |relay| {
                both.into_iter()
                    .map(move |outlet| Self::new(inlet, relay, outlet, Registration::Plain))
            })
        })
    }
}

impl fmt::Display for Cast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} inlet ({}), {} relay, {} outlet ({}), registration {:?}",
            self.inlet, self.keys[0], self.relay, self.outlet, self.keys[1], self.registration
        )
    }
}

/// A running chain.
pub struct Chain {
    pub relay: Relay,
    pub inlet_home: Home,
    pub outlet_home: Home,
    pub inlet: Process,
    pub outlet: Process,
    /// An identity that is allowed at the outlet, for clients of its services.
    pub third: OckamHome,
    /// Where TCP clients connect.
    pub address: SocketAddr,
}

impl Chain {
    /// Starts everything and waits until connections can be made.
    pub fn start(cast: Cast, to: SocketAddr) -> Self {
        let relay = Relay::start(cast.relay);
        let inlet_home = Home::new(cast.inlet, cast.keys[0]);
        let outlet_home = Home::new(cast.outlet, cast.keys[1]);
        let third = OckamHome::new("ed25519");
        let allowed = [inlet_home.identifier(), &third.identifier];
        let outlet = outlet_home.outlet(relay.address(), to, &allowed, cast.registration);
        let (inlet, address) = inlet_home.inlet(relay.address(), &[outlet_home.identifier()]);
        Self {
            relay,
            inlet_home,
            outlet_home,
            inlet,
            outlet,
            third,
            address,
        }
    }

    /// The same in front of a service that sends back what it gets.
    pub fn echoing(cast: Cast) -> (Service, Self) {
        let service = Service::echo();
        let chain = Self::start(cast, service.address());
        (service, chain)
    }

    /// A client's connection to such a service that has carried something already.
    pub fn client(&self) -> TcpStream {
        let mut client = connect(self.address);
        net::echo(&mut client, b"hello").expect("an echo");
        client
    }
}
