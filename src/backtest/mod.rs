//! Judging recorded sessions again under another policy: how many change, and why.
//!
//! A session's facts depend on the verdicts of the learner's earlier sessions, so the unit is the chain: all sessions of
//! one learner in one project, in the order of opening. Each chain is judged twice in one reading, under the policy that
//! was in force and under the one in question, each time with facts recomputed along it ([`crate::verdict::History`], as
//! the live server does). Chains are independent of each other, and are shared out to threads.
//!
//! It changes nothing, and decides nothing: verdicts of record stay as they are.

mod chain;
pub mod generate;
mod index;
mod logs;
mod report;
mod run;
mod source;
mod table;
mod tally;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

pub use generate::{GenerateError, Plan, generate};
pub use index::Index;
pub use logs::logs_at;
pub use report::Report;
pub use run::{Progress, judge};
pub use source::Source;
pub use table::draw;

use crate::log::LineError;
use crate::policy::{Policies, Policy};
use crate::store::StoreError;
use crate::store::reading::Records;

/// By what sessions are judged again.
#[derive(Clone, Debug)]
pub struct Question {
    /// the policy in question
    pub candidate: Arc<Policy>,
    /// what it is compared with; `None`: the pack that each log names
    pub base: Option<Arc<Policy>>,
    /// the packs that logs may name
    pub packs: Policies,
    /// what a log is judged by whose pack is not among them
    pub fallback: Arc<Policy>,
}

/// A log that cannot be judged. The others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLog {
    /// the file, or the session of a data folder
    pub place: String,
    /// the line of the file, or of the session's log, from 1
    pub line: u64,
    /// the field and the problem
    pub error: LineError,
}

impl std::fmt::Display for BadLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: line {}: {}", self.place, self.line, self.error)
    }
}

/// Why a backtest did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// which
        path: PathBuf,
        /// what the system says
        error: std::io::Error,
    },
    /// The records could not be read.
    #[error("{records}: {error}")]
    Store {
        /// which
        records: Records,
        /// what the store says
        error: StoreError,
    },
    /// A thread could not be started, or gave up.
    #[error("a thread of the backtest failed: {0}")]
    Thread(String),
}
