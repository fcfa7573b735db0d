//! Wire structs of credentials.
