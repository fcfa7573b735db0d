//! TCP ports of this machine that lead to outlets.

use culvert_manage::problem::Problem;
use serde_json::{Map, Value};

use super::resource::{Resource, handlers, status};
use super::spelling;
use crate::daemon::Manager;
use crate::model::{Created, InletSpec, InletView};

/// TCP ports of this machine that lead to outlets.
struct Inlets;

handlers!(
    Inlets,
    InletSpec,
    InletView,
    "tcp-inlets",
    "/{node}/tcp-inlets",
    "/{node}/tcp-inlets/{name}"
);

impl Resource for Inlets {
    type Spec = InletSpec;
    type View = InletView;

    fn respell(given: &mut Map<String, Value>, is_new: bool) -> Result<(), Problem> {
        spelling::portal_kind(given)?;
        let no_tls = "inlets take plain TCP: leave it out";
        spelling::only(given, "tls", "none", no_tls)?;
        spelling::place(given, "from")?;
        if is_new {
            spelling::name(given);
            let anywhere = || "127.0.0.1:0".into();
            given.entry("from").or_insert_with(anywhere);
        }
        Ok(())
    }

    fn name(spec: &InletSpec) -> &str {
        &spec.name
    }

    fn spec(view: InletView) -> InletSpec {
        view.spec
    }

    fn as_ockam(view: &mut Map<String, Value>) {
        status(view);
        view.insert("privileged".into(), false.into());
        if view["status"] == "up" {
            let route = view.get("route").cloned().unwrap_or_default();
            view.insert("current-route".into(), route);
        }
    }

    fn list(manager: &Manager) -> Vec<InletView> {
        manager.inlets()
    }

    fn show(manager: &Manager, name: &str) -> Result<InletView, Problem> {
        manager.inlet(name)
    }

    fn create(manager: &Manager, spec: InletSpec) -> Result<(Created, InletView), Problem> {
        manager.create_inlet(spec)
    }

    fn replace(manager: &Manager, spec: InletSpec) -> Result<InletView, Problem> {
        manager.replace_inlet(spec)
    }

    fn delete(manager: &Manager, name: &str) -> Result<(), Problem> {
        manager.delete_inlet(name)
    }
}
