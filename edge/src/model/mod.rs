//! What a node is told to have, and what it says about it: one set of types for the management API,
//! configuration files, the database and the command line.
//!
//! A *spec* is what somebody wants and is what is stored. A *view* is a spec with its [`State`].
//! Names are those of Ockam's control API, in kebab-case; snake_case is read as well where files are.

mod channel;
mod desired;
mod differences;
mod node;
mod owned;
mod portal;
mod state;

pub use channel::{
    ChannelSpec, ChannelView, ConnectionSpec, ConnectionView, ListenerSpec, ListenerView,
};
pub use desired::{Action, Desired, Difference, Differences, PolicySpec};
pub use differences::differences;
pub use node::{HttpSpec, NodeSpec, NodeView};
pub use owned::Names;
pub use portal::{InletSpec, InletView, OutletSpec, OutletView, RelaySpec, RelayView};
pub use state::{Change, Created, State, Status};
