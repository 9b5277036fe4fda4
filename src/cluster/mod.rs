//! What several nodes must share about live sessions; on one node, a table in memory.

mod presence;

pub use presence::{Overlap, Played, Presence, Told};
