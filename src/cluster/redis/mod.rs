//! What several nodes share, in Redis: who owns which session, who plays where, messages between nodes, limits of rates,
//! photos that wait.
//!
//! Nothing here is the truth about a session. Its journal is, and the epochs in it keep two owners apart; so everything
//! in Redis may be lost at any time, and is made again by the nodes that live. Each script touches the keys of one slot,
//! so that all of it runs on Redis Cluster as it does on one server.
//!
//! | key | what |
//! | --- | --- |
//! | `invigil:{nodes}:leases` | sorted set: until when each node's lease holds, ms by Redis's clock |
//! | `invigil:{nodes}:about` | hash: since when this Redis holds anything, and whether open sessions were looked through |
//! | `invigil:{nodes}:roles` | sorted set: until when somebody takes on each role |
//! | `invigil:{nodes}:sample` | something sealed with the master key of the nodes that have a database |
//! | `invigil:sessions:NODE` | set: the sessions of a node, and a mark by which its loss shows |
//! | `invigil:owner:SESSION` | the node that owns a session |
//! | `invigil:messages:NODE` | stream: what other nodes say to this one |
//! | `invigil:presence:LEARNER` | where a learner plays |
//! | `invigil:rate:LIMIT:WHOSE` | a bucket |
//! | `invigil:{photos}:starts`, `invigil:{photos}:jobs` | streams: photos that wait for a check, those of starts first |

mod address;
mod bus;
mod connection;
mod lease;
mod node;
mod photos;
mod presence;
mod rates;
mod roster;
mod script;

pub use address::{AddressError, RedisAddress};
#[cfg(test)]
pub(crate) use bus::MESSAGE_LIMIT_BYTES;
pub use bus::{Answer, AskError, Bus, Command, Question, Received};
pub use connection::{Away, Redis};
pub use lease::{Lease, Timing};
pub use node::{Claim, Node, Seen, TakenUp};
pub use photos::{Order, PhotoJob, PhotoQueue, PhotoWorker, QueueError, Queued, WorkerSetup};
pub use presence::SharedPresence;
pub use rates::SharedBuckets;
pub use roster::{Roster, RosterEntry};
