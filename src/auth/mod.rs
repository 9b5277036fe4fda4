//! Keys, tokens, identities: who may do what.

pub mod api_key;
pub mod id_number;
pub mod keys;
pub mod person;
mod secret;
pub mod token;

pub use secret::SecretHash;
