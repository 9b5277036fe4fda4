//! Servers of other makers that tests start: each on a port of its own in a temporary folder, and gone with its holder.
//!
//! The crate's own tests include this folder too (`#[path]`), so nothing here uses the crate.

pub mod again;
pub mod daemon;
pub mod postgres;
pub mod proxy;
pub mod redis;
