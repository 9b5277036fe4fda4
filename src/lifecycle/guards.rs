//! What must hold before a server may use a data folder: nobody else does, its keys are there, its time goes on.

use std::fs::File;
use std::path::Path;

use crate::auth::keys::Keys;
use crate::clock::Clock;
use crate::config::KeySettings;
use crate::store::{DATABASE_FILE, Store, folder_lock};

/// How much later than the last record a server may start without a word, ms: a weekend with its holidays.
const FAR_FORWARD_MS: i64 = 4 * 86_400_000;
/// How often the machine's clock is looked at, ms.
const CLOCK_INTERVAL_MS: i64 = 60_000;
/// How far the machine's clock may be moved without a word, ms.
const CLOCK_DRIFT_MS: i64 = 5_000;

/// Takes the folder for this process. Without its keys a folder is not touched: new ones would open nothing in it.
pub(super) fn take(folder: &Path, given: &KeySettings) -> std::io::Result<File> {
    let lock = folder_lock(folder)?;
    let used = std::fs::metadata(folder.join(DATABASE_FILE)).is_ok_and(|about| about.len() > 0);
    let keys = [
        ("master.key", given.master.is_some() || given.master_file.is_some()),
        ("identity.pepper", given.pepper.is_some() || given.pepper_file.is_some()),
    ];
    for (name, given) in keys {
        if used && !given && !folder.join(name).exists() {
            let why = format!("{name} is missing, and nothing in the database opens without it: put it back");
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, why));
        }
    }
    Ok(lock)
}

/// Whether the keys open what is sealed in the database.
pub(super) async fn check_keys(store: &Store, keys: &Keys) -> Result<(), String> {
    match store.a_sealed_key().await.map_err(|error| error.to_string())? {
        Some((learner, sealed)) if keys.unwrap(&learner, &sealed).is_err() => {
            Err("master.key does not open what is sealed in the database: it is of another installation".into())
        }
        _ => Ok(()),
    }
}

/// The clock of sessions: never earlier than what is on record, `tolerated_ms` apart: what the clocks of several nodes may
/// differ by. With a machine whose clock was set back, `at` would
/// stand still until it has caught up, and honest learners would look as if they moved forward too fast.
pub(super) async fn session_clock(
    clock: &Clock,
    store: &Store,
    tolerated_ms: i64,
) -> Result<Clock, crate::store::StoreError> {
    let Some(latest) = store.latest_stamp().await? else { return Ok(clock.clone()) };
    let behind_ms = latest - clock.now_ms();
    if behind_ms > tolerated_ms {
        tracing::error!(
            behind_ms,
            latest_ms = latest,
            "the machine's clock is behind what is on record: sessions go on from the record, ahead of the clock. Set it \
             right and start the server again"
        );
        return Ok(clock.put_forward_ms(behind_ms));
    }
    if behind_ms < -FAR_FORWARD_MS {
        tracing::warn!(
            ahead_ms = -behind_ms,
            latest_ms = latest,
            "the machine's clock is days later than anything on record: either nobody learnt for so long, or it is wrong"
        );
    }
    Ok(clock.clone())
}

/// Says when the machine's clock is set while the server runs. Sessions do not notice; tokens and signatures do.
pub async fn watch_machine_clock() {
    let (steady, machine) = (Clock::scaled(1), Clock::system());
    let mut told_ms = 0;
    loop {
        steady.sleep_ms(CLOCK_INTERVAL_MS).await;
        let moved_ms = machine.now_ms() - steady.now_ms();
        if (moved_ms - told_ms).abs() > CLOCK_DRIFT_MS {
            told_ms = moved_ms;
            tracing::warn!(
                moved_ms,
                "the machine's clock was set: sessions go on undisturbed until the next start, tokens and webhooks follow it"
            );
        }
    }
}
