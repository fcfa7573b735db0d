//! Names that the node holds at relays.

use culvert_manage::problem::Problem;
use serde_json::{Map, Value};

use super::resource::{Resource, handlers, status};
use super::spelling;
use crate::daemon::Manager;
use crate::model::{Created, RelaySpec, RelayView};

/// Names that the node holds at relays.
struct Relays;

handlers!(
    Relays,
    RelaySpec,
    RelayView,
    "relays",
    "/{node}/relays",
    "/{node}/relays/{name}"
);

impl Resource for Relays {
    type Spec = RelaySpec;
    type View = RelayView;

    fn respell(given: &mut Map<String, Value>, is_new: bool) -> Result<(), Problem> {
        spelling::rename(given, "to", "at")?;
        spelling::rename(given, "address", "relay-address")?;
        if is_new {
            spelling::name(given);
        }
        Ok(())
    }

    fn name(spec: &RelaySpec) -> &str {
        &spec.name
    }

    fn spec(view: RelayView) -> RelaySpec {
        view.spec
    }

    fn as_ockam(view: &mut Map<String, Value>) {
        status(view);
        for (from, to) in [
            ("destination", "to"),
            ("forwarding-address", "remote-address"),
        ] {
            let value = view.get(from).cloned().unwrap_or_default();
            view.insert(to.into(), value);
        }
    }

    fn list(manager: &Manager) -> Vec<RelayView> {
        manager.relays()
    }

    fn show(manager: &Manager, name: &str) -> Result<RelayView, Problem> {
        manager.relay(name)
    }

    fn create(manager: &Manager, spec: RelaySpec) -> Result<(Created, RelayView), Problem> {
        manager.create_relay(spec)
    }

    fn replace(manager: &Manager, spec: RelaySpec) -> Result<RelayView, Problem> {
        manager.replace_relay(spec)
    }

    fn delete(manager: &Manager, name: &str) -> Result<(), Problem> {
        manager.delete_relay(name)
    }
}
