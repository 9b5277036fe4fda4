//! Who calls, by the API key in `Authorization: Bearer`: the operator, a supervisor, an auditor, or a platform.
//!
//! Each handler says by the extractor that it takes who may call it; the test in `roles.rs` walks them all. A platform
//! sees only what is its own; what belongs to others does not exist for it. A suspended or banned platform can still
//! read: its records are its own, and the rules see to what its sessions are worth.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::ApiState;
use super::problem::Problem;
use crate::auth::api_key::ApiKey;
use crate::gateway::address::ClientAddress;
use crate::store::api_keys::Role;

/// Whoever showed a valid key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// the key's identifier
    pub key: String,
    /// what they may do
    pub role: Role,
}

/// The operator; everybody else is refused.
pub struct Operator {
    /// the key's identifier
    pub key: String,
}

/// Who decides for the office: the operator or a supervisor.
pub struct Decider {
    /// the key's identifier: decisions are on record by it
    pub key: String,
}

/// Whoever is of the office: the operator, a supervisor or an auditor.
pub struct Official(pub Caller);

/// Everybody but an auditor, who decides nothing.
pub struct Participant(pub Caller);

/// A platform, by its identifier; others are refused, who have no learners or projects.
pub struct OwnPlatform(pub String);

impl Caller {
    /// Whether what belongs to `platform` exists for this caller.
    pub fn sees(&self, platform: &str) -> bool {
        self.platform().is_none_or(|own| own == platform)
    }

    /// The platform to whose records a list is limited; `None` for the office, which sees all.
    pub fn scope(self) -> Option<String> {
        match self.role {
            Role::Platform(own) => Some(own),
            Role::Operator | Role::Supervisor | Role::Auditor => None,
        }
    }

    /// The platform that calls; `None` for the office.
    pub fn platform(&self) -> Option<&str> {
        match &self.role {
            Role::Platform(own) => Some(own),
            Role::Operator | Role::Supervisor | Role::Auditor => None,
        }
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let address = parts.extensions.get::<ClientAddress>().copied();
        state.rates.may_authenticate(address).await?;
        let failed = async |why| {
            state.rates.authentication_failed(address).await;
            Err(Problem::unauthenticated(why))
        };
        let Some(key) = bearer(parts) else {
            return failed("give an API key: Authorization: Bearer ivk_…").await;
        };
        let Some(holder) = state.store.key_holder(key.hash()).await? else {
            return failed("this API key is unknown or revoked").await;
        };
        state.rates.request_of_key(key.hash()).await?;
        Ok(Self { key: holder.key, role: holder.role })
    }
}

impl FromRequestParts<ApiState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match caller.role {
            Role::Operator => Ok(Self { key: caller.key }),
            _ => Err(Problem::forbidden("only the operator may do that")),
        }
    }
}

impl FromRequestParts<ApiState> for Decider {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match caller.role {
            Role::Operator | Role::Supervisor => Ok(Self { key: caller.key }),
            Role::Auditor | Role::Platform(_) => {
                Err(Problem::forbidden("only the operator or a supervisor may do that"))
            }
        }
    }
}

impl FromRequestParts<ApiState> for Official {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match caller.role {
            Role::Operator | Role::Supervisor | Role::Auditor => Ok(Self(caller)),
            Role::Platform(_) => Err(Problem::forbidden("only the office may do that: no platform's key")),
        }
    }
}

impl FromRequestParts<ApiState> for Participant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match caller.role {
            Role::Auditor => Err(Problem::forbidden("an auditor reads and decides nothing")),
            Role::Operator | Role::Supervisor | Role::Platform(_) => Ok(Self(caller)),
        }
    }
}

impl FromRequestParts<ApiState> for OwnPlatform {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        match Caller::from_request_parts(parts, state).await?.role {
            Role::Platform(platform) => Ok(Self(platform)),
            _ => Err(Problem::forbidden("only a platform may do that: use a platform's key")),
        }
    }
}

fn bearer(parts: &Parts) -> Option<ApiKey> {
    let (scheme, key) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { ApiKey::parse(key.trim()) } else { None }
}

#[cfg(test)]
mod tests {
    use axum::http::header::RETRY_AFTER;
    use serde_json::json;

    use crate::api::fixture::Api;
    use crate::config::{Config, Limits};

    fn limits() -> Limits {
        Limits {
            requests_per_second: 1,
            requests_burst: 3,
            address_requests_per_second: 2,
            address_requests_burst: 8,
            authentication_failures_per_minute: 2,
            openings_per_minute: 1,
            ..Config::default().limits
        }
    }

    #[tokio::test]
    async fn a_key_may_ask_so_often_and_other_keys_are_not_held_up() {
        let api = Api::start().await.with_limits(&limits()).as_platform();
        for _ in 0..3 {
            api.get("/platform").await.expect(200);
        }
        let answer = api.get("/platform").await;
        assert_eq!(answer.headers[RETRY_AFTER], "1");
        assert_eq!(answer.expect_problem(429, "too-many-requests")["retry_after_ms"], 1_000);
        api.clock.advance_ms(1_000);
        api.get("/platform").await.expect(200);
        api.get("/platform").await.expect_problem(429, "too-many-requests");
    }

    #[tokio::test]
    async fn an_address_may_ask_so_often_whatever_it_shows() {
        let api = Api::start().await.with_limits(&limits());
        let (here, there) = (api.calling_from([192, 0, 2, 1]), api.calling_from([192, 0, 2, 2]));
        for _ in 0..8 {
            here.get("/openapi.json").await.expect(200);
        }
        here.get("/openapi.json").await.expect_problem(429, "too-many-requests");
        there.get("/openapi.json").await.expect(200);
    }

    #[tokio::test]
    async fn wrong_keys_close_the_door_to_an_address_for_a_while() {
        let api = Api::start().await.with_limits(&limits());
        let (here, there) = (api.calling_from([192, 0, 2, 1]), api.calling_from([192, 0, 2, 2]));
        for key in ["", &format!("ivk_{}", "A".repeat(43))] {
            here.with_key(key).get("/platforms").await.expect_problem(401, "unauthenticated");
        }
        here.get("/platforms").await.expect_problem(429, "too-many-requests");
        there.get("/platforms").await.expect(200);
        api.clock.advance_ms(30_000);
        here.get("/platforms").await.expect(200);
    }

    #[tokio::test]
    async fn a_learner_gets_so_many_sessions_a_minute() {
        let operator = Api::start().await;
        let ready = operator.as_platform().ready(&operator).await;
        let api = operator.with_limits(&limits()).as_platform();
        let new = json!({"lesson": ready.lesson, "learner": ready.learner});
        api.post("/sessions", new.clone()).await.expect(201);
        let refused = api.post("/sessions", new).await.expect_problem(429, "too-many-requests");
        assert_eq!(refused["retry_after_ms"], 60_000);
    }
}
