//! Asking a plain owner of a name whether it is still there.
//!
//! A node that registered without a secure channel can prove nothing later, so its name is its
//! connection's: it keeps it as long as it answers.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use culvert_node::key::LocalAddress;
use culvert_node::packet::Packet;
use culvert_node::shard::Shard;
use culvert_node::worker::{ECHO, Outcome, Worker};
use culvert_proto::address::AddressRef;

use crate::forwarder::Asked;
use crate::registry::Member;

/// How long an owner may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the answer is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// Takes the answer.
struct Ear {
    heard: Rc<Cell<bool>>,
}

impl Worker for Ear {
    fn handle(&self, _: &Shard, _: LocalAddress, _: Packet) -> Outcome {
        self.heard.set(true);
        Outcome::Done
    }
}

/// Sends the owner an echo request from its own shard; then gives its name to the claimant, or
/// refuses the claimant, on the claimant's shard.
pub(crate) fn ask(shard: &Shard, owner: Member, claimant: Asked) {
    let home = shard.number();
    shard.tell(owner.forwarder.shard(), move |there: &Shard| {
        let shard = there.clone();
        there.spawn(async move {
            let alive = is_alive(&shard, &owner).await;
            shard.tell(home, move |shard| {
                let outcome = claimant.probed(shard, alive, owner.forwarder);
                shard.settle(outcome, "registration");
            });
        });
    });
}

async fn is_alive(shard: &Shard, owner: &Member) -> bool {
    let heard = Rc::new(Cell::new(false));
    let Ok(ear) = shard.add_worker(Rc::new(Ear {
        heard: Rc::clone(&heard),
    })) else {
        return true;
    };
    shard.permit_answers(owner.came_by, ear.key);
    let mut route = owner.way.clone();
    route.push_back(AddressRef::local(ECHO));
    let outcome = shard.send(&route, &Shard::route_to(ear), b"\x00");
    if shard.settle(outcome, "probe of a name's owner") {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if heard.get() {
                break;
            }
            shard.sleep(LOOK).await;
        }
    }
    shard.remove(ear.key);
    heard.get()
}
