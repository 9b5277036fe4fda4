//! What several nodes must share about live sessions; on one node, tables in memory.

pub mod clocks;
mod duty;
mod membership;
mod presence;
pub mod redis;

pub use duty::{Turn, Turns};
pub use membership::{Cluster, Member};
pub use presence::{Overlap, Played, Presence, PresenceTable, Report, STRETCHES_KEPT, Told};
