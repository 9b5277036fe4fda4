//! The tables that are moved, and what is known of each.

use crate::store::sql::Kind;

/// All of them: whatever refers to another stands behind it. What is to be reported to a province comes last, because
/// triggers queue a report for each row that arrives while it is there.
pub(super) const TABLES: [&str; 40] = [
    "platform",
    "platform_status",
    "api_key",
    "learner",
    "learner_identity",
    "platform_learner",
    "person_access",
    "forgotten",
    "enrolled_photo",
    "descriptor",
    "project",
    "lesson",
    "enrolment",
    "withdrawal",
    "makeup",
    "session",
    "token",
    "journal",
    "segment",
    "verdict",
    "photo",
    "outbox",
    "report_batch",
    "report_item",
    "risk_sighting",
    "finding",
    "finding_platform",
    "finding_state",
    "face_search_due",
    "face_search",
    "policy_text",
    "account",
    "console_session",
    "login_failure",
    "access_log",
    "review",
    "decision",
    "appeal",
    "appeal_attachment",
    REPORT_TARGET,
];

/// Whether anything is reported.
pub(super) const REPORT_TARGET: &str = "report_target";

/// The journal of open sessions: the one table that is not the same on both sides.
pub(super) const JOURNAL: &str = "journal";

/// Tables whose keys the database counts.
pub(super) const COUNTED: [(&str, &str); 4] =
    [("session", "key"), ("outbox", "id"), ("report_batch", "id"), ("report_item", "id")];

/// A table as PostgreSQL has it, without what it computes by itself.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// name and kind of each column
    pub(super) columns: Vec<(String, Kind)>,
    /// which of them are the primary key, in its order
    pub(super) key: Vec<usize>,
}

impl Table {
    /// The columns, for a statement.
    pub(super) fn column_list(&self) -> String {
        list(self.columns.iter().map(|(name, _)| name))
    }

    /// Those of the key.
    pub(super) fn key_list(&self) -> String {
        list(self.key_columns().map(|(name, _)| name))
    }

    pub(super) fn key_columns(&self) -> impl Iterator<Item = &(String, Kind)> {
        self.key.iter().map(|column| &self.columns[*column])
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// The name of a kind in PostgreSQL.
pub(super) fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer => "BIGINT",
        Kind::Text => "TEXT",
        Kind::Blob => "BYTEA",
    }
}
