//! Who calls: by the API key in `Authorization: Bearer` the operator, a supervisor, an auditor, or a platform; by the console's
//! cookie an account.
//!
//! Each handler says by the extractor that it takes who may call it; the test in `roles.rs` walks them all. What belongs to
//! another platform, or to another region than a supervisor's, does not exist. A suspended or banned platform can still
//! read: its records are its own, and the rules see to what its sessions are worth.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::ApiState;
use super::cookie;
use super::problem::Problem;
use crate::auth::SecretHash;
use crate::auth::api_key::ApiKey;
use crate::gateway::address::ClientAddress;
use crate::store::StoreError;
use crate::store::access_log::{Actor, LoggedAccess};
use crate::store::accounts::AccountRecord;
use crate::store::api_keys::Role;
use crate::store::reach::{Reach, Thing};
use crate::store::words::{AccessKind, AccountRole};

/// Whoever showed a valid key or is signed in, but for administrators, for whom no session, photo or name exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// identifier of the key or account: decisions are on record by it
    pub key: String,
    /// the account's name; `None` for a key
    pub account: Option<String>,
    /// what they may do
    pub role: Role,
    /// what the region of a supervisor's projects begins with; `None`: everywhere
    pub region: Option<String>,
}

/// Whoever runs the installation: the operator or an administrator; everybody else is refused.
pub struct Operator {
    /// identifier of the key or account
    pub key: String,
}

/// Who decides for the office: the operator or a supervisor.
pub struct Decider(pub Caller);

/// Whoever is of the office: the operator, a supervisor or an auditor.
pub struct Official(pub Caller);

/// Whoever showed a valid key or is signed in, administrators too.
pub struct Known(pub Caller);

/// Whoever is of the office, or runs the installation.
pub struct Overseer(pub Caller);

/// Who may be shown photos of captures: the office, and a platform's staff, but no key of a platform.
pub struct PhotoViewer(pub Caller);

/// Who may see who was shown what: whoever runs the installation, or an auditor.
pub struct Reviser;

/// Everybody but auditors and staff, who decide nothing.
pub struct Participant(pub Caller);

/// A platform, by its identifier; others are refused, who have no learners or projects.
pub struct OwnPlatform(pub String);

/// A platform or its staff, by the platform's identifier.
pub struct PlatformReader(pub String);

/// Who is signed in at the console; keys are refused.
pub struct SignedIn {
    /// the account
    pub account: AccountRecord,
    /// the digest of what the browser holds
    pub hash: SecretHash,
}

/// Whoever watches what happens, for as long as they may.
pub struct Watcher {
    /// who
    pub caller: Caller,
    shown: Shown,
}

/// What somebody showed to say who they are.
#[derive(Clone, Copy)]
enum Shown {
    Key(SecretHash),
    Cookie(SecretHash),
}

impl Watcher {
    /// Whether they still are who they were: the key is not revoked, the account neither disabled nor signed out.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn may_still(&self, state: &ApiState) -> Result<bool, StoreError> {
        match self.shown {
            Shown::Key(hash) => Ok(state.store.key_holder(hash).await?.is_some()),
            Shown::Cookie(hash) => state.store.is_still_signed_in(hash, state.clock.now_ms()).await,
        }
    }
}

impl Caller {
    /// Whose records exist for this caller.
    pub fn reach(&self) -> Reach {
        Reach { platform: self.platform().map(str::to_owned), region: self.region.clone() }
    }

    /// That a record exists for this caller, as far as it exists at all.
    ///
    /// # Errors
    /// 404 when it does not.
    pub async fn must_reach(&self, state: &ApiState, thing: Thing, id: &str) -> Result<(), Problem> {
        match state.store.reaches(&self.reach(), thing, id).await? {
            true => Ok(()),
            false => Err(Problem::no_such(thing.word())),
        }
    }

    /// The platform that calls, or whose staff does; `None` for the office.
    pub fn platform(&self) -> Option<&str> {
        match &self.role {
            Role::Platform(own) | Role::Staff(own) => Some(own),
            Role::Operator | Role::Supervisor | Role::Auditor | Role::Administrator => None,
        }
    }

    /// Puts on record that this caller is about to be shown something, or has done it: on disk when it returns.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn log_access(
        &self,
        state: &ApiState,
        kind: AccessKind,
        subject: &str,
        detail: impl Into<String>,
    ) -> Result<(), Problem> {
        let (id, at) = (state.new_id(), state.clock.now_ms());
        Ok(state.store.log_access(LoggedAccess::new(id, at, self.actor(), kind, subject, detail.into())).await?)
    }

    /// As whom they are noted.
    pub fn actor(&self) -> Actor {
        let name = self.account.clone().unwrap_or_default();
        Actor { id: self.key.clone(), name, role: Some(self.role.word()) }
    }

    fn of_account(account: AccountRecord) -> Result<Self, Problem> {
        let role = match (account.role, account.platform) {
            (AccountRole::Supervisor, None) => Role::Supervisor,
            (AccountRole::Auditor, None) => Role::Auditor,
            (AccountRole::Administrator, None) => Role::Administrator,
            (AccountRole::Staff, Some(platform)) => Role::Staff(platform),
            // Rather nobody than somebody with too much.
            _ => return Err(Problem::failed("reading an account", &"its role is not its owner's")),
        };
        let region = Some(account.region).filter(|region| !region.is_empty());
        Ok(Self { key: account.id, account: Some(account.name), role, region })
    }
}

