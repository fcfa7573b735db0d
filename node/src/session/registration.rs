//! Keeping this node registered with a relay (`protocol/04-relay.md` 2 and 7).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use culvert_crypto::Identifier;
use culvert_crypto::trust::Trust;
use culvert_proto::address::AddressRef;
use culvert_proto::forwarder::{
    self, Extension, Lane, MAX_LANES, PLACEMENT, Registration, Reply, Request,
    STATIC_FORWARDING_SERVICE,
};
use culvert_proto::route::{Route, RouteView};

use super::connect::connect_channel;
use super::keep::{Kept, Lost};
use super::{Backoff, Event, Reporter};
use crate::channel::{API, Channel, Credentials};
use crate::key::{Key, LocalAddress};
use crate::link::Link;
use crate::notify::Notify;
use crate::packet::Packet;
use crate::random;
use crate::reason::Refusal;
use crate::shard::Shard;
use crate::stop::Stop;
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
    /// The links of this process.
    pub lanes: Lanes,
}

/// What a relay confirmed.
struct Confirmed {
    address: String,
    extension: Option<Extension>,
}

/// The worker at this end: takes the confirmation, and messages of relays that leave its address in
/// their routes (`protocol/04-relay.md` 3).
struct RelayClient {
    name: String,
    answer: RefCell<Option<Result<Confirmed, String>>>,
    answered: Cell<bool>,
    changed: Notify,
}

