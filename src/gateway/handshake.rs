//! Who a connection is: the challenge, the hello, and what must hold before a session hears of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::Gateway;
use super::wire::{ErrorCode, ErrorMessage, Hello, hello_text};
use crate::auth::token::LearnerToken;
use crate::store::SessionKey;

/// Bytes of an uncompressed point of P-256.
const KEY_BYTES: usize = 65;

/// A session that this client may enter.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    pub(super) session: String,
    pub(super) key: SessionKey,
    /// when its token expires, on the wall clock
    pub(super) expires_at: i64,
}

/// Checks a hello against the nonce of this connection, and the page's origin, if a browser named one.
pub(super) async fn admit(
    gateway: &Gateway,
    hello: &Hello,
    nonce: &str,
    origin: Option<&str>,
) -> Result<Admitted, ErrorMessage> {
    let refused = |code, field: &str, detail: &str| refusal(code, Some(field), detail);
    let token = LearnerToken::parse(&hello.token)
        .ok_or_else(|| refused(ErrorCode::TokenUnknown, "token", "this is no learner token"))?;
    let holder = gateway.services.store.token_holder(token.hash()).await.map_err(|error| unavailable(&error))?;
    let holder = holder.ok_or_else(|| refused(ErrorCode::TokenUnknown, "token", "no session has this token"))?;
    if holder.expires_at <= gateway.services.wall.now_ms() {
        return Err(refused(ErrorCode::TokenExpired, "token", "ask the platform for a new one"));
    }
    if holder.session != hello.session {
        return Err(refused(ErrorCode::SessionMismatch, "session", "the token is another session's"));
    }
    let public_key = check_signature(hello, nonce)?;
    if let Some(origin) = origin {
        let key = SessionKey(holder.session_key);
        let allowed = gateway.services.store.origins_of_session(key).await.map_err(|error| unavailable(&error))?;
        if !allowed.iter().any(|allowed| allowed == origin) {
            let detail = "the platform has not named this page's origin: PUT /api/v1/platform/origins";
            return Err(refusal(ErrorCode::OriginRefused, None, detail));
        }
    }
    if holder.closed_at.is_some() {
        return Err(refused(ErrorCode::SessionClosed, "session", "the session has ended"));
    }
    let key = SessionKey(holder.session_key);
    // Only now that the client has proved to hold the key may it become the session's.
    if !gateway.services.store.bind_client_key(key, public_key).await.map_err(|error| unavailable(&error))? {
        return Err(refused(ErrorCode::KeyMismatch, "key", "the session was begun with another key"));
    }
    Ok(Admitted { session: holder.session, key, expires_at: holder.expires_at })
}

/// The client's public key, once its signature over this connection's nonce holds.
fn check_signature(hello: &Hello, nonce: &str) -> Result<Vec<u8>, ErrorMessage> {
    let malformed = |field: &str, detail: &str| refusal(ErrorCode::BadMessage, Some(field), detail);
    let key = BASE64URL.decode(&hello.key).map_err(|_| malformed("key", "not base64url without padding"))?;
    if key.len() != KEY_BYTES || key[0] != 4 {
        return Err(malformed("key", "not an uncompressed point of P-256: 65 bytes, the first of them 4"));
    }
    let signature =
        BASE64URL.decode(&hello.signature).map_err(|_| malformed("signature", "not base64url without padding"))?;
    let text = hello_text(nonce, &hello.session, &hello.token);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key)
        .verify(text.as_bytes(), &signature)
        .map_err(|_| refusal(ErrorCode::SignatureWrong, Some("signature"), "does not fit the key and this nonce"))?;
    Ok(key)
}

pub(super) fn refusal(code: ErrorCode, field: Option<&str>, detail: impl Into<String>) -> ErrorMessage {
    ErrorMessage { code, field: field.map(str::to_owned), detail: detail.into(), retry_after_ms: None, capture: None }
}

/// The store or the session cannot answer now: the client is to come back.
pub(super) fn unavailable(why: &dyn std::fmt::Display) -> ErrorMessage {
    tracing::warn!(%why, "a connection is turned away");
    ErrorMessage {
        code: ErrorCode::Overloaded,
        field: None,
        detail: "the server cannot take this session now".into(),
        retry_after_ms: Some(2_000),
        capture: None,
    }
}
