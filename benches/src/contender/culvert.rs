//! Culvert as it is set up by default.

use std::net::SocketAddr;

use culvert_tests::chain::{Chain, Relay};

use super::{Reach, Started};

pub(super) fn start(target: SocketAddr, reach: Reach<'_>) -> Started {
    let chain = Chain::with_relay(Relay::start(&[]), target, reach);
    let processes = vec![
        ("inlet edge", chain.inlet.process.id()),
        ("relay", chain.relay.process.id()),
        ("outlet edge", chain.outlet.process.id()),
    ];
    (chain.address(), processes, Box::new(chain))
}
