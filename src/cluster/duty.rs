//! What one node does for all: takes webhooks and reports out, and holds sessions against each other.
//!
//! Such a duty is owned as a session is. While nobody knows whose it is, nobody does it: it waits in the store.

use tokio::sync::watch;

use super::redis::{Claim, Node};

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// this node's
    Mine,
    /// that of another node
    Of(String),
    /// nobody knows
    Unknown,
}

/// Whose turn it is, as a signal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Turns(watch::Receiver<Turn>);

impl Turns {
    /// Of whoever is alone: theirs for ever.
    pub fn always() -> Self {
        Self(watch::channel(Turn::Mine).1)
    }

    /// Of a duty of several nodes, and what keeps it as long as it is awaited. A node that does not compete for it only
    /// knows whose it is.
    pub fn of(node: Node, duty: &'static str, competes: bool) -> (Self, impl Future<Output = ()>) {
        let (tell, turns) = watch::channel(Turn::Unknown);
        (Self(turns), keep(node, duty, competes, tell))
    }

    /// Whether it can become another node's.
    pub fn is_shared(&self) -> bool {
        // Nobody is left who would say so.
        self.0.has_changed().is_ok()
    }

    /// Whose turn it is now.
    pub fn now(&self) -> Turn {
        self.0.borrow().clone()
    }

    /// Whether it is this node's.
    pub fn is_mine(&self) -> bool {
        *self.0.borrow() == Turn::Mine
    }

    /// Returns once it is this node's.
    pub async fn mine(&mut self) {
        self.until(|turn| *turn == Turn::Mine).await;
    }

    /// Returns once it is not this node's.
    pub async fn over(&mut self) {
        self.until(|turn| *turn != Turn::Mine).await;
    }

    async fn until(&mut self, wanted: impl FnMut(&Turn) -> bool) {
        // Who is alone, or stops, keeps what they have.
        if self.0.wait_for(wanted).await.is_err() {
            std::future::pending().await
        }
    }
}

async fn keep(node: Node, duty: &'static str, competes: bool, tell: watch::Sender<Turn>) {
    let (mut seen, mut held) = (node.seen(), node.lease().held());
    loop {
        let turn = tokio::select! {
            biased;
            // Before an answer that may be long in coming: by then it may be another's.
            _ = held.wait_for(|held| !held) => Turn::Unknown,
            claimed = node.claim(duty), if competes => match claimed {
                Ok(Claim::Owned) => Turn::Mine,
                Ok(Claim::HeldBy(other)) => Turn::Of(other),
                Err(_) => Turn::Unknown,
            },
            owner = node.owner(duty), if !competes => match owner {
                Ok(Some(other)) => Turn::Of(other),
                Ok(None) | Err(_) => Turn::Unknown,
            },
        };
        tell.send_if_modified(|before| {
            if *before == turn {
                return false;
            }
            tracing::debug!(duty, ?turn, "a duty changes hands");
            *before = turn;
            true
        });
        let changed = tokio::select! {
            changed = seen.changed() => changed,
            changed = held.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_turn_is_waited_for_and_ends() {
        let (tell, turns) = watch::channel(Turn::Of("other".into()));
        let mut turns = Turns(turns);
        assert!(!turns.is_mine() && turns.mine().now_or_never().is_none());
        tell.send_replace(Turn::Mine);
        assert!(turns.is_mine() && turns.mine().now_or_never().is_some());
        assert!(turns.over().now_or_never().is_none());
        tell.send_replace(Turn::Unknown);
        assert!(turns.over().now_or_never().is_some());
        let mut alone = Turns::always();
        assert!(turns.is_shared() && !alone.is_shared());
        assert!(alone.is_mine() && alone.mine().now_or_never().is_some() && alone.over().now_or_never().is_none());
    }
}
