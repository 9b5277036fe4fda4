//! Which parts of the service somebody takes on, and by which key what waits here is sealed.
//!
//! Every node says every two seconds what its roles are; what nobody says any more is missing. Nodes with a database put a
//! sample beside it, sealed with their master key, so that a node without one knows whether it has the same.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::connection::{Away, Redis};
use super::script::Script;
use crate::auth::keys::DataKey;
use crate::clock::{Clock, Entropy};
use crate::config::{Role, Roles};

const ROLES: &str = "invigil:{nodes}:roles";
const SAMPLE: &str = "invigil:{nodes}:sample";
/// What a sample is sealed for, and what it says.
const SAMPLE_CONTEXT: &str = "sample";
const SAMPLE_TEXT: &[u8] = b"invigil";
/// How often each node says what it takes on, ms.
const SAID_EVERY_MS: i64 = 2_000;
/// How long that holds, ms: two may be lost.
const HOLDS_MS: i64 = 3 * SAID_EVERY_MS;
/// How long a role may be missing before that is said, ms: nodes start one after the other, and Redis may come back empty.
const MISSING_SAID_AFTER_MS: i64 = HOLDS_MS;

/// What all nodes together take on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// roles that nobody takes on
    pub missing: Vec<Role>,
    /// whether what the others seal opens here; none while nobody has sealed anything
    pub opens: Option<bool>,
}

/// What one node says of itself, and how it hears of the others.
pub struct RosterEntry {
    redis: Redis,
    script: Script,
    roles: Vec<Role>,
    master: DataKey,
    sample: Vec<u8>,
}

impl RosterEntry {
    /// Somebody who only listens, and has this master key.
    pub fn listener(redis: Redis, master: DataKey) -> Self {
        let script = Script::new(include_str!("lua/roster.lua"));
        Self { redis, script, roles: Vec::new(), master, sample: Vec::new() }
    }

    /// A node with these roles.
    #[must_use]
    pub fn taking_on(mut self, roles: &Roles) -> Self {
        self.roles = Role::ALL.into_iter().filter(|role| roles.has(*role)).collect();
        self
    }

    /// One whose master key is known to be the right one.
    #[must_use]
    pub fn vouching(mut self, entropy: &Entropy) -> Self {
        self.sample = self.master.seal(entropy, SAMPLE_CONTEXT, SAMPLE_TEXT);
        self
    }

    /// Says it once, and hears how it is now.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn say(&self) -> Result<Roster, Away> {
        let arguments = |command: &mut redis::Cmd| {
            command.arg(HOLDS_MS).arg(&self.sample);
            for role in &self.roles {
                command.arg(role.as_str());
            }
        };
        let (taken, sample): (Vec<String>, Vec<u8>) = self.script.run(&self.redis, &[ROLES, SAMPLE], arguments).await?;
        let is_missing = |role: &Role| !taken.iter().any(|word| word == role.as_str());
        let missing = Role::ALL.into_iter().filter(is_missing).collect();
        let opens = (!sample.is_empty()).then(|| self.master.open(SAMPLE_CONTEXT, &sample).is_ok());
        Ok(Roster { missing, opens })
    }

    /// Says it again and again, as long as this is awaited, and tells what it hears: that a role is missing once that has
    /// lasted a while.
    pub async fn keep(self, steady: Clock, tell: watch::Sender<Roster>) {
        let mut missing_since = BTreeMap::new();
        loop {
            match self.say().await {
                Ok(mut heard) => {
                    let now_ms = steady.now_ms();
                    missing_since.retain(|role, _| heard.missing.contains(role));
                    heard
                        .missing
                        .retain(|role| now_ms - *missing_since.entry(*role).or_insert(now_ms) >= MISSING_SAID_AFTER_MS);
                    log_changes(&tell.borrow(), &heard);
                    tell.send_if_modified(|before| {
                        let differs = *before != heard;
                        *before = heard;
                        differs
                    });
                }
                Err(away) => tracing::debug!(%away, "what other nodes take on cannot be heard now"),
            }
            steady.sleep_ms(SAID_EVERY_MS).await;
        }
    }
}

fn log_changes(before: &Roster, now: &Roster) {
    for role in now.missing.iter().filter(|role| !before.missing.contains(role)) {
        tracing::warn!(role = role.as_str(), "no node that is alive has this role: what it does waits, or is refused");
    }
    for role in before.missing.iter().filter(|role| !now.missing.contains(role)) {
        tracing::info!(role = role.as_str(), "a node has this role again");
    }
    match (before.opens, now.opens) {
        (Some(false), Some(false)) => {}
        (_, Some(false)) => tracing::error!(
            "what other nodes seal does not open here: this node has another keys.master, and does nothing until that is right"
        ),
        (Some(false), Some(true)) => tracing::info!("what other nodes seal opens here again"),
        _ => {}
    }
}
