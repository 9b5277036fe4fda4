//! This process, alone or one of several nodes.

use super::clocks::ClockCheck;
use super::redis::{Away, Bus, Claim, Node};

/// This process among the nodes of the installation.
pub enum Cluster {
    /// There is no other: everything is its own, and nobody has to be asked.
    Alone,
    /// One of several.
    Member(Member),
}

/// One of several nodes.
pub struct Member {
    /// its lease and what it owns
    pub node: Node,
    /// its messages
    pub bus: Bus,
    /// whether its clock is right
    pub clock: ClockCheck,
}

impl Cluster {
    /// Whether this process may act: whether what it owns is still its own.
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Alone => true,
            Self::Member(member) => member.node.lease().is_valid(),
        }
    }

    /// Returns when this process may act.
    pub async fn valid(&self) {
        if let Self::Member(member) = self {
            // An error means that the node is gone, and its process with it.
            let _ = member.node.lease().held().wait_for(|held| *held).await;
        }
    }

    /// Whether sessions may be taken here.
    pub fn may_take(&self) -> bool {
        match self {
            Self::Alone => true,
            Self::Member(member) => member.node.lease().is_valid() && member.clock.is_right(),
        }
    }

    /// As [`Node::claim`]. Alone, all is owned.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn claim(&self, session: &str) -> Result<Claim, Away> {
        match self {
            Self::Alone => Ok(Claim::Owned),
            Self::Member(member) => member.node.claim(session).await,
        }
    }

    /// As [`Node::give_up`].
    pub async fn give_up(&self, session: &str, to: Option<&str>) {
        if let Self::Member(member) = self
            && let Err(away) = member.node.give_up(session, to).await
        {
            tracing::debug!(session, %away, "a session that was given up still has its owner until somebody asks");
        }
    }

    /// The member, unless this process is alone.
    pub fn member(&self) -> Option<&Member> {
        match self {
            Self::Alone => None,
            Self::Member(member) => Some(member),
        }
    }
}
