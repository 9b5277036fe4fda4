//! What several nodes must share about live sessions; on one node, tables in memory.

mod presence;
pub mod redis;

pub use presence::{Overlap, Played, Presence, PresenceTable, Report, STRETCHES_KEPT, Told};
