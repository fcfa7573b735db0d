//! Secure channels that are kept up.

use culvert_manage::problem::Problem;
use serde_json::{Map, Value};

use super::resource::{Resource, handlers};
use super::spelling;
use crate::daemon::Manager;
use crate::model::{ChannelSpec, ChannelView, Created};

/// Secure channels that are kept up.
struct Channels;

handlers!(
    Channels,
    ChannelSpec,
    ChannelView,
    "secure-channels",
    "/{node}/secure-channels",
    "/{node}/secure-channels/{name}"
);

impl Resource for Channels {
    type Spec = ChannelSpec;
    type View = ChannelView;

    fn respell(given: &mut Map<String, Value>, is_new: bool) -> Result<(), Problem> {
        if is_new {
            spelling::name(given);
        }
        Ok(())
    }

    fn name(spec: &ChannelSpec) -> &str {
        &spec.name
    }

    fn spec(view: ChannelView) -> ChannelSpec {
        view.spec
    }

    fn list(manager: &Manager) -> Vec<ChannelView> {
        manager.channels()
    }

    fn show(manager: &Manager, name: &str) -> Result<ChannelView, Problem> {
        manager.channel(name)
    }

    fn create(manager: &Manager, spec: ChannelSpec) -> Result<(Created, ChannelView), Problem> {
        manager.create_channel(spec)
    }

    fn replace(manager: &Manager, spec: ChannelSpec) -> Result<ChannelView, Problem> {
        manager.replace_channel(spec)
    }

    fn delete(manager: &Manager, name: &str) -> Result<(), Problem> {
        manager.delete_channel(name)
    }
}
