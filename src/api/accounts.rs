//! Accounts of people at the console: signing in and out, passwords, one-time codes; and administrators who run them.
//!
//! Which of name, password and code was wrong is not said, and a name that nobody has takes as long. Failures in a row lock name
//! and address for a while. Whenever something changes that one signs in with, every browser is signed out but the one that
//! changed it, and that one gets another cookie.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Operator, SignedIn};
use super::cookie;
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::validate::Findings;
use super::{Answer, ApiState};
use crate::auth::console_key::ConsoleKey;
use crate::auth::password::{self, PasswordError};
use crate::auth::totp::TotpSecret;
use crate::gateway::address::ClientAddress;
use crate::store::access_log::{Actor, LoggedAccess};
use crate::store::accounts::{AccountRecord, AddAccountError, Credentials, NewCredential};
use crate::store::words::{AccessKind, AccountRole, KeyRole};

/// Longest name of an account, in characters.
pub const NAME_CHARS: usize = 60;

/// An answer that changes the browser's cookie.
type WithCookie<T> = ([(HeaderName, HeaderValue); 1], T);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(log_in))
        .routes(routes!(log_out))
        .routes(routes!(read_own_account))
        .routes(routes!(change_password))
        .routes(routes!(begin_totp, confirm_totp, end_totp))
        .routes(routes!(create_account, list_accounts))
        .routes(routes!(change_account))
        .routes(routes!(unlock_account))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// the account's name
    name: String,
    /// its password
    password: String,
    /// a one-time code, where the account asks for one
    code: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    /// the password so far
    old: String,
    /// the password from now on, 12 to 200 characters
    new: String,
}

#[derive(Serialize, ToSchema)]
struct PendingTotp {
    /// to be typed into an authenticator app: it is shown this once
    secret: String,
    /// the same, for apps that read it from a picture
    uri: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TotpCode {
    /// the six digits that the app shows
    code: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordAgain {
    /// the account's password
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    /// by which its holder signs in, at most 60 characters
    name: String,
    /// what its holder may do
    role: AccountRole,
    /// of a supervisor, and nobody else: what the region of their projects begins with; empty: everywhere
    region: Option<String>,
    /// of staff, and nobody else: the platform where they work
    platform: Option<String>,
    /// the first password, 12 to 200 characters
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AccountChange {
    /// whether it may not sign in any more
    disabled: bool,
}

/// Where a request comes from, if that is counted.
struct Caller(Option<ClientAddress>);

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        cookie::refuse_other_origins(&parts.headers, &state.public_url)?;
        Ok(Self(parts.extensions.get().copied()))
    }
}

/// Signs in: the answer sets the console's cookie (anybody)
///
/// 401 `wrong-login` or `code-needed`; 429 `locked` after five failures in a row.
#[utoipa::path(post, path = "/login", tag = "accounts", security(()), request_body = Login,
    responses((status = 200, body = AccountRecord), Refusals))]
async fn log_in(
    State(state): State<ApiState>,
    Caller(address): Caller,
    JsonBody(login): JsonBody<Login>,
) -> Result<WithCookie<Json<AccountRecord>>, Problem> {
    let name = normal_name(&login.name);
    let address = address.and_then(ClientAddress::counted).map(|address| address.to_string());
    let subjects: Vec<String> = std::iter::once(name_subject(&state, &name))
        .chain(address.map(|address| state.keys.pseudonym("login address", &address)))
        .collect();
    refuse_locked(&state, subjects.clone()).await?;
    let known = state.store.credentials_of_name(&name).await?;
    let known = known.filter(|known| known.account.disabled_at.is_none());
    let hashed = known.as_ref().map(|known| known.password.clone());
    let is_right = password_is_right(&state, login.password, hashed).await?;
    let Some(known) = known.filter(|_| is_right) else { return fail(&state, &name, subjects).await };
    let step = match (&known.totp, &login.code) {
        (None, _) => None,
        (Some(_), None) => return Err(Problem::code_needed("give the code that the authenticator app shows")),
        (Some(sealed), Some(code)) => {
            let secret = open_totp(&state, &known.account.id, sealed)?;
            match secret.step_of(code.trim(), state.clock.now_ms(), known.totp_step) {
                None => return fail(&state, &name, subjects).await,
                step => step,
            }
        }
    };
    let key = ConsoleKey::generate(&state.entropy);
    let account = known.account;
    if !state.store.sign_in(&account.id, key.hash(), step, subjects.clone(), state.clock.now_ms()).await? {
        return fail(&state, &name, subjects).await;
    }
    log(&state, &account, AccessKind::Login).await?;
    Ok((cookie_of(&state, Some(&key)), Json(account)))
}

