//! Addresses that other nodes can connect to.

use culvert_manage::problem::Problem;
use serde_json::{Map, Value};

use super::resource::{Resource, handlers};
use super::spelling;
use crate::daemon::Manager;
use crate::model::{Created, ListenerSpec, ListenerView};

/// Addresses that other nodes can connect to.
struct Listeners;

handlers!(
    Listeners,
    ListenerSpec,
    ListenerView,
    "tcp-listeners",
    "/{node}/tcp-listeners",
    "/{node}/tcp-listeners/{name}"
);

impl Resource for Listeners {
    type Spec = ListenerSpec;
    type View = ListenerView;

    fn respell(given: &mut Map<String, Value>, _: bool) -> Result<(), Problem> {
        spelling::place(given, "address")
    }

    fn name(spec: &ListenerSpec) -> &str {
        &spec.address
    }

    fn spec(view: ListenerView) -> ListenerSpec {
        view.spec
    }

    fn list(manager: &Manager) -> Vec<ListenerView> {
        manager.listeners()
    }

    fn show(manager: &Manager, name: &str) -> Result<ListenerView, Problem> {
        manager.listener(name)
    }

    fn create(manager: &Manager, spec: ListenerSpec) -> Result<(Created, ListenerView), Problem> {
        manager.create_listener(spec)
    }

    fn replace(manager: &Manager, spec: ListenerSpec) -> Result<ListenerView, Problem> {
        manager.replace_listener(spec)
    }

    fn delete(manager: &Manager, name: &str) -> Result<(), Problem> {
        manager.delete_listener(name)
    }
}
