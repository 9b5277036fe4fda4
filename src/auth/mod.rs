//! Keys, tokens, identities: who may do what.

pub mod api_key;
pub mod appeal_link;
pub mod console_key;
pub mod id_number;
pub mod keys;
pub mod password;
pub mod person;
mod secret;
pub mod token;
pub mod totp;

pub use secret::SecretHash;
