//! What every live session uses besides its own log.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::auth::keys::Keys;
use crate::clock::{Clock, Entropy};
use crate::cluster::Presence;
use crate::config::Limits;
use crate::policy::Policy;
use crate::store::Store;
use crate::store::evidence::Evidence;
use crate::telemetry::Telemetry;
use crate::vision::VisionPool;

/// The parts of the server that live sessions share.
pub struct Services {
    /// journal and records
    pub store: Store,
    /// encrypted photos
    pub evidence: Evidence,
    /// the installation's keys
    pub keys: Arc<Keys>,
    /// face checks
    pub vision: VisionPool,
    /// who plays where
    pub presence: Presence,
    /// the packs, by identifier
    pub policies: Policies,
    /// the clock of sessions: what logs are stamped with
    pub clock: Clock,
    /// the clock of tokens, webhooks and signatures
    pub wall: Clock,
    /// identifiers and seeds
    pub entropy: Entropy,
    /// what one learner may do
    pub limits: Limits,
    /// wakes the delivery of webhooks
    pub deliver: Arc<Notify>,
    /// what is counted
    pub telemetry: Arc<Telemetry>,
    /// how webhooks name this server
    pub source: String,
}

/// The policy packs of an installation.
#[derive(Clone, Debug)]
pub struct Policies(HashMap<String, Arc<Policy>>);

impl Policies {
    /// The embedded pack and `more`, by identifier.
    pub fn new(more: Vec<Policy>) -> Self {
        let all = std::iter::once(Policy::default()).chain(more);
        Self(all.map(|policy| (policy.id.clone(), Arc::new(policy))).collect())
    }

    /// The pack with this identifier.
    pub fn by_id(&self, id: &str) -> Option<&Arc<Policy>> {
        self.0.get(id)
    }

    /// The identifiers, that of the embedded pack first.
    pub fn names(&self) -> Arc<[String]> {
        let default = Policy::default().id;
        let mut names: Vec<String> = self.0.keys().cloned().collect();
        names.sort_by_key(|name| (*name != default, name.clone()));
        names.into()
    }

    /// The pack that a log names.
    pub fn by_label(&self, label: &str) -> Option<&Arc<Policy>> {
        self.0.values().find(|policy| policy.label() == label)
    }
}
