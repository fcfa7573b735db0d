//! Every command as a user types it: what it prints for people and for programs, and its exit status.

mod alone;
mod guide;
mod measured;
mod nodes;
mod resources;
