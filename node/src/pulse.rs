//! Whether the shards of a node still do anything.

use crate::shard::{Handoff, Inbox};

/// Asks the shards of a node whether they are there. For any thread; cloning is cheap.
#[derive(Clone)]
pub struct Pulse(Vec<Inbox>);

impl Pulse {
    pub(crate) fn new(inboxes: Vec<Inbox>) -> Self {
        Self(inboxes)
    }

    /// Waits until every shard has done something; false if one has ended. One that hangs is waited
    /// for without end: give up when it takes too long. What was asked then still waits there, so do
    /// not ask again and again without a pause.
    pub async fn beat(&self) -> bool {
        let (answer, answers) = async_channel::bounded(self.0.len().max(1));
        for inbox in &self.0 {
            let answer = answer.clone();
            let beat = Handoff::Run(Box::new(move |_| {
                let _ = answer.try_send(());
            }));
            if !inbox.put(beat) {
                return false;
            }
        }
        drop(answer);
        for _ in &self.0 {
            if answers.recv().await.is_err() {
                return false;
            }
        }
        true
    }
}
