//! Learners, honest and not, who show the server at work.
//!
//! A server in a temporary folder, three platforms with a webhook receiver, and nineteen learners who are clients of the
//! real protocol with real photos. Sessions run faster by an injected clock; nothing else is faked. How it looks on a
//! terminal is in [`view`] and [`table`]; the command line is `cli::demo`.

mod camera;
mod classroom;
mod course;
mod desk;
mod identity;
mod learners;
mod nodes;
mod people;
mod player;
mod progress;
mod receiver;
mod report;
mod run;
pub mod table;
pub mod view;
mod world;

pub use self::classroom::Classroom;
pub use self::nodes::{Happening, NodeSeen, Nodes, SERVING, SESSIONS};
pub use self::progress::{Progress, Seen};
pub use self::report::{Broken, LearnerReport, Report, SessionReport};
pub use self::run::{ConsoleAccess, Demo, DemoError, DemoOptions};
