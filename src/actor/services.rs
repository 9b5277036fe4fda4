//! What every live session uses besides its own log.

use std::sync::Arc;

use tokio::sync::Notify;

use super::RecentPhotos;
use crate::auth::keys::Keys;
use crate::clock::{Clock, Entropy};
use crate::cluster::{Cluster, Presence};
use crate::config::{Limits, Roles};
use crate::faces::Faces;
use crate::findings::Reporter;
use crate::policy::Policies;
use crate::store::Store;
use crate::store::evidence::Evidence;
use crate::telemetry::Telemetry;

/// The parts of the server that live sessions share.
pub struct Services {
    /// journal and records
    pub store: Store,
    /// encrypted photos
    pub evidence: Evidence,
    /// the installation's keys
    pub keys: Arc<Keys>,
    /// who looks at photos
    pub faces: Faces,
    /// by what photos of a platform's other learners are known again
    pub recent_photos: RecentPhotos,
    /// who plays where
    pub presence: Presence,
    /// this process among the nodes
    pub cluster: Cluster,
    /// which parts of the service it takes on
    pub roles: Roles,
    /// tells the risk detectors
    pub findings: Reporter,
    /// the packs, and which is in force
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
