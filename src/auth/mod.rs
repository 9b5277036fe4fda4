//! Keys, tokens, identities: who may do what.

pub mod api_key;
pub mod id_number;
pub mod keys;
mod secret;
pub mod token;
pub mod webhook_secret;

pub use secret::SecretHash;
