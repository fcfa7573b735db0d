//! The authority of a project: it knows the members, makes tickets, and issues the credentials that
//! say what members are.

mod desk;
mod issuer;
mod refused;
mod rules;
mod store;
#[cfg(test)]
mod tests;
