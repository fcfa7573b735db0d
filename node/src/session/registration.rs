//! Keeping this node registered with a relay (`protocol/04-relay.md` 2 and 7).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use culvert_crypto::Identifier;
use culvert_crypto::trust::Trust;
use culvert_proto::address::AddressRef;
use culvert_proto::forwarder::{
    self, Flags, Registration, Reply, Request, STATIC_FORWARDING_SERVICE,
};
use culvert_proto::route::{Route, RouteView};

use super::connect::{connect_channel, connect_link};
use super::{Backoff, Event, Reporter};
use crate::channel::{API, Credentials};
use crate::key::{Key, LocalAddress};
use crate::link::Link;
use crate::notify::Notify;
use crate::packet::Packet;
use crate::reason::{CloseReason, Refusal};
use crate::shard::Shard;
use crate::worker::{Outcome, Worker};

/// How long the relay may take to confirm.
const CONFIRM: Duration = Duration::from_secs(5);

/// Where and how to register.
#[derive(Clone, Debug)]
pub struct RegistrationPlan {
    /// Host of the relay.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The name to register.
    pub name: String,
    /// Through a secure channel to the relay, which must be one of these; or in clear.
    pub trust: Option<Trust>,
}

/// The worker at this end: takes the confirmation, and messages of relays that leave its address in
/// their routes (`protocol/04-relay.md` 3).
struct RelayClient {
    name: String,
    answer: RefCell<Option<Result<String, String>>>,
    answered: Cell<bool>,
    is_culvert: Cell<bool>,
    changed: Notify,
}

impl RelayClient {
    async fn confirmed(&self) -> Result<String, String> {
        self.changed.until(|| self.answer.borrow_mut().take()).await
    }

    fn read(&self, packet: &Packet) -> Result<Result<String, String>, Refusal> {
        let route = packet.return_route();
        match Reply::decode(packet.payload()).map_err(|_| Refusal::BadPayload)? {
            Reply::Confirmed { text, extension } => {
                self.is_culvert.set(extension.is_some());
                let name = Registration::Named(&self.name);
                let address = forwarder::check_confirmation(name, text, route.view())
                    .map_err(|_| Refusal::BadPayload)?;
                Ok(Ok(String::from_utf8_lossy(address).into_owned()))
            }
            Reply::Refused { reason, .. } => Ok(Err(explain(&self.name, reason))),
        }
    }
}

fn explain(name: &str, reason: forwarder::Refusal) -> String {
    match reason {
        forwarder::Refusal::Taken => format!(
            "the relay refused the name '{name}': it belongs to another identity that is connected; \
             choose another name or stop the other edge"
        ),
        forwarder::Refusal::NotAllowed => {
            format!("the relay refused the name '{name}': this identity may not register it")
        }
        forwarder::Refusal::BadName => {
            format!("the relay refused the name '{name}': it is not valid")
        }
        forwarder::Refusal::Full => format!("the relay refused the name '{name}': it has too many"),
        forwarder::Refusal::Other(code) => {
            format!("the relay refused the name '{name}': reason {code}")
        }
    }
}

