//! Learner tokens: which session a token opens, and until when.
//!
//! Only digests are kept. Whether a token may be renewed is decided by who calls.

use super::sql::{OptionalExtension as _, params};

use super::{Store, StoreError};
use crate::auth::SecretHash;

/// Valid tokens that one session may have; a further one displaces the one that expires first. A page that reloads
/// and reconnects needs a handful.
const TOKENS_OF_SESSION: u32 = 16;

/// What a valid token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    /// the session's short key, for the journal
    pub session_key: i64,
    /// the session's identifier
    pub session: String,
    /// when the token expires, ms since the Unix epoch
    pub expires_at: i64,
    /// when the session was closed, ms since the Unix epoch, if it was
    pub closed_at: Option<i64>,
}

impl Store {
    /// Keeps a token of `session` until `expires_at`; clears away what has expired by `now_ms`. False when there is
    /// no such session.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn issue_token(
        &self,
        session: &str,
        hash: SecretHash,
        expires_at: i64,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let session = session.to_owned();
        self.write(move |transaction| {
            let key: Option<i64> = transaction
                .prepare_cached("SELECT key FROM session WHERE id = ?1")?
                .query_row([&session], |row| row.get(0))
                .optional()?;
            let Some(key) = key else { return Ok(false) };
            transaction
                .prepare_cached(
                    "DELETE FROM token WHERE session = ?1 AND (expires_at <= ?2 OR hash NOT IN
                     (SELECT hash FROM token WHERE session = ?1 ORDER BY expires_at DESC LIMIT ?3))",
                )?
                .execute(params![key, now_ms, TOKENS_OF_SESSION - 1])?;
            transaction
                .prepare_cached("INSERT INTO token (hash, session, expires_at) VALUES (?1, ?2, ?3)")?
                .execute(params![hash, key, expires_at])?;
            Ok(true)
        })
        .await
    }

    /// What the token with this digest opens, or opened until it expired; `None` when it is unknown.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn token_holder(&self, hash: SecretHash) -> Result<Option<TokenHolder>, StoreError> {
        self.read(move |connection| {
            let holder = connection
                .prepare_cached(
                    "SELECT session.key, session.id, token.expires_at, session.closed_at
                     FROM token JOIN session ON session.key = token.session
                     WHERE token.hash = ?1",
                )?
                .query_row(params![hash], |row| {
                    Ok(TokenHolder {
                        session_key: row.get(0)?,
                        session: row.get(1)?,
                        expires_at: row.get(2)?,
                        closed_at: row.get(3)?,
                    })
                })
                .optional()?;
            Ok(holder)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::LearnerToken;
    use crate::clock::Entropy;
    use crate::store::fixture;

    #[tokio::test]
    async fn a_token_opens_its_session_until_it_expires() {
        let (_folder, store) = fixture::store_with_session("s1").await;
        let hash = LearnerToken::generate(&Entropy::seeded(1)).hash();
        assert!(store.issue_token("s1", hash, 2_000, 1_000).await.unwrap());
        let holder = store.token_holder(hash).await.unwrap().unwrap();
        assert_eq!((holder.session.as_str(), holder.expires_at, holder.closed_at), ("s1", 2_000, None));
        assert_eq!(store.token_holder([0; 32]).await.unwrap(), None);
        assert!(!store.issue_token("nobody", [1; 32], 2_000, 1_000).await.unwrap());
    }

    #[tokio::test]
    async fn renewal_leaves_the_older_tokens_valid_up_to_a_limit() {
        let (_folder, store) = fixture::store_with_session("s1").await;
        let entropy = Entropy::seeded(1);
        let hashes: Vec<_> = (0..=TOKENS_OF_SESSION).map(|_| LearnerToken::generate(&entropy).hash()).collect();
        for (hash, later) in hashes.iter().zip(0..) {
            assert!(store.issue_token("s1", *hash, 5_000 + later, 1_000).await.unwrap());
        }
        assert_eq!(store.token_holder(hashes[0]).await.unwrap(), None);
        for hash in &hashes[1..] {
            assert!(store.token_holder(*hash).await.unwrap().is_some());
        }
    }
}
