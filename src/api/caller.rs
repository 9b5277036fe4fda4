//! Who calls: the operator, or a platform, by the API key in `Authorization: Bearer`.
//!
//! A platform sees only what is its own; what belongs to others does not exist for it. A suspended or banned platform
//! can still read: its records are its own, and the rules see to what its sessions are worth.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::ApiState;
use super::problem::Problem;
use crate::auth::api_key::ApiKey;
use crate::store::api_keys::KeyHolder;

/// Whoever showed a valid key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// the installation's operator
    Operator,
    /// a platform, by its identifier
    Platform(String),
}

/// The operator; everybody else is refused.
pub struct Operator;

/// A platform, by its identifier; the operator is refused, who has no learners or projects.
pub struct OwnPlatform(pub String);

impl Caller {
    /// Whether what belongs to `platform` exists for this caller.
    pub fn sees(&self, platform: &str) -> bool {
        match self {
            Self::Operator => true,
            Self::Platform(own) => own == platform,
        }
    }

    /// The platform to whose records a list is limited; `None` for the operator, who sees all.
    pub fn scope(self) -> Option<String> {
        match self {
            Self::Operator => None,
            Self::Platform(own) => Some(own),
        }
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let key =
            bearer(parts).ok_or_else(|| Problem::unauthenticated("give an API key: Authorization: Bearer ivk_…"))?;
        match state.store.key_holder(key.hash()).await? {
            Some(KeyHolder::Operator) => Ok(Self::Operator),
            Some(KeyHolder::Platform(platform)) => Ok(Self::Platform(platform)),
            None => Err(Problem::unauthenticated("this API key is unknown or revoked")),
        }
    }
}

impl FromRequestParts<ApiState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        match Caller::from_request_parts(parts, state).await? {
            Caller::Operator => Ok(Self),
            Caller::Platform(_) => Err(Problem::forbidden("only the operator may do that")),
        }
    }
}

impl FromRequestParts<ApiState> for OwnPlatform {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        match Caller::from_request_parts(parts, state).await? {
            Caller::Platform(platform) => Ok(Self(platform)),
            Caller::Operator => Err(Problem::forbidden("only a platform may do that: use a platform's key")),
        }
    }
}

fn bearer(parts: &Parts) -> Option<ApiKey> {
    let (scheme, key) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { ApiKey::parse(key.trim()) } else { None }
}
