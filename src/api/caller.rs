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
        let key =
            bearer(parts).ok_or_else(|| Problem::unauthenticated("give an API key: Authorization: Bearer ivk_…"))?;
        let holder = state.store.key_holder(key.hash()).await?;
        let holder = holder.ok_or_else(|| Problem::unauthenticated("this API key is unknown or revoked"))?;
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
