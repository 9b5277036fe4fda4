//! The photos of an installation that is moved to a bucket: the same sealed bytes under the same names.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::source::Source;
use super::{MoveError, Pass, Told};
use crate::store::StoreError;
use crate::store::evidence::{Evidence, EvidenceError, EvidenceId, PHOTOS_FOLDER, relative_path};

/// Photos under way at a time.
const UNDER_WAY: usize = 16;

/// What came of the photos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Photos {
    /// photos that the records refer to
    pub known: u64,
    /// photos that were sent now
    pub sent: u64,
    /// photos that are neither here nor there, or are another there than here
    pub wrong: u64,
}

/// What became of one.
enum Fate {
    There,
    Sent,
    Wrong(String),
}

/// Sends what the bucket does not have. A pass that verifies compares every photo that is still in the folder, byte for
/// byte.
pub(super) fn send(
    source: &Source,
    folder: &Path,
    bucket: &Evidence,
    pass: Pass,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<Photos, MoveError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StoreError::Start(error.into()))?;
    if pass != Pass::Verify {
        runtime.block_on(bucket.check())?;
    }
    let photos = folder.join(PHOTOS_FOLDER);
    let mut summary = Photos::default();
    source.photos(|names| {
        let fates = stream::iter(names).map(|name| async {
            let fate = match EvidenceId::parse(&name) {
                Ok(id) => settle(&id, photos.join(relative_path(&id)), bucket, pass).await?,
                Err(error) => Fate::Wrong(error.to_string()),
            };
            Ok::<_, MoveError>((name, fate))
        });
        let fates: Vec<(String, Fate)> = runtime.block_on(fates.buffer_unordered(UNDER_WAY).try_collect())?;
        for (photo, fate) in &fates {
            match fate {
                Fate::There => {}
                Fate::Sent => summary.sent += 1,
                Fate::Wrong(why) => {
                    summary.wrong += 1;
                    tell(Told::Photo { photo, why });
                }
            }
        }
        summary.known += fates.len() as u64;
        tell(Told::Done(fates.len() as u64));
        Ok(())
    })?;
    Ok(summary)
}

async fn settle(id: &EvidenceId, path: PathBuf, bucket: &Evidence, pass: Pass) -> Result<Fate, MoveError> {
    if pass == Pass::Verify {
        return compare(id, path, bucket).await;
    }
    if bucket.has(id).await? {
        return Ok(Fate::There);
    }
    let Some(sealed) = read(path).await? else {
        return Ok(Fate::Wrong("is not in the data folder".into()));
    };
    match bucket.put_sealed(id, sealed).await {
        Ok(()) => Ok(Fate::Sent),
        Err(EvidenceError::Exists(_)) => Ok(Fate::Wrong("is another in the bucket".into())),
        Err(error) => Err(error.into()),
    }
}

async fn compare(id: &EvidenceId, path: PathBuf, bucket: &Evidence) -> Result<Fate, MoveError> {
    let there = match bucket.get_sealed(id).await {
        Ok(there) => there,
        Err(EvidenceError::Missing(_)) => return Ok(Fate::Wrong("is not in the bucket".into())),
        Err(error) => return Err(error.into()),
    };
    Ok(match read(path).await? {
        Some(here) if here != there => Fate::Wrong("is another in the bucket".into()),
        _ => Fate::There,
    })
}

/// The sealed photo; `None` when it is not in the folder.
async fn read(path: PathBuf) -> Result<Option<Vec<u8>>, MoveError> {
    let read = tokio::task::spawn_blocking(move || match std::fs::read(&path) {
        Ok(sealed) => Ok(Some(sealed)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(MoveError::File { path, source }),
    });
    read.await.map_err(|_| StoreError::Stopped)?
}