impl Worker for RelayClient {
    fn handle(&self, shard: &Shard, _me: LocalAddress, mut packet: Packet) -> Outcome {
        if packet.onward().hops() > 1 {
            return match packet.advance(shard, RouteView::EMPTY) {
                Ok(()) => shard.dispatch(packet),
                Err(reason) => Outcome::Refused(reason),
            };
        }
        match self.read(&packet) {
            Ok(answer) => {
                if !self.answered.replace(true) {
                    self.answer.replace(Some(answer));
                    self.changed.notify();
                }
                Outcome::Done
            }
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn lost(&self, shard: &Shard, me: LocalAddress, _link: Key) {
        shard.remove(me.key);
    }
}

/// Keeps the registration up until the node ends.
pub async fn keep_registered(
    shard: Shard,
    plan: RegistrationPlan,
    credentials: Credentials,
    reporter: Reporter,
) {
    let mut backoff = Backoff::default();
    let mut told = String::new();
    loop {
        let reason = match connect_link(&shard, &plan.host, plan.port).await {
            Err(error) => format!("cannot connect to {}:{}: {error}", plan.host, plan.port),
            Ok(link) => {
                let result = over_link(&shard, &plan, &credentials, &reporter, &link, &mut backoff);
                let (reason, was_up) = result.await;
                if shard.is_ending() {
                    return;
                }
                if was_up {
                    told.clear();
                }
                link.close(CloseReason::Local);
                reason
            }
        };
        if told != reason {
            tracing::warn!(name = plan.name, reason, "not registered, trying again");
            reporter.report(Event::Down {
                reason: reason.clone(),
            });
            told = reason;
        }
        backoff.pause().await;
    }
}

/// Registers over one link and stays until it ends; says why, and whether the name was held.
async fn over_link(
    shard: &Shard,
    plan: &RegistrationPlan,
    credentials: &Credentials,
    reporter: &Reporter,
    link: &Rc<Link>,
    backoff: &mut Backoff,
) -> (String, bool) {
    let lost = |reason| format!("the connection to the relay ended: {reason}");
    let registered = monoio::select! {
        reason = link.wait_end() => return (lost(reason), false),
        registered = register(shard, plan, credentials, link) => registered,
    };
    let (address, identity, channel) = match registered {
        Ok(registered) => registered,
        Err(reason) => return (reason, false),
    };
    backoff.reset();
    let relay = match plan.host.contains(':') {
        true => format!("[{}]:{}", plan.host, plan.port),
        false => format!("{}:{}", plan.host, plan.port),
    };
    reporter.report(Event::Registered {
        address,
        relay,
        identity,
    });
    let Some(channel) = channel else {
        return (lost(link.wait_end().await), true);
    };
    channel.in_use(true);
    monoio::select! {
        reason = link.wait_end() => (lost(reason), true),
        reason = channel.wait_end() => (format!("the relay's secure channel ended: {reason}"), true),
    }
}

type Registered = (
    String,
    Option<Identifier>,
    Option<Rc<crate::channel::Channel>>,
);

async fn register(
    shard: &Shard,
    plan: &RegistrationPlan,
    credentials: &Credentials,
    link: &Rc<Link>,
) -> Result<Registered, String> {
    let mut route = Shard::route_to(link.address);
    let (mut channel, mut identity) = (None, None);
    if let Some(trust) = &plan.trust {
        route.push_back(AddressRef::local(API));
        let credentials = Credentials {
            trust: trust.clone(),
            ..credentials.clone()
        };
        let (up, who) = connect_channel(shard, &credentials, &route, 5)
            .await
            .map_err(|error| format!("secure channel to the relay: {error}"))?;
        route = Shard::route_to(up.encryptor);
        (channel, identity) = (Some(up), Some(who));
    }
    let first = shard
        .first_key(&route)
        .ok_or("the connection to the relay ended")?;
    let client = Rc::new(RelayClient {
        name: plan.name.clone(),
        answer: RefCell::new(None),
        answered: Cell::new(false),
        is_culvert: Cell::new(false),
        changed: Notify::default(),
    });
    let worker: Rc<dyn Worker> = Rc::<RelayClient>::clone(&client);
    let address = shard.add_worker(worker).map_err(Refusal::name)?;
    shard.depend(link.address.key, address.key);
    shard.permit_answers(first, address.key);
    shard.permit_answers(link.address.key, address.key);
    ask(shard, plan, &route, address)?;
    match monoio::time::timeout(CONFIRM, client.confirmed()).await {
        Ok(Ok(name)) => {
            if client.is_culvert.get() {
                shard.peer_is_culvert(first);
            }
            Ok((name, identity, channel))
        }
        Ok(Err(reason)) => {
            shard.remove(address.key);
            Err(reason)
        }
        Err(_) => {
            shard.remove(address.key);
            Err(format!(
                "the relay did not confirm the name '{}' (it may refuse it, or refuse registrations \
                 without a secure channel)",
                plan.name
            ))
        }
    }
}

fn ask(
    shard: &Shard,
    plan: &RegistrationPlan,
    relay: &Route,
    client: LocalAddress,
) -> Result<(), String> {
    let mut route = relay.clone();
    route.push_back(AddressRef::local(STATIC_FORWARDING_SERVICE.as_bytes()));
    let request = Request {
        registration: Registration::Named(&plan.name),
        extension: Some(Flags { over_link: true }),
    };
    let payload = request.encode().map_err(|error| error.to_string())?;
    match shard.send(&route, &Shard::route_to(client), &payload) {
        Outcome::Refused(reason) => Err(format!("cannot send to the relay: {reason}")),
        _ => Ok(()),
    }
}
