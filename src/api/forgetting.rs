//! The second half of forgetting a learner: the files of photos, and the traces of the key.
//!
//! The first half, which destroys the key, is the store's. What a crash cuts off in between is ended at the next start.

use super::doors::PhotoVault;
use crate::store::Store;
use crate::store::forgetting::{ForgetError, Remains};

/// Removes what is left of a learner whose key is destroyed. A photo that cannot be removed is nobody's any more, for
/// want of the key; it is said and found by `invigil doctor`.
///
/// # Errors
/// When the traces of the key must stay for now; see [`ForgetError`].
pub async fn remove_remains(
    store: &Store,
    photos: &dyn PhotoVault,
    learner: &str,
    remains: Remains,
    now_ms: i64,
) -> Result<(), ForgetError> {
    for photo in &remains.photos {
        if let Err(error) = photos.remove(photo.clone()).await {
            tracing::warn!(%error, learner, photo, "the photo of a forgotten learner could not be removed");
        }
    }
    store.purge(learner, remains, now_ms).await
}

/// At the start: forgets again whom a restored database has revived, and ends what was cut off.
///
/// # Errors
/// When tombstones cannot be read or a key not be destroyed. What can wait is only said.
pub async fn resume(store: &Store, photos: &dyn PhotoVault, now_ms: i64) -> Result<(), ForgetError> {
    for learner in store.apply_tombstones().await? {
        tracing::warn!(learner, "the database knew a learner who is forgotten: the key is destroyed again");
    }
    for learner in store.unpurged().await? {
        let remains = store.remains_of(&learner).await?;
        if let Err(error) = remove_remains(store, photos, &learner, remains, now_ms).await {
            tracing::error!(%error, learner, "traces of a forgotten learner could not be removed");
        }
    }
    Ok(())
}
