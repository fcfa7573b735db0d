//! What a running node has: asked for, changed, told about.

use std::sync::{Arc, PoisonError, Weak, mpsc};
use std::time::Duration;

use culvert_manage::events::Events;
use culvert_manage::observe::Observed;
use culvert_manage::problem::Problem;
use culvert_node::shard::Shard;
use serde_json::Value;

use super::NodeLock;
use super::inner::{Inner, Source, Wake};
use crate::api::remote;
use crate::failure::Failure;
use crate::model::{
    ChannelSpec, ChannelView, ConnectionSpec, ConnectionView, Created, Desired, Differences,
    InletSpec, InletView, ListenerSpec, ListenerView, NodeSpec, NodeView, OutletSpec, OutletView,
    PolicySpec, RelaySpec, RelayView,
};
use crate::store::Store;
use crate::trust::Standing;

/// A running node with everything it has. Cloning is cheap.
///
/// Every method may block, on the database or on a shard: call them from a thread that may. What
/// they acknowledge is stored.
#[derive(Clone)]
pub struct Manager(Arc<Inner>);

impl Manager {
    /// Starts the node and everything that is stored for it.
    ///
    /// # Errors
    ///
    /// When the node cannot start. What of its resources cannot is shown as down, and tried again.
    pub fn start(store: &Store, spec: NodeSpec, lock: NodeLock) -> Result<Self, Failure> {
        let manager = Inner::start(store, spec, lock).map(Self)?;
        remote::offer(&Distant(Arc::downgrade(&manager.0)), &manager)?;
        Ok(manager)
    }

