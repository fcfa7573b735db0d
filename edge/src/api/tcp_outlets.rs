//! TCP services that allowed peers reach.

use culvert_manage::problem::Problem;
use serde_json::{Map, Value};

use super::resource::{Resource, handlers};
use super::spelling;
use crate::daemon::Manager;
use crate::model::{Created, OutletSpec, OutletView};

/// TCP services that allowed peers reach.
struct Outlets;

handlers!(
    Outlets,
    OutletSpec,
    OutletView,
    "tcp-outlets",
    "/{node}/tcp-outlets",
    "/{node}/tcp-outlets/{name}"
);

impl Resource for Outlets {
    type Spec = OutletSpec;
    type View = OutletView;

    fn respell(given: &mut Map<String, Value>, _: bool) -> Result<(), Problem> {
        let no_kind = "outlets are \"regular\": leave it out";
        spelling::only(given, "kind", "regular", no_kind)?;
        let no_tls = "outlets connect with plain TCP: leave it out";
        spelling::only(given, "tls", "none", no_tls)?;
        spelling::rename(given, "address", "name")?;
        spelling::place(given, "to")
    }

    fn name(spec: &OutletSpec) -> &str {
        &spec.name
    }

    fn spec(view: OutletView) -> OutletSpec {
        view.spec
    }

    fn as_ockam(view: &mut Map<String, Value>) {
        let name = view.get("name").cloned().unwrap_or_default();
        view.insert("address".into(), name);
        view.insert("privileged".into(), false.into());
    }

    fn list(manager: &Manager) -> Vec<OutletView> {
        manager.outlets()
    }

    fn show(manager: &Manager, name: &str) -> Result<OutletView, Problem> {
        manager.outlet(name)
    }

    fn create(manager: &Manager, spec: OutletSpec) -> Result<(Created, OutletView), Problem> {
        manager.create_outlet(spec)
    }

    fn replace(manager: &Manager, spec: OutletSpec) -> Result<OutletView, Problem> {
        manager.replace_outlet(spec)
    }

    fn delete(manager: &Manager, name: &str) -> Result<(), Problem> {
        manager.delete_outlet(name)
    }
}
