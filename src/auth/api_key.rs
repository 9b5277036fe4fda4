//! API keys: what the operator and the platforms' back ends show to the REST API.
//!
//! Whose a key is, and whether it was revoked, is in `store/api_keys.rs`. The operator's own key lies in the data
//! folder, because nobody could create it through an API that asks for it.

use std::path::{Path, PathBuf};

use super::keys;
use super::secret::secret_text;
use crate::clock::{Clock, Entropy};
use crate::store::{Store, StoreError};

const PREFIX: &str = "ivk_";
const OPERATOR_FILE: &str = "operator.key";

secret_text! {
    /// An API key in the clear.
    ApiKey, PREFIX
}

/// Why the operator has no key.
#[derive(Debug, thiserror::Error)]
pub enum OperatorKeyError {
    /// The file could not be read or made.
    #[error("{path}: {source}")]
    File {
        /// the key file
        path: PathBuf,
        /// what the system said
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{0}: not an API key; remove the file to have a new one made")]
    NotAKey(PathBuf),
    /// What was given is something else.
    #[error("keys.operator: not an API key: ivk_ and 43 characters")]
    GivenIsNoKey,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The operator's key from `operator.key` in `folder`, made at the first start. The key in the file is the only
/// one: whoever removes the file and restarts has revoked the old key.
///
/// # Errors
/// When the file cannot be read or made, or holds no key, or the store fails.
pub async fn ensure_operator_key(
    folder: &Path,
    store: &Store,
    clock: &Clock,
    entropy: &Entropy,
) -> Result<ApiKey, OperatorKeyError> {
    ensure_operator_key_or(None, folder, store, clock, entropy).await
}

/// As [`ensure_operator_key`], unless the key is `given`: then that is the only one, and no file is made or read.
///
/// # Errors
/// As for [`ensure_operator_key`], and when what was given is no API key.
pub async fn ensure_operator_key_or(
    given: Option<&str>,
    folder: &Path,
    store: &Store,
    clock: &Clock,
    entropy: &Entropy,
) -> Result<ApiKey, OperatorKeyError> {
    let path = folder.join(OPERATOR_FILE);
    // The file comes first: a crash between the two is mended by the next start, which reads it.
    let key = match given {
        Some(given) => ApiKey::parse(given).ok_or(OperatorKeyError::GivenIsNoKey)?,
        None => read_or_create(&path, entropy)?,
    };
    let now_ms = clock.now_ms();
    store.set_operator_key(key.hash(), entropy.id(now_ms).to_string(), now_ms).await?;
    Ok(key)
}

fn read_or_create(path: &Path, entropy: &Entropy) -> Result<ApiKey, OperatorKeyError> {
    let failed = |source| OperatorKeyError::File { path: path.to_owned(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => ApiKey::parse(text.trim()).ok_or_else(|| OperatorKeyError::NotAKey(path.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = ApiKey::generate(entropy);
            keys::create(path, format!("{}\n", key.expose()).as_bytes()).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::api_keys::Role;
    use crate::store::fixture;

    #[tokio::test]
    async fn the_operators_key_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, store) = fixture::store().await;
        let clock = Clock::manual(1_000);
        let first = ensure_operator_key(folder.path(), &store, &clock, &Entropy::seeded(1)).await.unwrap();
        let second = ensure_operator_key(folder.path(), &store, &clock, &Entropy::seeded(2)).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(store.key_holder(first.hash()).await.unwrap().unwrap().role, Role::Operator);
        let mode = std::fs::metadata(folder.path().join(OPERATOR_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn removing_the_file_revokes_the_old_key() {
        let (folder, store) = fixture::store().await;
        let clock = Clock::manual(1_000);
        let entropy = Entropy::seeded(1);
        let old = ensure_operator_key(folder.path(), &store, &clock, &entropy).await.unwrap();
        std::fs::remove_file(folder.path().join(OPERATOR_FILE)).unwrap();
        let new = ensure_operator_key(folder.path(), &store, &clock, &entropy).await.unwrap();
        assert_eq!(store.key_holder(old.hash()).await.unwrap(), None);
        assert_eq!(store.key_holder(new.hash()).await.unwrap().unwrap().role, Role::Operator);
    }

    #[tokio::test]
    async fn a_file_that_holds_no_key_is_said_to_hold_none() {
        let (folder, store) = fixture::store().await;
        std::fs::write(folder.path().join(OPERATOR_FILE), "hello").unwrap();
        let error = ensure_operator_key(folder.path(), &store, &Clock::manual(0), &Entropy::seeded(1)).await;
        assert!(matches!(error, Err(OperatorKeyError::NotAKey(_))));
    }
}
