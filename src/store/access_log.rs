//! Who was shown what, exported or decided: rows are only added, and triggers see to it.

use super::sql::{self, Connection, Row, ToSql, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::words::{AccessKind, KeyRole};
use super::{Store, StoreError};

/// Something that somebody was shown or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Access)]
pub struct LoggedAccess {
    /// identifier
    pub id: String,
    /// ms since the Unix epoch
    pub at: i64,
    /// identifier of the account or API key; empty: nobody who is known
    pub account: String,
    /// the account's name at that time; empty for API keys
    pub name: String,
    /// operator, supervisor, auditor, administrator, platform or staff; empty when nobody is known
    pub role: String,
    /// what it was
    pub kind: AccessKind,
    /// the session, learner or list that it is about
    pub subject: String,
    /// what else is to be said
    pub detail: String,
}

/// Who is noted, as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// identifier of the account or API key; empty: nobody who is known
    pub id: String,
    /// the account's name; empty for API keys
    pub name: String,
    /// in which role
    pub role: Option<KeyRole>,
}

/// Which entries are wanted; `None`: all.
#[derive(Clone, Debug, Default)]
pub struct AccessFilter {
    /// those of this account or key
    pub account: Option<String>,
    /// those of this kind
    pub kind: Option<AccessKind>,
}

impl LoggedAccess {
    /// An entry about `subject`.
    pub fn new(id: String, at: i64, actor: Actor, kind: AccessKind, subject: &str, detail: String) -> Self {
        let role = actor.role.map_or("", KeyRole::as_str).to_owned();
        Self { id, at, account: actor.id, name: actor.name, role, kind, subject: subject.to_owned(), detail }
    }
}

/// Adds an entry in the caller's transaction.
pub(super) fn note(transaction: &Connection, entry: &LoggedAccess) -> sql::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO access_log (id, at, account, name, role, kind, subject, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            entry.id,
            entry.at,
            entry.account,
            entry.name,
            entry.role,
            entry.kind,
            entry.subject,
            entry.detail
        ])?;
    Ok(())
}

impl Store {
    /// Notes what somebody is about to be shown, or has done: on disk when this returns.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn log_access(&self, entry: LoggedAccess) -> Result<(), StoreError> {
        self.write(move |transaction| Ok(note(transaction, &entry)?)).await
    }

    /// The log, newest first.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn access_log(
        &self,
        filter: AccessFilter,
        request: PageRequest,
    ) -> Result<Page<LoggedAccess>, StoreError> {
        self.read(move |connection| {
            let (start, rows, kind) = (request.start_newest(), request.rows(), filter.kind);
            let mut values: Vec<&dyn ToSql> = vec![&start, &rows];
            let mut conditions = String::new();
            if filter.account.is_some() {
                values.push(&filter.account);
                conditions.push_str(&format!(" AND account = ?{}", values.len()));
            }
            if let Some(kind) = &kind {
                values.push(kind);
                conditions.push_str(&format!(" AND kind = ?{}", values.len()));
            }
            let sql = format!(
                "SELECT id, at, account, name, role, kind, subject, detail FROM access_log
                 WHERE id < ?1{conditions} ORDER BY id DESC LIMIT ?2"
            );
            let entries =
                connection.prepare_cached(&sql)?.query_map(values.as_slice(), entry)?.collect::<Result<Vec<_>, _>>()?;
            Ok(request.page(entries, |entry: &LoggedAccess| &entry.id))
        })
        .await
    }
}

fn entry(row: &Row<'_>) -> sql::Result<LoggedAccess> {
    Ok(LoggedAccess {
        id: row.get(0)?,
        at: row.get(1)?,
        account: row.get(2)?,
        name: row.get(3)?,
        role: row.get(4)?,
        kind: row.get(5)?,
        subject: row.get(6)?,
        detail: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    #[tokio::test]
    async fn entries_are_only_added() {
        let (_folder, store) = fixture::store().await;
        let entry = LoggedAccess::new("1".into(), 5, Actor::default(), AccessKind::Photo, "s1", "c1/0".into());
        store.log_access(entry.clone()).await.unwrap();
        let refused = |sql: &'static str| {
            let store = store.clone();
            async move { store.write(move |transaction| Ok::<_, StoreError>(transaction.execute(sql, ())?)).await }
        };
        for sql in ["DELETE FROM access_log", "UPDATE access_log SET account = 'x'"] {
            let error = refused(sql).await.unwrap_err();
            assert!(error.to_string().contains("rows are only added"), "{error}");
        }
        let filter = AccessFilter { kind: Some(AccessKind::Photo), account: Some(String::new()) };
        let kept = store.access_log(filter, PageRequest::default()).await.unwrap().items;
        assert_eq!(kept, std::slice::from_ref(&entry));
        let later = LoggedAccess { id: "2".into(), ..entry };
        store.log_access(later.clone()).await.unwrap();
        let request = |after: Option<String>| PageRequest { after, limit: Some(1) };
        let newest = store.access_log(AccessFilter::default(), request(None)).await.unwrap();
        assert_eq!((&newest.items, &newest.next), (&vec![later], &Some("2".into())));
        let rest = store.access_log(AccessFilter::default(), request(newest.next)).await.unwrap();
        assert_eq!((rest.items[0].id.as_str(), rest.next), ("1", None));
        let others = AccessFilter { kind: Some(AccessKind::Export), account: None };
        assert_eq!(store.access_log(others, PageRequest::default()).await.unwrap().items, []);
    }
}