impl RelayClient {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            answer: RefCell::new(None),
            answered: Cell::new(false),
            changed: Notify::default(),
        }
    }

    async fn confirmed(&self) -> Result<Confirmed, String> {
        self.changed.until(|| self.answer.borrow_mut().take()).await
    }

    fn read(&self, packet: &Packet) -> Result<Result<Confirmed, String>, Refusal> {
        let route = packet.return_route();
        match Reply::decode(packet.payload()).map_err(|_| Refusal::BadPayload)? {
            Reply::Confirmed { text, extension } => {
                let name = Registration::Named(&self.name);
                let address = forwarder::check_confirmation(name, text, route.view())
                    .map_err(|_| Refusal::BadPayload)?;
                Ok(Ok(Confirmed {
                    address: String::from_utf8_lossy(address).into_owned(),
                    extension,
                }))
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
        forwarder::Refusal::Later => format!(
            "another process of this identity, started later, holds the name '{name}'; this one waits \
             until it ends"
        ),
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

/// The links over which one process holds a name, one on each shard.
#[derive(Clone, Debug)]
pub struct Lanes {
    process: u64,
    begin: async_channel::Sender<()>,
    begun: async_channel::Receiver<()>,
}

impl Default for Lanes {
    /// Those of a new process.
    fn default() -> Self {
        let (begin, begun) = async_channel::bounded(1);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis() as u64);
        Self {
            process: millis << 16 | random::u64() & 0xffff,
            begin,
            begun,
        }
    }
}

impl Lanes {
    /// Waits until the relay is known to accept several connections for a name: another would take
    /// the name away from the first.
    async fn accepted(&self) {
        while self.begun.recv().await.is_ok() {}
    }

    fn are_accepted(&self) -> bool {
        self.begin.is_closed()
    }

    fn accept(&self) {
        self.begin.close();
    }
}

/// Keeps the registration of this shard's lane up until it is stopped or the node ends. Once it has
/// stopped the relay has let go of the name, if it still answers; what came by the name has ended.
pub async fn keep_registered(
    shard: Shard,
    plan: RegistrationPlan,
    credentials: Credentials,
    reporter: Reporter,
    stop: Stop,
) {
    if shard.number() >= MAX_LANES {
        return;
    }
    if shard.number() > 0 {
        monoio::select! {
            () = plan.lanes.accepted() => {}
            () = stop.stopped() => return,
        }
    }
    let session = Session {
        shard: &shard,
        plan: &plan,
        credentials: &credentials,
        reporter: &reporter,
    };
    let over_link =
        async |link: &Rc<Link>, backoff: &mut Backoff| session.over_link(link, backoff).await;
    let kept = Kept {
        shard: &shard,
        place: (&plan.host, plan.port),
        reporter: &reporter,
        stop: &stop,
    };
    kept.keep(over_link, || ()).await;
}

/// What the steps of keeping one lane of a registration up share.
struct Session<'a> {
    shard: &'a Shard,
    plan: &'a RegistrationPlan,
    credentials: &'a Credentials,
    reporter: &'a Reporter,
}

/// A name that is held.
struct Registered {
    address: String,
    identity: Option<Identifier>,
    channel: Option<Rc<Channel>>,
}

impl Session<'_> {
    /// Registers over one link and stays until it ends.
    async fn over_link(&self, link: &Rc<Link>, backoff: &mut Backoff) -> Lost {
        let registered = monoio::select! {
            reason = link.wait_end() => return Lost::link(reason, false),
            registered = self.register(link) => registered,
        };
        let registered = match registered {
            Ok(registered) => registered,
            Err(reason) => {
                let was_up = false;
                return Lost { reason, was_up };
            }
        };
        backoff.reset();
        let plan = self.plan;
        self.reporter.went_up(Event::Registered {
            address: registered.address,
            relay: match plan.host.contains(':') {
                true => format!("[{}]:{}", plan.host, plan.port),
                false => format!("{}:{}", plan.host, plan.port),
            },
            identity: registered.identity,
        });
        let Some(channel) = registered.channel else {
            return Lost::link(link.wait_end().await, true);
        };
        channel.in_use(true);
        monoio::select! {
            reason = link.wait_end() => Lost::link(reason, true),
            reason = channel.wait_end() => Lost {
                reason: format!("the relay's secure channel ended: {reason}"),
                was_up: true,
            },
        }
    }

    /// The lane of this shard; only an identity can be told from others that say the same.
    fn lane(&self) -> Option<Lane> {
        let lane = Lane {
            process: self.plan.lanes.process,
            number: self.shard.number(),
        };
        self.plan.trust.is_some().then_some(lane)
    }

    fn request(&self) -> Result<Vec<u8>, String> {
        let request = Request {
            registration: Registration::Named(&self.plan.name),
            extension: Some(Extension {
                over_link: true,
                lane: self.lane(),
            }),
        };
        request.encode().map_err(|error| error.to_string())
    }

    async fn register(&self, link: &Rc<Link>) -> Result<Registered, String> {
        let (shard, plan) = (self.shard, self.plan);
        let mut route = Shard::route_to(link.address);
        if plan.lanes.are_accepted() {
            let placement = PLACEMENT.as_bytes();
            self.send(&route, placement, &Shard::route_to(shard.sink()))?;
        }
        let (mut channel, mut identity) = (None, None);
        if let Some(trust) = &plan.trust {
            route.push_back(AddressRef::local(API));
            let credentials = Credentials {
                trust: trust.clone(),
                ..self.credentials.clone()
            };
            let unanswered = || {
                let reason = "no answer yet from the relay";
                tracing::warn!(lane = shard.number(), reason, "not registered yet");
                self.reporter.failed(shard, reason, None);
            };
            let (up, who) = connect_channel(shard, &credentials, &route, 5, unanswered)
                .await
                .map_err(|error| format!("secure channel to the relay: {error}"))?;
            route = Shard::route_to(up.encryptor);
            (channel, identity) = (Some(up), Some(who));
        }
        let first = shard
            .first_key(&route)
            .ok_or("the connection to the relay ended")?;
        let client = Rc::new(RelayClient::new(&plan.name));
        let worker: Rc<dyn Worker> = Rc::<RelayClient>::clone(&client);
        let address = shard.add_worker(worker).map_err(Refusal::name)?;
        shard.depend(link.address.key, address.key);
        shard.permit_answers(first, address.key);
        shard.permit_answers(link.address.key, address.key);
        let service = STATIC_FORWARDING_SERVICE.as_bytes();
        let confirmed = match self.send(&route, service, &Shard::route_to(address)) {
            Ok(()) => self.confirmation(&client).await,
            Err(reason) => Err(reason),
        };
        let confirmed = confirmed.inspect_err(|_| shard.remove(address.key))?;
        if confirmed
            .extension
            .is_some_and(|granted| granted.lane.is_some())
        {
            plan.lanes.accept();
        }
        Ok(Registered {
            address: confirmed.address,
            identity,
            channel,
        })
    }

    async fn confirmation(&self, client: &RelayClient) -> Result<Confirmed, String> {
        match monoio::time::timeout(CONFIRM, client.confirmed()).await {
            Ok(answer) => answer,
            Err(_) => Err(format!(
                "the relay did not confirm the name '{}' (it may refuse it, or refuse registrations \
                 without a secure channel)",
                self.plan.name
            )),
        }
    }

    /// Sends the registration to a service of the relay.
    fn send(&self, relay: &Route, service: &[u8], back: &Route) -> Result<(), String> {
        let mut route = relay.clone();
        route.push_back(AddressRef::local(service));
        match self.shard.send(&route, back, &self.request()?) {
            Outcome::Refused(reason) => Err(format!("cannot send to the relay: {reason}")),
            _ => Ok(()),
        }
    }
}
