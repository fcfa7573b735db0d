//! TCP connections to other nodes that are kept up.

use culvert_manage::problem::Problem;
use serde_json::{Map, Value};

use super::resource::{Resource, handlers};
use super::spelling;
use crate::daemon::Manager;
use crate::model::{ConnectionSpec, ConnectionView, Created};

/// TCP connections to other nodes that are kept up.
struct Connections;

handlers!(
    Connections,
    ConnectionSpec,
    ConnectionView,
    "tcp-connections",
    "/{node}/tcp-connections",
    "/{node}/tcp-connections/{name}"
);

impl Resource for Connections {
    type Spec = ConnectionSpec;
    type View = ConnectionView;

    fn respell(given: &mut Map<String, Value>, is_new: bool) -> Result<(), Problem> {
        if is_new {
            spelling::name(given);
        }
        spelling::place(given, "to")
    }

    fn name(spec: &ConnectionSpec) -> &str {
        &spec.name
    }

    fn spec(view: ConnectionView) -> ConnectionSpec {
        view.spec
    }

    fn list(manager: &Manager) -> Vec<ConnectionView> {
        manager.connections()
    }

    fn show(manager: &Manager, name: &str) -> Result<ConnectionView, Problem> {
        manager.connection(name)
    }

    fn create(
        manager: &Manager,
        spec: ConnectionSpec,
    ) -> Result<(Created, ConnectionView), Problem> {
        manager.create_connection(spec)
    }

    fn replace(manager: &Manager, spec: ConnectionSpec) -> Result<ConnectionView, Problem> {
        manager.replace_connection(spec)
    }

    fn delete(manager: &Manager, name: &str) -> Result<(), Problem> {
        manager.delete_connection(name)
    }
}
