//! Keys, tokens, identities: who may do what.

pub mod keys;
