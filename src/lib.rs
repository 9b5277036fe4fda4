//! invigil tells honest online training from faked training.
//!
//! This file is the map: one sentence a module.

/// One owner per live session: mailbox, effects, timers.
pub mod actor;
/// REST for platforms.
pub mod api;
/// Keys, tokens, identities: who may do what.
pub mod auth;
/// The commands of the `invigil` binary.
pub mod cli;
/// A client of the streaming protocol: what the demo, the benchmarks and the tests speak with.
pub mod client;
/// The only file that reads the operating system's clock or randomness.
pub mod clock;
/// What several nodes must share; on one node, a table in memory.
pub mod cluster;
/// What can be configured, and its defaults.
pub mod config;
/// The outbox, and signed webhooks out of it.
pub mod delivery;
/// Learners, honest and not, who show the server at work.
pub mod demo;
/// The WebSocket: handshake, frames, flow control.
pub mod gateway;
/// A server from its start to its end.
pub mod lifecycle;
/// The event types of the session log, reading and writing.
pub mod log;
/// Packs: parameters, actions, clauses.
pub mod policy;
/// One file a rule, named as in docs/rules.md.
pub mod rules;
/// When the next prompt or capture is due.
pub mod schedule;
/// The fold of a session log.
pub mod session;
/// Journal, records and encrypted photos.
pub mod store;
/// What a fold amounts to.
pub mod verdict;
/// From a photo to a face check.
pub mod vision;
