//! One owner at a time of each live session: turns, mailbox, door, effects, timers.
//!
//! | file | what |
//! | --- | --- |
//! | `mailbox` | what can be said to a session |
//! | `run` | who has the session in hand, and what ends each turn |
//! | `live` | the state, and the one door through which events enter |
//! | `client`, `photos`, `asking`, `closing` | what follows from a message, a photo, the time, the end |
//! | `playing` | what other sessions hear of this one, and it of them |
//! | `registry` | which sessions are live, and how they begin |
//! | `others` | what other nodes own, ask for, hand over and leave behind |
//!
//! It does not know the rules (the fold does), nor when something is due (the schedule does), nor sockets.

mod asking;
mod client;
mod closing;
mod live;
mod mailbox;
mod others;
mod photos;
mod playing;
mod registry;
mod run;
mod seen_before;
mod services;

pub use mailbox::{Arrival, ConnectionId, Gone, Handle, IncomingPhoto, Outbound, OutboundQueue, Outlet};
pub use registry::{Registry, StartError};
pub use run::Turn;
pub use seen_before::RecentPhotos;
pub use services::Services;
