//! Photos that lie in a bucket: whether it can be asked, and whether what the database refers to is there.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Findings, Level, YOUNG_S};
use crate::config::Config;
use crate::store::StoreError;
use crate::store::evidence::{Evidence, EvidenceError, EvidenceId};
use crate::store::inspect::Inspection;

/// Photos that are looked for without `deep`: the newest. Each is a request.
const PHOTOS_WITHOUT_DEEP: u32 = 200;
/// Requests under way at a time.
const REQUESTS_LIMIT: usize = 8;

const MISSING: &str = "put them back from an earlier version or a copy of the bucket; the verdicts stand without them";
const ORPHANS: &str = "a crash between photo and record, or an answer of the store that was lost, leaves such objects; they \
                       can be removed, nobody refers to them";
const AWAY: &str = "no photo can be kept until the store answers: look at [evidence] in the settings, and at the store";

/// What was seen in the bucket.
#[derive(Default)]
struct Seen {
    photos: usize,
    missing: Vec<String>,
    orphans: Vec<String>,
}

pub(super) fn look_at_bucket(
    config: &Config,
    database: &Inspection,
    deep: bool,
    now_ms: i64,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let mut wanted = HashSet::new();
    if deep {
        database.photos(&mut |name| {
            wanted.insert(name.to_owned());
            Ok::<_, StoreError>(())
        })?;
    } else {
        wanted.extend(database.newest_photos(PHOTOS_WITHOUT_DEEP)?);
    }
    let seen = with_runtime(async {
        let looking = async {
            let evidence = Evidence::configured(config)?;
            if deep { compare(&evidence, wanted, now_ms).await } else { look_for(&evidence, wanted).await }
        };
        looking.await.map_err(|error: EvidenceError| error.to_string())
    });
    let bucket = config.evidence.url.as_deref().unwrap_or_default();
    match seen {
        Ok(seen) => {
            if seen.missing.is_empty() && seen.orphans.is_empty() {
                let which = if deep { "all" } else { "the newest" };
                findings.ok("photos", format!("{which} {} photos are in {bucket}", seen.photos));
            }
            findings.many("photos", Level::Error, &seen.missing, MISSING);
            findings.many("photos", Level::Warning, &seen.orphans, ORPHANS);
        }
        Err(why) => findings.add("photos", Level::Error, why, AWAY),
    }
    Ok(())
}

/// The rest of this looks at files and waits for each; only what is on the network needs a runtime, on a thread that has
/// none yet.
pub(super) fn with_runtime<T: Send>(work: impl Future<Output = Result<T, String>> + Send) -> Result<T, String> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(work)
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap_or_else(|_| Err("looking for it has failed".to_owned())))
}

/// Everything that is there against everything that should be.
async fn compare(evidence: &Evidence, mut wanted: HashSet<String>, now_ms: i64) -> Result<Seen, EvidenceError> {
    let mut seen = Seen { photos: wanted.len(), ..Seen::default() };
    let mut stored = evidence.stored();
    while let Some(object) = stored.try_next().await? {
        let young = object.written_at_ms > now_ms - YOUNG_S * 1_000;
        if !wanted.remove(&object.name) && !young {
            seen.orphans.push(format!("nothing refers to the {}", object.place));
        }
    }
    seen.missing = wanted.into_iter().map(|name| format!("the object of photo {name} is missing")).collect();
    Ok(seen)
}

async fn look_for(evidence: &Evidence, wanted: HashSet<String>) -> Result<Seen, EvidenceError> {
    // Also when there is no photo yet: whether the store knows us.
    evidence.stored().try_next().await?;
    let photos = wanted.len();
    let looked = stream::iter(wanted).map(|name| async move {
        match EvidenceId::parse(&name) {
            Ok(id) => evidence.has(&id).await.map(|there| (name, there)),
            Err(_) => Ok((name, false)),
        }
    });
    let looked: Vec<(String, bool)> = looked.buffer_unordered(REQUESTS_LIMIT).try_collect().await?;
    let missing = looked.into_iter().filter(|(_, there)| !there);
    let missing = missing.map(|(name, _)| format!("the object of photo {name} is missing")).collect();
    Ok(Seen { photos, missing, ..Seen::default() })
}
