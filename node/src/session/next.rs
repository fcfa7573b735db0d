//! Keeping a link to a node that messages are passed on to.

use std::rc::Rc;

use super::keep::{Kept, Lost};
use super::name::{Name, Where};
use super::{Backoff, Event, Reporter};
use crate::link::Link;
use crate::shard::Shard;
use crate::stop::Stop;

/// A connection that lasted so long was worth it: the next attempt follows at once.
const WORTH_IT_MS: u64 = 1_000;

/// A node to stay connected with.
#[derive(Clone, Debug)]
pub struct NextPlan {
    /// Local address of the connection on this node: the hop behind `hop` in routes.
    pub name: String,
    /// Host of the node.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

/// Keeps a connection up under its name until it is stopped or the node ends. `open` lets others reach it, each time
/// it is there again. Connections of one name on several shards know nothing of each other.
pub async fn keep_next(
    shard: Shard,
    plan: NextPlan,
    reporter: Reporter,
    open: impl Fn(&Link),
    stop: Stop,
) {
    let name = Name::new(&shard, plan.name.as_bytes(), Where::Here);
    let over_link = async |link: &Rc<Link>, backoff: &mut Backoff| {
        let began = shard.now_ms();
        name.lead_to(Some(link.address.key));
        open(link);
        reporter.went_up(Event::Up { peer: None });
        let reason = link.wait_end().await;
        name.lead_to(None);
        if shard.now_ms().saturating_sub(began) > WORTH_IT_MS {
            backoff.reset();
        }
        Lost {
            reason: format!(
                "the connection to {}:{} ended: {reason}",
                plan.host, plan.port
            ),
            was_up: true,
        }
    };
    let kept = Kept {
        shard: &shard,
        place: (&plan.host, plan.port),
        reporter: &reporter,
        stop: &stop,
    };
    kept.keep(over_link, || name.lead_to(None)).await;
}
