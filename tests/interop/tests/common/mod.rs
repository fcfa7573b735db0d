//! What the tests share: Ockam nodes and Culvert's programs behind the same handles, and a service
//! that shows whether bytes arrive.

pub mod http;
pub mod node;
