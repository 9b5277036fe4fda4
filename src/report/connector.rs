//! The way to a provincial platform, whichever it is: one method that pushes a batch.

use futures_util::future::BoxFuture;

/// A batch of items, mapped already.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    /// by which the receiver knows a repetition
    pub number: String,
    /// by which it knows the items
    pub items: Vec<String>,
    /// what is sent, byte for byte the same at every attempt; may hold names and ID numbers
    pub body: String,
}

/// What the receiver says of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// the item's number
    pub item: String,
    /// why it was refused; `None`: the receiver has it
    pub refused: Option<String>,
}

/// Why a batch has no answer. It may be pushed again, whatever the receiver did with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The receiver understood, and will never take this batch as it is.
    #[error("{0}")]
    Rejected(String),
    /// The receiver does not have it, as far as we know.
    #[error("{error}")]
    Failed {
        /// for the operator
        error: String,
        /// what the receiver asked for, in s
        retry_after_s: Option<u32>,
    },
}

/// Pushes batches to one platform.
pub trait Connector: Send + Sync {
    /// Pushes a batch; an acknowledgement for every item that the receiver has decided about. Items that are left out
    /// are pushed again, with the same batch.
    fn push<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Acknowledgement>, PushError>>;
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "Batch({}, {} items)", self.number, self.items.len())
    }
}

impl PushError {
    /// A failure without a wish of the receiver's.
    pub fn failed(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), retry_after_s: None }
    }
}
