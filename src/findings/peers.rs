//! Sessions of several nodes are held against each other on one of them: the others send there what theirs tell.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::Turns;
use crate::cluster::redis::{Bus, Command};
use crate::policy::Policies;
use crate::risk::{Observation, Sign, Who};

/// Observations that go in one message, which must stay below what the bus takes.
const MESSAGE_LIMIT: usize = 64;

/// Whose turn it is to detect, and the way there.
pub struct Peers {
    /// whose turn it is
    pub turns: Turns,
    /// how others are reached; none: there are none
    pub bus: Option<Bus>,
}

impl Peers {
    /// There are no others.
    pub fn none() -> Self {
        Self { turns: Turns::always(), bus: None }
    }

    /// Sends observations to `node`; gives how many did not go.
    pub(super) async fn send(&self, node: &str, observations: &[Observation]) -> u64 {
        let Some(bus) = &self.bus else { return observations.len() as u64 };
        let mut lost = 0;
        for some in observations.chunks(MESSAGE_LIMIT) {
            let command = Command::Observed { observations: some.iter().map(Told::of).collect() };
            if let Err(error) = bus.tell(node, &command).await {
                tracing::debug!(%error, node, "the detectors of another node are not told");
                lost += some.len() as u64;
            }
        }
        lost
    }
}

/// An observation on its way.
#[derive(Serialize, Deserialize)]
struct Told {
    session: String,
    learner: String,
    platform: String,
    /// the label of the pack
    policy: String,
    at: i64,
    sign: Sign,
}

impl Told {
    fn of(observation: &Observation) -> Value {
        let Observation { who, at, sign } = observation;
        let told = Self {
            session: who.session.to_string(),
            learner: who.learner.to_string(),
            platform: who.platform.to_string(),
            policy: who.policy.label(),
            at: *at,
            sign: sign.clone(),
        };
        serde_json::to_value(told).expect("an observation is plain data")
    }
}

/// What another node has told; none where it cannot be understood, because its invigil or its packs are newer.
pub fn heard(told: Value, policies: &Policies) -> Option<Observation> {
    let told: Told = serde_json::from_value(told).ok()?;
    let who = Who {
        session: told.session.into(),
        learner: told.learner.into(),
        platform: told.platform.into(),
        policy: policies.by_label(&told.policy)?.clone(),
    };
    Some(Observation { who: Arc::new(who), at: told.at, sign: told.sign })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn what_is_told_is_heard() {
        let policies = Policies::new(Vec::new()).unwrap();
        let policy = policies.by_label(&Policy::default().label()).unwrap().clone();
        let signs = [
            Sign::Connected { address: None, device: Some("00ff".into()), first: true },
            Sign::FaceMatched { address: Some("00aa".into()), device: None },
            Sign::Playing { device: None },
            Sign::Answered { after_ms: 1_200, passed: true },
            Sign::EvenBeats { intervals: 64, interval_ms: 5_000 },
            Sign::LockedPosition { intervals: 64 },
            Sign::Block { number: 3, digest: u64::MAX - 1 },
            Sign::Conflict { with_session: "b".into(), with_platform: "p2".into(), overlap_ms: 10_000 },
            Sign::Closed { faulty: false },
        ];
        for sign in signs {
            let who = Who { session: "s".into(), learner: "l".into(), platform: "p".into(), policy: policy.clone() };
            let observation = Observation { who: Arc::new(who), at: 1_790_000_000_000, sign };
            let heard = heard(Told::of(&observation), &policies).unwrap();
            assert_eq!(format!("{heard:?}"), format!("{observation:?}"));
        }
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        let policies = Policies::new(Vec::new()).unwrap();
        assert!(heard(serde_json::json!({"sign": {"smelt": {}}}), &policies).is_none());
    }
}
