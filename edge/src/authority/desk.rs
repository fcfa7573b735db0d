//! Where requests to an authority wait, and the services they come in by.
//!
//! ```text
//! shard: service -> queue -> thread with the database -> task on the shard -> caller
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_channel::{Receiver, Sender, TrySendError};
use culvert_crypto::Identifier;
use culvert_node::key::LocalAddress;
use culvert_node::packet::Packet;
use culvert_node::random_bytes;
use culvert_node::reason::Refusal;
use culvert_node::shard::Shard;
use culvert_node::store::database::Database;
use culvert_node::worker::{Outcome, Worker};
use culvert_proto::authority::{Command, CommandError, Service};
use culvert_proto::identity::WireError;
use culvert_proto::limits::MAX_AUTHORITY_REQUEST;
use culvert_proto::request::{ErrorBody, Method, Request, Response, Status};
use culvert_proto::route::Route;

use super::refused::Refused;
use super::rules::{Issue, Rules};

/// Most requests that wait.
const QUEUE: usize = 256;
/// Most requests of one caller that wait.
const OF_ONE: u32 = 16;

type Answer = Result<Option<Vec<u8>>, Refused>;

struct Job {
    caller: Identifier,
    command: Command,
    answer: Sender<Answer>,
}

/// Hands requests to the thread that answers them.
#[derive(Clone)]
pub(super) struct Desk {
    jobs: Sender<Job>,
}

impl Desk {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When there can be no more threads.
    pub(super) fn start(
        rules: Rules,
        mut database: Database,
        mut issuer: impl Issue + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, queue): (_, Receiver<Job>) = async_channel::bounded(QUEUE);
        std::thread::Builder::new()
            .name("authority".into())
            .spawn(move || {
                while let Ok(job) = queue.recv_blocking() {
                    let Job {
                        caller,
                        command,
                        answer,
                    } = job;
                    let (now, random) = (now_s(), random_bytes());
                    let said =
                        rules.answer(&mut database, &mut issuer, &caller, &command, now, random);
                    // The caller may be gone.
                    let _ = answer.send_blocking(said);
                }
            })?;
        Ok(Self { jobs })
    }

    /// Adds the services to a shard, for those who come through accepted channels.
    pub(super) fn serve(&self, shard: &Shard, services: &[Service]) -> Result<(), Refusal> {
        let waiting = Rc::<RefCell<HashMap<Identifier, u32>>>::default();
        for service in services {
            let counter = Counter {
                service: *service,
                jobs: self.jobs.clone(),
                waiting: Rc::clone(&waiting),
            };
            let address = shard.add_named(service.address().as_bytes(), Rc::new(counter))?;
            shard.open_to_channels(address.key);
        }
        Ok(())
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// One service.
struct Counter {
    service: Service,
    jobs: Sender<Job>,
    /// Requests that wait, by caller.
    waiting: Rc<RefCell<HashMap<Identifier, u32>>>,
}

/// What an answer repeats of its question.
struct Asked {
    id: u32,
    path: String,
    method: Option<Method>,
    back: Route,
    service: Service,
    caller: Identifier,
}

impl Worker for Counter {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        let Some(caller) = packet.identity else {
            let body = ErrorBody::message("secure channel required").encode();
            let response = Response::new(new_id(), 0, Status::BadRequest, Some(&body));
            shard.counters().refuse(Refusal::NotAuthenticated);
            return send(shard, self.service, &packet.return_route(), &response);
        };
        // Without an envelope there is nobody to answer.
        let Ok(request) = Request::decode(packet.payload()) else {
            return Outcome::Refused(Refusal::BadPayload);
        };
        let asked = Asked {
            id: request.id,
            path: request.path.chars().take(128).collect(),
            method: request.method,
            back: packet.return_route(),
            service: self.service,
            caller,
        };
        let command = match packet.payload().len() {
            length if length > MAX_AUTHORITY_REQUEST => Err(CommandError::Body(
                WireError::Malformed(MAX_AUTHORITY_REQUEST),
            )),
            _ => Command::parse(self.service, &request),
        };
        match command {
            Ok(command) => self.put(shard, asked, command),
            Err(error) => asked.answer(shard, Err(error.into())),
        }
    }
}

impl Counter {
    /// Queues a request, and answers it when its turn has come.
    fn put(&self, shard: &Shard, asked: Asked, command: Command) -> Outcome {
        let Some(place) = Place::take(&self.waiting, asked.caller) else {
            return asked.answer(shard, Err(Refused::Busy));
        };
        let (answer, answered) = async_channel::bounded(1);
        let job = Job {
            caller: asked.caller,
            command,
            answer,
        };
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                return asked.answer(shard, Err(Refused::Busy));
            }
        }
        let answering = shard.clone();
        shard.spawn(async move {
            let answer = answered.recv().await.unwrap_or(Err(Refused::Busy));
            drop(place);
            let outcome = asked.answer(&answering, answer);
            answering.settle(outcome, "answer of the authority");
        });
        Outcome::Done
    }
}

impl Asked {
    fn answer(self, shard: &Shard, answer: Answer) -> Outcome {
        let refused = match answer {
            Ok(body) => {
                shard.counters().authority_answers.add(1);
                let body = body.as_deref();
                let response = Response::new(new_id(), self.id, Status::Ok, body);
                return send(shard, self.service, &self.back, &response);
            }
            Err(refused) => refused,
        };
        shard.counters().refuse(refused.counter());
        let service = self.service.address();
        let (caller, cause) = (self.caller, refused.cause());
        tracing::warn!(service, %caller, reason = refused.counter().name(), cause, "{refused}");
        let error = ErrorBody {
            path: Some(self.path),
            method: self.method,
            message: Some(refused.to_string()),
            cause: None,
        };
        let body = error.encode();
        let response = Response::new(new_id(), self.id, refused.status(), Some(&body));
        send(shard, self.service, &self.back, &response)
    }
}

fn new_id() -> u32 {
    u32::from_le_bytes(random_bytes()).max(1)
}

fn send(shard: &Shard, service: Service, back: &Route, response: &Response<'_>) -> Outcome {
    let own = Shard::named_route(service.address().as_bytes());
    shard.send(back, &own, &response.encode())
}

/// A request that waits; counted against its caller until dropped.
struct Place {
    waiting: Rc<RefCell<HashMap<Identifier, u32>>>,
    caller: Identifier,
}

impl Place {
    fn take(waiting: &Rc<RefCell<HashMap<Identifier, u32>>>, caller: Identifier) -> Option<Self> {
        let mut counts = waiting.borrow_mut();
        let count = counts.entry(caller).or_insert(0);
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        drop(counts);
        let waiting = Rc::clone(waiting);
        Some(Self { waiting, caller })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.waiting.borrow_mut();
        if let Some(count) = counts.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.caller);
            }
        }
    }
}
