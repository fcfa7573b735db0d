//! Ockam's node API (`protocol/05-requests.md`): CBOR requests inside of secure channels.
//!
//! ```text
//! channel -> worker: policy -> queue -> thread: Manager -> task on the shard -> caller
//! ```
//!
//! Nobody is let in unless a policy of the resource `node-manager` says so, and only through channels
//! that this node accepted. Strangers get no answer: for them the address is one that is closed.

mod carry;
mod say;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use async_channel::{Receiver, Sender};
use culvert_manage::problem::{Kind, Problem};
use culvert_node::key::LocalAddress;
use culvert_node::packet::Packet;
use culvert_node::policy::Guard;
use culvert_node::random_bytes;
use culvert_node::reason::Refusal;
use culvert_node::shard::Shard;
use culvert_node::worker::{Outcome, Worker};
use culvert_proto::request::node_command::{NodeCommand, NodeCommandError};
use culvert_proto::request::{ErrorBody, Method, NODE_MANAGER, Request, Response, Status};
use culvert_proto::route::Route;

use crate::daemon::Manager;
use crate::daemon::manager::Distant;
use crate::failure::Failure;

/// Most requests that wait, for all callers.
const QUEUE: usize = 64;
/// Most requests that wait, of the callers on one shard.
const OF_SHARD: usize = 16;
/// Threads that carry requests out: some wait for connections.
const THREADS: usize = 2;

/// Offers all this to those whom a policy of the resource `node-manager` admits; the threads that work
/// end with the node.
///
/// # Errors
///
/// When there can be no more threads or workers.
pub(crate) fn offer(distant: &Distant, manager: &Manager) -> Result<(), Failure> {
    let desk = Desk::start(distant).map_err(|error| {
        Failure::new(format!("cannot start a thread: {error}"), "see `ulimit -u`")
    })?;
    let guard = manager.standing().managers();
    let serve = move |shard: &Shard| desk.serve(shard, guard);
    for served in manager.on_shards(serve)? {
        served.map_err(|reason| {
            let message = format!("the node cannot be managed from afar: {reason}");
            Failure::new(message, "see the log")
        })?;
    }
    Ok(())
}

type Said = Result<Option<Vec<u8>>, Refused>;

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// It makes no sense.
    #[error(transparent)]
    Command(#[from] NodeCommandError),
    /// The node says why.
    #[error("{0}")]
    Problem(#[from] Problem),
    /// Too many wait.
    #[error("the node is busy: try again in a moment")]
    Busy,
}

impl Refused {
    fn status(&self) -> Status {
        match self {
            Self::Command(NodeCommandError::NotOffered(..)) => Status::NotImplemented,
            Self::Command(_) => Status::BadRequest,
            Self::Busy => Status::InternalServerError,
            Self::Problem(problem) => match problem.kind {
                Kind::Invalid | Kind::TooLarge => Status::BadRequest,
                Kind::Unauthenticated => Status::Unauthorized,
                Kind::Denied => Status::Forbidden,
                Kind::NotFound => Status::NotFound,
                Kind::Conflict => Status::Conflict,
                Kind::TimedOut => Status::Timeout,
                Kind::Failed | Kind::Unavailable => Status::InternalServerError,
            },
        }
    }
}

struct Job {
    command: NodeCommand,
    answer: Sender<Said>,
}

/// Hands requests to the threads that carry them out. Those end with the last clone.
#[derive(Clone)]
struct Desk(Sender<Job>);

impl Desk {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// When there can be no more threads.
    fn start(manager: &Distant) -> io::Result<Self> {
        let (jobs, queue): (_, Receiver<Job>) = async_channel::bounded(QUEUE);
        for _ in 0..THREADS {
            let (queue, manager) = (queue.clone(), manager.clone());
            let work = move || {
                while let Ok(job) = queue.recv_blocking() {
                    let said = match manager.get() {
                        Some(manager) => carry::out(&manager, job.command),
                        None => Err(Refused::Busy),
                    };
                    // The caller may be gone.
                    let _ = job.answer.send_blocking(said);
                }
            };
            std::thread::Builder::new()
                .name("node-manager".into())
                .spawn(work)?;
        }
        Ok(Self(jobs))
    }

    /// Adds the worker to a shard, for those who come through accepted channels and whom `guard`
    /// admits.
    ///
    /// # Errors
    ///
    /// When the shard can have no more workers.
    fn serve(&self, shard: &Shard, guard: Guard) -> Result<(), Refusal> {
        let counter = Counter {
            jobs: self.0.clone(),
            guard,
            waiting: Rc::default(),
        };
        let address = shard.add_named(NODE_MANAGER.as_bytes(), Rc::new(counter))?;
        shard.open_to_channels(address.key);
        Ok(())
    }
}

/// The worker.
struct Counter {
    jobs: Sender<Job>,
    guard: Guard,
    waiting: Rc<Cell<usize>>,
}

/// What an answer repeats of its question.
struct Asked {
    id: u32,
    path: String,
    method: Option<Method>,
    back: Route,
}

impl Worker for Counter {
    fn handle(&self, shard: &Shard, _me: LocalAddress, packet: Packet) -> Outcome {
        let channel = packet.channel(shard);
        if packet.identity.is_none() {
            return Outcome::Refused(Refusal::NotAuthenticated);
        }
        // It counts and notes whom it denies.
        if !self.guard.admits(shard, channel.as_deref()) {
            return Outcome::Done;
        }
        if packet.onward().hops() != 1 {
            return Outcome::Refused(Refusal::UnexpectedHops);
        }
        // Without an envelope there is nobody to answer.
        let Ok(request) = Request::decode(packet.payload()) else {
            return Outcome::Refused(Refusal::BadPayload);
        };
        let asked = Asked {
            id: request.id,
            path: request.path.chars().take(128).collect(),
            method: request.method,
            back: packet.return_route(),
        };
        match NodeCommand::parse(&request) {
            Ok(command) => self.put(shard, asked, command),
            Err(error) => asked.answer(shard, Err(error.into())),
        }
    }
}

impl Counter {
    /// Queues a request, and answers it when its turn has come.
    fn put(&self, shard: &Shard, asked: Asked, command: NodeCommand) -> Outcome {
        if self.waiting.get() >= OF_SHARD {
            return asked.answer(shard, Err(Refused::Busy));
        }
        let (answer, answered) = async_channel::bounded(1);
        if self.jobs.try_send(Job { command, answer }).is_err() {
            return asked.answer(shard, Err(Refused::Busy));
        }
        let place = Place::take(&self.waiting);
        let answering = shard.clone();
        shard.spawn(async move {
            let said = answered.recv().await.unwrap_or(Err(Refused::Busy));
            drop(place);
            let outcome = asked.answer(&answering, said);
            answering.settle(outcome, "answer of the node manager");
        });
        Outcome::Done
    }
}

impl Asked {
    fn answer(self, shard: &Shard, said: Said) -> Outcome {
        let id = u32::from_le_bytes(random_bytes()).max(1);
        let own = Shard::named_route(NODE_MANAGER.as_bytes());
        let (status, body) = match said {
            Ok(body) => (Status::Ok, body),
            Err(refused) => {
                let error = ErrorBody {
                    path: Some(self.path),
                    method: self.method,
                    message: Some(refused.to_string()),
                    cause: None,
                };
                (refused.status(), Some(error.encode()))
            }
        };
        let response = Response::new(id, self.id, status, body.as_deref());
        shard.send(&self.back, &own, &response.encode())
    }
}

/// A request that waits; counted until dropped.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(waiting: &Rc<Cell<usize>>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(Rc::clone(waiting))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
