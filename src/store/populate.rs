//! Records for benchmarks: one platform with one course, and as many enrolled learners as are wanted.
//!
//! Enrolling thousands of faces through the REST API would measure the face models. These rows are what the API would
//! have written, in one transaction; the server that is measured finds them as it finds any others.

use std::path::Path;

use super::sql::{self, Connection, params};

use super::{Store, StoreError, embedded};
use crate::auth::SecretHash;

/// A pack for those who look at the stream of events: prompts and photos come once in half a day. Everything else is as in the
/// default pack.
pub const CALM_PACK: &str = r#"
id = "calm"
class_hour_ms = 86_400_000
start_verify_ms = 86_400_000
photo_due_ms = 86_400_000
prompt_max_gap_ms = 86_400_000
schedule.prompt_min_ms = 43_200_000
schedule.prompt_max_ms = 43_200_000
schedule.capture_start_min_ms = 43_200_000
schedule.capture_start_max_ms = 43_200_000
schedule.capture_min_ms = 43_200_000
schedule.capture_max_ms = 43_200_000
schedule.silence_close_ms = 43_200_000
"#;

/// A learner with an enrolment photo.
#[derive(Clone, Debug)]
pub struct Pupil {
    /// identifier
    pub id: String,
    /// the data key, sealed with the master key
    pub data_key: Vec<u8>,
    /// the face template, sealed with the data key
    pub template: Vec<u8>,
}

/// A platform, its key, a course of one lesson, and who takes it.
#[derive(Clone, Debug)]
pub struct School {
    /// identifier of the platform
    pub platform: String,
    /// digest of its API key
    pub key: SecretHash,
    /// identifier of the course
    pub project: String,
    /// identifier of its lesson
    pub lesson: String,
    /// the lesson's length, ms
    pub duration_ms: i64,
    /// identifier of the policy pack
    pub policy: String,
    /// who is enrolled
    pub pupils: Vec<Pupil>,
    /// server time, ms since the epoch
    pub now_ms: i64,
}

impl Store {
    /// Writes a school into an empty store.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn populate(&self, school: School) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let School { platform, key, project, lesson, duration_ms, policy, pupils, now_ms } = &school;
            transaction.execute(
                "INSERT INTO platform (id, name, status, created_at) VALUES (?1, ?1, 'active', ?2)",
                params![platform, now_ms],
            )?;
            transaction.execute(
                "INSERT INTO api_key (hash, id, platform, label, created_at) VALUES (?1, ?2, ?2, 'bench', ?3)",
                params![key, platform, now_ms],
            )?;
            transaction.execute(
                "INSERT INTO project (id, platform, name, total_hours, delivery, policy, approved, created_at)
                 VALUES (?1, ?2, ?1, 1000, 'online_only', ?3, 1, ?4)",
                params![project, platform, policy, now_ms],
            )?;
            transaction.execute(
                "INSERT INTO lesson (id, project, position, title, duration_ms, kind, content_approved)
                 VALUES (?1, ?2, 1, ?1, ?3, 'theory', 1)",
                params![lesson, project, duration_ms],
            )?;
            for pupil in pupils {
                enrol(transaction, &school, pupil)?;
            }
            Ok(())
        })
        .await
    }
}

/// Closed sessions under review, for whoever looks at the queue.
#[derive(Clone, Debug)]
pub struct Queued {
    /// the platform
    pub platform: String,
    /// the project, and its region from now on
    pub project: String,
    /// of which region (GB/T 2260)
    pub region: String,
    /// the lesson
    pub lesson: String,
    /// whose sessions, in turn
    pub learners: Vec<String>,
    /// the verdict of each, as JSON
    pub verdict: String,
    /// numbers of the sessions
    pub numbers: std::ops::Range<i64>,
    /// when the first was opened, ms since the epoch
    pub now_ms: i64,
}

impl Store {
    /// Writes closed sessions under review into a school that is there.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn populate_queue(&self, queued: Queued) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let Queued { platform, project, region, lesson, learners, verdict, numbers, now_ms } = &queued;
            transaction.execute("UPDATE project SET region = ?2 WHERE id = ?1", params![project, region])?;
            for (number, learner) in numbers.clone().zip(learners.iter().cycle()) {
                let opened_at = now_ms + number;
                let session: i64 = transaction
                    .prepare_cached(
                        "INSERT INTO session (id, platform, learner, project, lesson, seed, opened_at, closed_at)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) RETURNING key",
                    )?
                    .query_row(
                        params![format!("s{number}"), platform, learner, project, lesson, b"".as_slice(), opened_at],
                        |row| row.get(0),
                    )?;
                transaction
                    .prepare_cached(
                        "INSERT INTO verdict (session, version, status, body, created_at) VALUES (?1, 1, 'review', ?2, ?3)",
                    )?
                    .execute(params![session, verdict, opened_at])?;
                // Due times that the order of writing does not give away.
                let due_at = opened_at + (number * 7_919) % 100_003;
                transaction
                    .prepare_cached(
                        "INSERT INTO review (session, tab, due_at, severity, opened_at, rules, platform, project, region)
                         VALUES (?1, 'review', ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    )?
                    .execute(params![session, due_at, number % 3, opened_at, ",unfocused,", platform, project, region])?;
            }
            Ok(())
        })
        .await
    }
}

/// What the logs of a data folder take.
#[derive(Clone, Copy, Debug)]
pub struct LogBytes {
    /// events in them
    pub events: i64,
    /// as they lie in the database: lines, or segments
    pub bytes: i64,
    /// what rows have besides: keys, numbers, digests, and their headers
    pub overhead_bytes: i64,
}

impl LogBytes {
    /// Of open sessions.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn of_open(folder: &Path) -> Result<Self, StoreError> {
        // Row id, header of six, session, first number, count, checksum: about what SQLite takes for small numbers.
        Self::query(folder, "SELECT sum(count), sum(length(lines)), count(*) * 23 FROM journal")
    }

    /// Of closed sessions.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn of_closed(folder: &Path) -> Result<Self, StoreError> {
        Self::query(folder, "SELECT sum(count), sum(length(lines)), sum(length(digest)) + count(*) * 17 FROM segment")
    }

    fn query(folder: &Path, sql: &str) -> Result<Self, StoreError> {
        let connection = embedded::connect_to_read(&folder.join("invigil.sqlite"))?;
        Ok(connection.query_row(sql, [], |row| {
            Ok(Self { events: row.get(0)?, bytes: row.get(1)?, overhead_bytes: row.get(2)? })
        })?)
    }
}

fn enrol(transaction: &Connection, school: &School, pupil: &Pupil) -> sql::Result<()> {
    let School { platform, project, now_ms, .. } = school;
    transaction
        .prepare_cached("INSERT INTO learner (id, photo_version, data_key, created_at) VALUES (?1, 1, ?2, ?3)")?
        .execute(params![pupil.id, pupil.data_key, now_ms])?;
    transaction
        .prepare_cached("INSERT INTO platform_learner (platform, learner, created_at) VALUES (?1, ?2, ?3)")?
        .execute(params![platform, pupil.id, now_ms])?;
    transaction
        .prepare_cached(
            "INSERT INTO enrolled_photo (learner, version, digest, evidence, template, platform, created_at)
             VALUES (?1, 1, '', '', ?2, ?3, ?4)",
        )?
        .execute(params![pupil.id, pupil.template, platform, now_ms])?;
    transaction
        .prepare_cached("INSERT INTO enrolment (id, project, learner, created_at) VALUES (?1, ?2, ?1, ?3)")?
        .execute(params![pupil.id, project, now_ms])?;
    Ok(())
}
