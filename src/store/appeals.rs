//! Appeals of learners: a statement and attachments, sealed with the learner's key, and in the queue at once.

use super::sql::{self, OptionalExtension as _, Row, params};

use super::access_log::{self, LoggedAccess};
use super::review::Entry;
use super::{Store, StoreError};

/// An appeal as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppealRecord {
    /// identifier
    pub id: String,
    /// what the learner says, sealed; none once they are forgotten
    pub statement: Option<Vec<u8>>,
    /// open | decided
    pub state: String,
    /// by when it should be decided, ms since the Unix epoch
    pub due_at: i64,
    /// ms since the Unix epoch
    pub at: i64,
    /// what came with it
    pub attachments: Vec<AttachmentRecord>,
}

/// An attachment without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentRecord {
    /// identifier
    pub id: String,
    /// image/jpeg, image/png or application/pdf
    pub kind: String,
    /// bytes
    pub size: i64,
    /// its name, sealed
    pub name: Vec<u8>,
}

/// An attachment that comes with an appeal.
#[derive(Clone)]
pub struct NewAttachment {
    /// what is known of it
    pub record: AttachmentRecord,
    /// its bytes, sealed
    pub bytes: Vec<u8>,
}

/// An appeal that a learner makes.
#[derive(Clone)]
pub struct NewAppeal {
    /// the session
    pub session: String,
    /// identifier
    pub id: String,
    /// what the learner says, sealed
    pub statement: Vec<u8>,
    /// what comes with it
    pub attachments: Vec<NewAttachment>,
    /// what the queue has of the session, by when it should be decided among it
    pub entry: Entry,
    /// ms since the Unix epoch
    pub at: i64,
    /// what goes into the access log
    pub access: LoggedAccess,
}

impl Store {
    /// Keeps an appeal and puts its session into the queue. False, and nothing happens, while an earlier one is open or there is no
    /// such session.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn add_appeal(&self, new: NewAppeal) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let added = transaction.execute(
                "INSERT INTO appeal (id, session, statement, state, due_at, at)
                 SELECT ?1, key, ?3, 'open', ?4, ?5 FROM session WHERE id = ?2 AND closed_at IS NOT NULL
                 ON CONFLICT DO NOTHING",
                params![new.id, new.session, new.statement, new.entry.due_at, new.at],
            )?;
            if added == 0 {
                return Ok(false);
            }
            for attachment in &new.attachments {
                let record = &attachment.record;
                transaction.execute(
                    "INSERT INTO appeal_attachment (id, appeal, type, size, name, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![record.id, new.id, record.kind, record.size, record.name, attachment.bytes],
                )?;
            }
            transaction.execute(
                "INSERT INTO review (session, tab, due_at, severity, opened_at, rules, platform, project, region, changed_at)
                 SELECT session.key, 'appeals', ?2, ?3, session.opened_at, ?4, session.platform, session.project,
                     project.region, ?5 FROM session JOIN project ON project.id = session.project WHERE session.id = ?1
                 ON CONFLICT (session) DO UPDATE SET tab = 'appeals', due_at = ?2, severity = ?3, rules = ?4,
                     changed_at = ?5",
                params![new.session, new.entry.due_at, new.entry.severity, new.entry.rules, new.entry.at],
            )?;
            access_log::note(transaction, &new.access)?;
            Ok(true)
        })
        .await
    }

    /// The appeals of a session, oldest first.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn appeals(&self, session: &str) -> Result<Vec<AppealRecord>, StoreError> {
        let session = session.to_owned();
        self.read(move |connection| {
            let mut appeals = connection
                .prepare_cached(
                    "SELECT appeal.id, appeal.statement, appeal.state, appeal.due_at, appeal.at
                     FROM appeal JOIN session ON session.key = appeal.session WHERE session.id = ?1 ORDER BY appeal.id",
                )?
                .query_map([&session], appeal)?
                .collect::<sql::Result<Vec<_>>>()?;
            for appeal in &mut appeals {
                appeal.attachments = connection
                    .prepare_cached("SELECT id, type, size, name FROM appeal_attachment WHERE appeal = ?1 ORDER BY id")?
                    .query_map([&appeal.id], attachment)?
                    .collect::<sql::Result<Vec<_>>>()?;
            }
            Ok(appeals)
        })
        .await
    }

    /// An attachment of an appeal to a session, with its bytes, sealed.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn appeal_attachment(
        &self,
        session: &str,
        appeal: &str,
        attachment_id: &str,
    ) -> Result<Option<NewAttachment>, StoreError> {
        let (session, appeal, id) = (session.to_owned(), appeal.to_owned(), attachment_id.to_owned());
        self.read(move |connection| {
            let found = connection
                .prepare_cached(
                    "SELECT kept.id, kept.type, kept.size, kept.name, kept.bytes FROM appeal_attachment AS kept
                     JOIN appeal ON appeal.id = kept.appeal JOIN session ON session.key = appeal.session
                     WHERE session.id = ?1 AND appeal.id = ?2 AND kept.id = ?3",
                )?
                .query_row([&session, &appeal, &id], |row| {
                    Ok(NewAttachment { record: attachment(row)?, bytes: row.get(4)? })
                })
                .optional()?;
            Ok(found)
        })
        .await
    }
}

fn appeal(row: &Row<'_>) -> sql::Result<AppealRecord> {
    Ok(AppealRecord {
        id: row.get(0)?,
        statement: row.get(1)?,
        state: row.get(2)?,
        due_at: row.get(3)?,
        at: row.get(4)?,
        attachments: Vec::new(),
    })
}

fn attachment(row: &Row<'_>) -> sql::Result<AttachmentRecord> {
    Ok(AttachmentRecord { id: row.get(0)?, kind: row.get(1)?, size: row.get(2)?, name: row.get(3)? })
}
