//! Wire structs of identities.