/// Signs out (accounts)
#[utoipa::path(post, path = "/logout", tag = "accounts", responses((status = 204), Refusals))]
async fn log_out(State(state): State<ApiState>, signed_in: SignedIn) -> Result<WithCookie<StatusCode>, Problem> {
    state.store.sign_out(signed_in.hash).await?;
    Ok((cookie_of(&state, None), StatusCode::NO_CONTENT))
}

/// Who is signed in (accounts)
#[utoipa::path(get, path = "/account", tag = "accounts", responses((status = 200, body = AccountRecord), Refusals))]
async fn read_own_account(signed_in: SignedIn) -> Json<AccountRecord> {
    Json(signed_in.account)
}

/// Changes the password; every other browser is signed out (accounts)
#[utoipa::path(put, path = "/account/password", tag = "accounts", request_body = PasswordChange,
    responses((status = 204), Refusals))]
async fn change_password(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    JsonBody(change): JsonBody<PasswordChange>,
) -> Result<WithCookie<StatusCode>, Problem> {
    if let Some(problem) = password::unfit(&change.new) {
        return Err(Problem::field("new", problem));
    }
    let credentials = confirm_password(&state, &signed_in, change.old, "old").await?;
    let hashed = state.passwords.hash(change.new, &state.entropy).await?;
    change_credential(&state, &credentials.account.id, NewCredential::Password(hashed)).await
}

/// Makes a secret for one-time codes, in force once a code of it was shown (accounts)
#[utoipa::path(post, path = "/account/totp", tag = "accounts", responses((status = 200, body = PendingTotp), Refusals))]
async fn begin_totp(State(state): State<ApiState>, signed_in: SignedIn) -> Answer<PendingTotp> {
    let (secret, account) = (TotpSecret::generate(&state.entropy), signed_in.account);
    let sealed = state.keys.master().seal(&state.entropy, &totp_context(&account.id), secret.expose());
    let pending = NewCredential::TotpPending(sealed);
    state.store.change_credential(&account.id, pending, None, state.clock.now_ms()).await?;
    Ok(Json(PendingTotp { secret: secret.to_base32(), uri: secret.uri(&account.name) }))
}

/// Has one-time codes asked for from now on (accounts)
#[utoipa::path(put, path = "/account/totp", tag = "accounts", request_body = TotpCode,
    responses((status = 204), Refusals))]
async fn confirm_totp(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    JsonBody(given): JsonBody<TotpCode>,
) -> Result<WithCookie<StatusCode>, Problem> {
    let account = signed_in.account.id;
    let credentials = state.store.credentials(&account).await?;
    let pending = credentials.and_then(|credentials| credentials.totp_pending);
    let pending = pending.ok_or_else(|| Problem::conflict("no secret was made: POST it first"))?;
    let step = open_totp(&state, &account, &pending)?.step_of(given.code.trim(), state.clock.now_ms(), None);
    let step = step.ok_or_else(|| Problem::field("code", "is not the present one: look at the clocks of both"))?;
    change_credential(&state, &account, NewCredential::TotpConfirmed(step)).await
}

/// Has no more one-time codes asked for (accounts)
#[utoipa::path(delete, path = "/account/totp", tag = "accounts", request_body = PasswordAgain,
    responses((status = 204), Refusals))]
async fn end_totp(
    State(state): State<ApiState>,
    signed_in: SignedIn,
    JsonBody(given): JsonBody<PasswordAgain>,
) -> Result<WithCookie<StatusCode>, Problem> {
    let credentials = confirm_password(&state, &signed_in, given.password, "password").await?;
    change_credential(&state, &credentials.account.id, NewCredential::TotpNone).await
}

