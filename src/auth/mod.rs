//! Keys, tokens, identities: who may do what.

pub mod keys;
mod secret;
pub mod token;

pub use secret::SecretHash;