/// Whoever showed a valid key or is signed in.
async fn identify(parts: &Parts, state: &ApiState) -> Result<Caller, Problem> {
    if !parts.headers.contains_key(header::AUTHORIZATION)
        && let Some(signed_in) = signed_in(parts, state).await?
    {
        return Caller::of_account(signed_in.account);
    }
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
    Ok(Caller { key: holder.key, account: None, role: holder.role, region: None })
}

/// Who is signed in by the console's cookie, if there is one.
async fn signed_in(parts: &Parts, state: &ApiState) -> Result<Option<SignedIn>, Problem> {
    let Some(key) = cookie::of(&parts.headers) else { return Ok(None) };
    // It cannot be guessed, so a browser that was away for long is not counted among those who try.
    let account = state.store.signed_in(key.hash(), state.clock.now_ms()).await?;
    let account = account.ok_or_else(|| Problem::unauthenticated("sign in again"))?;
    cookie::refuse_cross_site(&parts.method, &parts.headers, &state.public_url)?;
    state.rates.request_of_key(key.hash()).await?;
    Ok(Some(SignedIn { account, hash: key.hash() }))
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = identify(parts, state).await?;
        let is_shown = caller.role != Role::Administrator;
        is_shown.then_some(caller).ok_or_else(|| Problem::forbidden("an administrator reads no records"))
    }
}

impl FromRequestParts<ApiState> for Watcher {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let shown = match bearer(parts) {
            Some(key) => Some(Shown::Key(key.hash())),
            None => cookie::of(&parts.headers).map(|key| Shown::Cookie(key.hash())),
        };
        let shown = shown.ok_or_else(|| Problem::unauthenticated("sign in"))?;
        Ok(Self { caller, shown })
    }
}

impl FromRequestParts<ApiState> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        Ok(Self(identify(parts, state).await?))
    }
}

impl FromRequestParts<ApiState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = identify(parts, state).await?;
        match caller.role {
            Role::Operator | Role::Administrator => Ok(Self { key: caller.key }),
            _ => Err(Problem::forbidden("only the operator or an administrator may do that")),
        }
    }
}

impl FromRequestParts<ApiState> for Decider {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = identify(parts, state).await?;
        match caller.role {
            Role::Operator | Role::Supervisor => Ok(Self(caller)),
            _ => Err(Problem::forbidden("only the operator or a supervisor may do that")),
        }
    }
}

impl FromRequestParts<ApiState> for Official {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = identify(parts, state).await?;
        match caller.role {
            Role::Operator | Role::Supervisor | Role::Auditor => Ok(Self(caller)),
            _ => Err(Problem::forbidden("only the office may do that: nobody of a platform")),
        }
    }
}

impl FromRequestParts<ApiState> for Overseer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = identify(parts, state).await?;
        match caller.role {
            Role::Operator | Role::Supervisor | Role::Auditor | Role::Administrator => Ok(Self(caller)),
            Role::Platform(_) | Role::Staff(_) => {
                Err(Problem::forbidden("only the office may do that: nobody of a platform"))
            }
        }
    }
}

impl FromRequestParts<ApiState> for PhotoViewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = identify(parts, state).await?;
        match caller.role {
            Role::Operator | Role::Supervisor | Role::Auditor | Role::Staff(_) => Ok(Self(caller)),
            Role::Administrator | Role::Platform(_) => Err(Problem::forbidden("photos are shown to people who review")),
        }
    }
}

impl FromRequestParts<ApiState> for Reviser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        match identify(parts, state).await?.role {
            Role::Operator | Role::Administrator | Role::Auditor => Ok(Self),
            _ => Err(Problem::forbidden("only auditors and administrators may see that")),
        }
    }
}

impl FromRequestParts<ApiState> for Participant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = identify(parts, state).await?;
        match caller.role {
            Role::Operator | Role::Supervisor | Role::Platform(_) => Ok(Self(caller)),
            _ => Err(Problem::forbidden("auditors, administrators and staff decide nothing")),
        }
    }
}

impl FromRequestParts<ApiState> for OwnPlatform {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        match identify(parts, state).await?.role {
            Role::Platform(platform) => Ok(Self(platform)),
            _ => Err(Problem::forbidden("only a platform may do that: use a platform's key")),
        }
    }
}

impl FromRequestParts<ApiState> for PlatformReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        match identify(parts, state).await?.role {
            Role::Platform(platform) | Role::Staff(platform) => Ok(Self(platform)),
            _ => Err(Problem::forbidden("only a platform may see that: use a platform's key")),
        }
    }
}

impl FromRequestParts<ApiState> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        if parts.headers.contains_key(header::AUTHORIZATION) {
            identify(parts, state).await?;
            return Err(Problem::forbidden("only an account may do that: a key has none"));
        }
        signed_in(parts, state).await?.ok_or_else(|| Problem::unauthenticated("sign in"))
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
