//! Wire structs of secure channels.