/// Makes an account (operator, administrator)
#[utoipa::path(post, path = "/accounts", tag = "accounts", request_body = NewAccount,
    responses((status = 201, body = AccountRecord), Refusals))]
async fn create_account(
    State(state): State<ApiState>,
    operator: Operator,
    JsonBody(new): JsonBody<NewAccount>,
) -> Result<(StatusCode, Json<AccountRecord>), Problem> {
    let account = AccountRecord {
        id: state.new_id(),
        name: normal_name(&new.name),
        role: new.role,
        region: new.region.unwrap_or_default(),
        platform: new.platform,
        totp: false,
        disabled_at: None,
        created_at: state.clock.now_ms(),
    };
    let mut findings = Findings::default();
    for (field, problem) in unfit(&account, &new.password) {
        findings.add(field, problem);
    }
    findings.finish()?;
    let hashed = state.passwords.hash(new.password, &state.entropy).await?;
    Ok((StatusCode::CREATED, Json(state.store.add_account(account, hashed, operator.key).await?)))
}

/// All accounts (operator, administrator)
#[utoipa::path(get, path = "/accounts", tag = "accounts", params(PageQuery),
    responses((status = 200, body = Listing<AccountRecord>), Refusals))]
async fn list_accounts(
    State(state): State<ApiState>,
    _: Operator,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<AccountRecord>> {
    Ok(Json(Listing::of(state.store.accounts(page.request()?).await?, |account| account)))
}

/// Disables an account, which signs it out at once, or lets it sign in again (operator, administrator)
#[utoipa::path(put, path = "/accounts/{id}", tag = "accounts", params(("id" = String, Path, description = "the account")),
    request_body = AccountChange, responses((status = 200, body = AccountRecord), Refusals))]
async fn change_account(
    State(state): State<ApiState>,
    operator: Operator,
    PathOf(id): PathOf<String>,
    JsonBody(change): JsonBody<AccountChange>,
) -> Answer<AccountRecord> {
    if change.disabled && operator.key == id {
        return Err(Problem::conflict("nobody disables the account that they are signed in with"));
    }
    let account = state.store.disable_account(&id, change.disabled, state.clock.now_ms()).await?;
    account.map(Json).ok_or_else(|| Problem::no_such("account"))
}

/// Forgets an account's failures to sign in, so that it may try at once (operator, administrator)
#[utoipa::path(post, path = "/accounts/{id}/unlock", tag = "accounts",
    params(("id" = String, Path, description = "the account")), responses((status = 204), Refusals))]