    /// Has every shard do something, and waits until all have.
    ///
    /// # Errors
    ///
    /// When one does not answer, or the node is ending.
    pub(crate) fn on_shards<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Shard) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, Problem> {
        self.0.on_all(what)
    }

    /// As whom it runs, and whom it believes.
    pub(crate) fn standing(&self) -> &Standing {
        self.0.standing()
    }

    /// The node and everything it has.
    #[must_use]
    pub fn view(&self) -> NodeView {
        self.0.view()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Its state directory.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// What happens to what it has.
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.events()
    }

    /// All of these, by name.
    #[must_use]
    pub fn inlets(&self) -> Vec<InletView> {
        self.0.list::<InletSpec>()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`](culvert_manage::problem::Kind).
    pub fn inlet(&self, name: &str) -> Result<InletView, Problem> {
        self.0.one::<InletSpec>(name)
    }

    /// Makes an inlet. Nothing happens if there is the same already.
    ///
    /// # Errors
    ///
    /// Why there is none then.
    pub fn create_inlet(&self, spec: InletSpec) -> Result<(Created, InletView), Problem> {
        self.0.create(spec)
    }

    /// Changes the one of this name.
    ///
    /// # Errors
    ///
    /// Why it is as it was before.
    pub fn replace_inlet(&self, spec: InletSpec) -> Result<InletView, Problem> {
        self.0.replace(spec)
    }

    /// Ends and forgets it.
    ///
    /// # Errors
    ///
    /// Why it is still there, if there is one.
    pub fn delete_inlet(&self, name: &str) -> Result<(), Problem> {
        self.0.delete::<InletSpec>(name)
    }

    /// All of these, by name.
    #[must_use]
    pub fn outlets(&self) -> Vec<OutletView> {
        self.0.list::<OutletSpec>()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`](culvert_manage::problem::Kind).
    pub fn outlet(&self, name: &str) -> Result<OutletView, Problem> {
        self.0.one::<OutletSpec>(name)
    }

    /// Makes an outlet. Nothing happens if there is the same already.
    ///
    /// # Errors
    ///
    /// Why there is none then.
    pub fn create_outlet(&self, spec: OutletSpec) -> Result<(Created, OutletView), Problem> {
        self.0.create(spec)
    }

    /// Changes the one of this name.
    ///
    /// # Errors
    ///
    /// Why it is as it was before.
    pub fn replace_outlet(&self, spec: OutletSpec) -> Result<OutletView, Problem> {
        self.0.replace(spec)
    }

    /// Ends and forgets it.
    ///
    /// # Errors
    ///
    /// Why it is still there, if there is one.
    pub fn delete_outlet(&self, name: &str) -> Result<(), Problem> {
        self.0.delete::<OutletSpec>(name)
    }

    /// All of these, by name.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayView> {
        self.0.list::<RelaySpec>()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`](culvert_manage::problem::Kind).
    pub fn relay(&self, name: &str) -> Result<RelayView, Problem> {
        self.0.one::<RelaySpec>(name)
    }

    /// Makes a registration with a relay. Nothing happens if there is the same already.
    ///
    /// # Errors
    ///
    /// Why there is none then.
    pub fn create_relay(&self, spec: RelaySpec) -> Result<(Created, RelayView), Problem> {
        self.0.create(spec)
    }

    /// Changes the one of this name.
    ///
    /// # Errors
    ///
    /// Why it is as it was before.
    pub fn replace_relay(&self, spec: RelaySpec) -> Result<RelayView, Problem> {
        self.0.replace(spec)
    }

    /// Ends and forgets it.
    ///
    /// # Errors
    ///
    /// Why it is still there, if there is one.
    pub fn delete_relay(&self, name: &str) -> Result<(), Problem> {
        self.0.delete::<RelaySpec>(name)
    }

    /// All of these, by name.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelView> {
        self.0.list::<ChannelSpec>()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`](culvert_manage::problem::Kind).
    pub fn channel(&self, name: &str) -> Result<ChannelView, Problem> {
        self.0.one::<ChannelSpec>(name)
    }

    /// Makes a secure channel. Nothing happens if there is the same already.
    ///
    /// # Errors
    ///
    /// Why there is none then.
    pub fn create_channel(&self, spec: ChannelSpec) -> Result<(Created, ChannelView), Problem> {
        self.0.create(spec)
    }

    /// Changes the one of this name.
    ///
    /// # Errors
    ///
    /// Why it is as it was before.
    pub fn replace_channel(&self, spec: ChannelSpec) -> Result<ChannelView, Problem> {
        self.0.replace(spec)
    }

    /// Ends and forgets it.
    ///
    /// # Errors
    ///
    /// Why it is still there, if there is one.
    pub fn delete_channel(&self, name: &str) -> Result<(), Problem> {
        self.0.delete::<ChannelSpec>(name)
    }

    /// All of these, by address.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerView> {
        self.0.list::<ListenerSpec>()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`](culvert_manage::problem::Kind).
    pub fn listener(&self, address: &str) -> Result<ListenerView, Problem> {
        self.0.one::<ListenerSpec>(address)
    }

    /// Makes a TCP listener. Nothing happens if there is the same already.
    ///
    /// # Errors
    ///
    /// Why there is none then.
    pub fn create_listener(&self, spec: ListenerSpec) -> Result<(Created, ListenerView), Problem> {
        self.0.create(spec)
    }

    /// Changes the one of this address.
    ///
    /// # Errors
    ///
    /// Why it is as it was before.
    pub fn replace_listener(&self, spec: ListenerSpec) -> Result<ListenerView, Problem> {
        self.0.replace(spec)
    }

    /// Ends and forgets it.
    ///
    /// # Errors
    ///
    /// Why it is still there, if there is one.
    pub fn delete_listener(&self, address: &str) -> Result<(), Problem> {
        self.0.delete::<ListenerSpec>(address)
    }

    /// All of these, by name.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.0.list::<ConnectionSpec>()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`](culvert_manage::problem::Kind).
    pub fn connection(&self, name: &str) -> Result<ConnectionView, Problem> {
        self.0.one::<ConnectionSpec>(name)
    }

    /// Makes a TCP connection. Nothing happens if there is the same already.
    ///
    /// # Errors
    ///
    /// Why there is none then.
    pub fn create_connection(
        &self,
        spec: ConnectionSpec,
    ) -> Result<(Created, ConnectionView), Problem> {
        self.0.create(spec)
    }

    /// Changes the one of this name.
    ///
    /// # Errors
    ///
    /// Why it is as it was before.
    pub fn replace_connection(&self, spec: ConnectionSpec) -> Result<ConnectionView, Problem> {
        self.0.replace(spec)
    }

    /// Ends and forgets it.
    ///
    /// # Errors
    ///
    /// Why it is still there, if there is one.
    pub fn delete_connection(&self, name: &str) -> Result<(), Problem> {
        self.0.delete::<ConnectionSpec>(name)
    }

    /// Makes the node have what is desired: creates, changes and deletes only what differs.
    ///
    /// # Errors
    ///
    /// The first change that could not be made; those before it stay.
    pub fn apply(&self, desired: &Desired, dry_run: bool) -> Result<Differences, Problem> {
        self.0.apply(desired, dry_run)
    }

    /// The policies of the state directory: those of names first.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn policies(&self) -> Result<Vec<PolicySpec>, Problem> {
        self.0.policies()
    }

    /// Sets a policy; gives it as it is stored.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn set_policy(&self, spec: &PolicySpec) -> Result<PolicySpec, Problem> {
        self.0.set_policy(spec)
    }

    /// Deletes the policy of a resource, or of a type.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn delete_policy(
        &self,
        resource: Option<&str>,
        resource_type: Option<&str>,
    ) -> Result<(), Problem> {
        self.0.delete_policy(resource, resource_type)
    }

    /// Links, channels and streams.
    ///
    /// # Errors
    ///
    /// When a shard does not answer.
    pub fn inspect(&self) -> Result<Value, Problem> {
        self.0.inspect()
    }

    /// Who was denied what lately.
    #[must_use]
    pub fn denials(&self) -> Value {
        self.0.denials()
    }

    /// Sends a message along a route (a multiaddr) and waits for the answer.
    ///
    /// # Errors
    ///
    /// When there is no way, or no answer in time.
    pub fn send_message(
        &self,
        to: &str,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, Problem> {
        self.0.send_message(to, payload, timeout)
    }

    /// What works and what does not: each with the reason.
    #[must_use]
    pub fn readiness(&self) -> Vec<(String, Result<(), String>)> {
        self.0.readiness()
    }

    /// Asks the process to end, with so long for streams to end [default: what the node was told].
    pub fn stop(&self, drain: Option<Duration>) {
        self.0.stop(drain);
    }

    /// Applies the file that the node was started with again.
    ///
    /// # Errors
    ///
    /// When it was started without one, or the file is wrong; then nothing is changed.
    pub fn reload(&self) -> Result<Differences, Problem> {
        self.0.reload()
    }

    /// Where the configuration comes from that [`Manager::reload`] applies.
    pub fn set_source(&self, source: Source) {
        *self.0.source() = Some(source);
    }

    /// Where management is served over TCP.
    pub(super) fn set_http_address(&self, address: Option<String>) {
        *self.0.http() = address;
    }

    /// Wakes the process up.
    pub(super) fn waker(&self) -> mpsc::Sender<Wake> {
        self.0.wakes.clone()
    }

    /// What wakes the process up, one after the other, for whoever asks first.
    pub(super) fn wakes(&self) -> mpsc::IntoIter<Wake> {
        let mut woken = self.0.woken.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a second one the sender is gone: there is nothing to wait for.
        woken
            .take()
            .unwrap_or_else(|| mpsc::channel().1)
            .into_iter()
    }

    /// What operators see of the node.
    ///
    /// # Errors
    ///
    /// When it is ending.
    pub fn observed(&self) -> Result<Observed, Problem> {
        let manager = self.clone();
        let observed = self.0.with_node(Observed::new)?;
        Ok(observed.with_checks(move || manager.readiness()))
    }

    /// Whether all shards answer.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.on_all(|_| ()).is_ok()
    }

    /// Accepts nothing more, waits for the end of all streams, for so long at most, and ends the node. How
    /// many streams were broken off.
    pub fn drain(&self, deadline: Duration) -> u64 {
        // Who asks for something meanwhile is told, and does not wait.
        let node = {
            let mut node = self.0.node.write().unwrap_or_else(PoisonError::into_inner);
            node.take()
        };
        let left = node.map_or(0, |node| node.drain(deadline, || {}));
        // Everything has ended with its shards. Stopping it would wake tasks of threads that are gone, and
        // take them apart on this one.
        core::mem::forget(core::mem::take(&mut *self.0.state()));
        left
    }
}

/// A [`Manager`] as long as there are others: for those who work for one.
#[derive(Clone)]
pub(crate) struct Distant(Weak<Inner>);

impl Distant {
    /// The manager, if there still is one.
    pub(crate) fn get(&self) -> Option<Manager> {
        self.0.upgrade().map(Manager)
    }
}
