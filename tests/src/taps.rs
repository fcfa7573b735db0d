//! A tap on each leg of a chain.

use std::net::SocketAddr;

use crate::tap::Tap;

/// For [`crate::chain::Chain::with_relay`]: puts a new tap in front of each address that is asked
/// for, and keeps them in that order: the outlet edge's leg, then the inlet edge's.
pub fn tapped(taps: &mut Vec<Tap>) -> impl FnMut(SocketAddr) -> SocketAddr {
    |target| {
        let tap = Tap::start(target);
        let address = tap.address();
        taps.push(tap);
        address
    }
}