async fn unlock_account(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(id): PathOf<String>,
) -> Result<StatusCode, Problem> {
    let credentials = state.store.credentials(&id).await?.ok_or_else(|| Problem::no_such("account"))?;
    state.store.forgive_failures(name_subject(&state, &credentials.account.name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A name as accounts have it.
pub fn normal_name(name: &str) -> String {
    name.trim().to_lowercase()
}

/// What is wrong with a new account, by field.
pub fn unfit(account: &AccountRecord, password: &str) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let name = &account.name;
    if name.is_empty() || name.chars().count() > NAME_CHARS || name.chars().any(|char| char.is_control() || char == ':')
    {
        wrong.push(("name", format!("must have 1 to {NAME_CHARS} characters, and no colon")));
    }
    let region = &account.region;
    if region.len() > 6 || !region.bytes().all(|byte| byte.is_ascii_digit()) {
        wrong.push(("region", "must be at most 6 digits".to_owned()));
    } else if !region.is_empty() && account.role != AccountRole::Supervisor {
        wrong.push(("region", "belongs to supervisors".to_owned()));
    }
    match (&account.platform, account.role == AccountRole::Staff) {
        (None, true) => wrong.push(("platform", "is missing: staff are somebody's".to_owned())),
        (Some(_), false) => wrong.push(("platform", "belongs to staff".to_owned())),
        _ => {}
    }
    wrong.extend(password::unfit(password).map(|problem| ("password", problem)));
    wrong
}

/// By what failures of a name are counted, whether anybody has it or not. Who types a password there has not told it to the
/// database.
fn name_subject(state: &ApiState, name: &str) -> String {
    state.keys.pseudonym("login name", name)
}

async fn refuse_locked(state: &ApiState, subjects: Vec<String>) -> Result<(), Problem> {
    let now_ms = state.clock.now_ms();
    match state.store.locked_until(subjects, now_ms).await? {
        None => Ok(()),
        Some(until) => Err(Problem::locked("wait, or ask an administrator").retry_after_ms(until - now_ms)),
    }
}

async fn password_is_right(state: &ApiState, given: String, hashed: Option<String>) -> Result<bool, Problem> {
    // Longer than any that was ever set: it need not be hashed to be known as wrong.
    if given.chars().count() > password::PASSWORD_CHARS_LIMIT {
        return Ok(false);
    }
    Ok(state.passwords.matches(given, hashed).await?)
}

async fn fail<T>(state: &ApiState, name: &str, subjects: Vec<String>) -> Result<T, Problem> {
    state.store.login_failed(subjects, state.clock.now_ms()).await?;
    // A name that nobody has may be a password that was typed in the wrong place.
    if let Some(known) = state.store.credentials_of_name(name).await? {
        log(state, &known.account, AccessKind::LoginFailed).await?;
    }
    Err(Problem::wrong_login("try again"))
}

/// The account's credentials, once its password was given again. Failures count as those to sign in do.
async fn confirm_password(
    state: &ApiState,
    signed_in: &SignedIn,
    password: String,
    field: &str,
) -> Result<Credentials, Problem> {
    let subjects = vec![name_subject(state, &signed_in.account.name)];
    refuse_locked(state, subjects.clone()).await?;
    let credentials = state.store.credentials(&signed_in.account.id).await?;
    let credentials = credentials.ok_or_else(|| Problem::no_such("account"))?;
    if !password_is_right(state, password, Some(credentials.password.clone())).await? {
        state.store.login_failed(subjects, state.clock.now_ms()).await?;
        return Err(Problem::field(field, "is not the account's password"));
    }
    Ok(credentials)
}

async fn change_credential(
    state: &ApiState,
    account: &str,
    new: NewCredential,
) -> Result<WithCookie<StatusCode>, Problem> {
    let key = ConsoleKey::generate(&state.entropy);
    state.store.change_credential(account, new, Some(key.hash()), state.clock.now_ms()).await?;
    Ok((cookie_of(state, Some(&key)), StatusCode::NO_CONTENT))
}

fn cookie_of(state: &ApiState, key: Option<&ConsoleKey>) -> [(HeaderName, HeaderValue); 1] {
    [(header::SET_COOKIE, cookie::set(key, &state.public_url))]
}

async fn log(state: &ApiState, account: &AccountRecord, kind: AccessKind) -> Result<(), Problem> {
    let role = match account.role {
        AccountRole::Supervisor => KeyRole::Supervisor,
        AccountRole::Auditor => KeyRole::Auditor,
        AccountRole::Administrator => KeyRole::Administrator,
        AccountRole::Staff => KeyRole::Staff,
    };
    let actor = Actor { id: account.id.clone(), name: account.name.clone(), role: Some(role) };
    let entry = LoggedAccess::new(state.new_id(), state.clock.now_ms(), actor, kind, "", String::new());
    Ok(state.store.log_access(entry).await?)
}

fn totp_context(account: &str) -> String {
    format!("totp {account}")
}

fn open_totp(state: &ApiState, account: &str, sealed: &[u8]) -> Result<TotpSecret, Problem> {
    let opened = state.keys.master().open(&totp_context(account), sealed);
    opened.map(TotpSecret::from_bytes).map_err(|error| Problem::failed("opening a secret of one-time codes", &error))
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::too_busy(error.to_string()),
            PasswordError::Failed => Self::failed("hashing a password", &error),
        }
    }
}

impl From<AddAccountError> for Problem {
    fn from(error: AddAccountError) -> Self {
        let words = error.to_string();
        match error {
            AddAccountError::NameTaken => Self::conflict(words).naming("name", "is taken"),
            AddAccountError::NoPlatform => Self::field("platform", "does not exist"),
            AddAccountError::TooMany => Self::conflict(words),
            AddAccountError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
