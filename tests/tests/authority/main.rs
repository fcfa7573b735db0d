//! An authority and those who enroll with it, as real processes.

mod asker;
mod enrollment;
mod portals;
mod requests;
mod support;
mod tickets;
