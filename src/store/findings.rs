//! Findings of the risk detectors, what supervisors made of them, and the sightings that outlive a restart.

use std::sync::Arc;

use super::sql::{self, Connection, Dialect, OptionalExtension as _, Row, ToSql, params};
use serde_json::{Map, Value};

use super::page::{Page, PageRequest};
use super::reach::Reach;
use super::{Store, StoreError};
use crate::risk::{Code, Finding, KEPT_DAYS, Kind, Severity, Sighting, SightingKind, State, Strength};

/// Identifiers that a finding names of each sort; of more, the newest.
const NAMED: usize = 200;
/// How much more evidence opens a dismissed finding again: half as much.
const REOPENS_AT: (i64, i64) = (3, 2);
/// Who opens a finding again when there is new evidence.
const ENGINE: &str = "engine";

/// A finding as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingRecord {
    /// identifier
    pub id: String,
    /// what it is
    pub code: Code,
    /// about whom
    pub subject: String,
    /// how much it weighs
    pub severity: Severity,
    /// what was made of it
    pub state: State,
    /// numbers, thresholds and pack of the newest
    pub evidence: Map<String, Value>,
    /// platforms concerned
    pub platforms: Vec<String>,
    /// learners concerned, at most 200
    pub learners: Vec<String>,
    /// sessions concerned, at most 200, the newest last
    pub sessions: Vec<String>,
    /// ms since the Unix epoch
    pub first_at: i64,
    /// ms since the Unix epoch
    pub last_at: i64,
    /// how often it was found
    pub count: i64,
}

/// A state that a finding had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingState {
    /// the state
    pub state: State,
    /// who decided
    pub decided_by: String,
    /// why
    pub note: Option<String>,
    /// ms since the Unix epoch
    pub at: i64,
}

/// Which findings are wanted; `None`: all.
#[derive(Clone, Debug, Default)]
pub struct FindingFilter {
    /// of this kind
    pub kind: Option<Kind>,
    /// of this weight
    pub severity: Option<Severity>,
    /// in this state
    pub state: Option<State>,
    /// that concern this platform
    pub platform: Option<String>,
    /// of which everything lies in projects whose region begins with these digits
    pub region: Option<String>,
}

const COLUMNS: &str = "id, code, subject, severity, state, evidence, platforms, learners, sessions, first_at, last_at,
    count";

impl Store {
    /// Keeps what the detectors gave, in one transaction. `findings` have the identifiers that new ones are to get.
    ///
    /// # Errors
    /// When the store could not write; then nothing of it is kept.
    pub async fn keep_risk(
        &self,
        sightings: Vec<Sighting>,
        findings: Vec<(String, Finding)>,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            for sighting in &sightings {
                keep_sighting(transaction, sighting)?;
            }
            for (id, finding) in &findings {
                keep_finding(transaction, id, finding)?;
            }
            Ok(())
        })
        .await
    }

    /// The sightings that are still of use on `day`, in the order of their times; older ones are deleted.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn sightings(&self, day: i64) -> Result<Vec<Sighting>, StoreError> {
        self.forget_sightings(day).await?;
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT kind, value, learner, day, at, faulty FROM risk_sighting ORDER BY at")?;
            let mut rows = statement.query(())?;
            let mut sightings = Vec::new();
            while let Some(row) = rows.next()? {
                let text = |column| row.get::<String>(column).map(Arc::<str>::from);
                let kind: String = row.get(0)?;
                sightings.push(Sighting {
                    kind: SightingKind::from_word(&kind).ok_or(StoreError::Corrupt { what: "sighting", why: kind })?,
                    value: text(1)?,
                    learner: text(2)?,
                    day: row.get(3)?,
                    at: row.get(4)?,
                    faulty: row.get(5)?,
                });
            }
            Ok(sightings)
        })
        .await
    }

    /// Deletes the sightings that are of no use any more on `day`.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn forget_sightings(&self, day: i64) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM risk_sighting WHERE day <= ?1", [day - KEPT_DAYS])?;
            Ok(())
        })
        .await
    }

    /// The findings that a filter lets through, in the order in which they were first found.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn findings(
        &self,
        filter: FindingFilter,
        request: PageRequest,
    ) -> Result<Page<FindingRecord>, StoreError> {
        self.read(move |connection| {
            let (start, rows) = (request.start(), request.rows());
            let words = [
                ("kind = ", filter.kind.map(Kind::as_str)),
                ("severity = ", filter.severity.map(Severity::as_str)),
                ("state = ", filter.state.map(State::as_str)),
                ("id IN (SELECT finding FROM finding_platform WHERE platform = ", filter.platform.as_deref()),
            ];
            let mut conditions = String::new();
            let mut values: Vec<&dyn ToSql> = vec![&start, &rows];
            for (condition, value) in &words {
                if value.is_some() {
                    values.push(value);
                    let end = if condition.contains('(') { ")" } else { "" };
                    conditions.push_str(&format!(" AND {condition}?{}{end}", values.len()));
                }
            }
            let before = filter.region.as_ref().map(|region| format!("{region}:"));
            if filter.region.is_some() {
                values.extend([&filter.region as &dyn ToSql, &before]);
                conditions.push_str(&within(connection.dialect(), values.len() - 1));
            }
            let sql = format!("SELECT {COLUMNS} FROM finding WHERE id > ?1{conditions} ORDER BY id LIMIT ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = statement.query(values.as_slice())?;
            let mut findings = Vec::new();
            while let Some(row) = found.next()? {
                findings.push(record(&row)?);
            }
            Ok(request.page(findings, |finding: &FindingRecord| &finding.id))
        })
        .await
    }

    /// Whether all sessions, learners and platforms that a finding is about are of projects whose region begins with these
    /// digits: else it would tell of others.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn finding_is_within(&self, id: &str, region: &str) -> Result<bool, StoreError> {
        let (id, region, before) = (id.to_owned(), region.to_owned(), format!("{region}:"));
        self.read(move |connection| {
            let sql = format!("SELECT 1 FROM finding WHERE id = ?1{}", within(connection.dialect(), 2));
            Ok(connection.prepare_cached(&sql)?.exists([&id, &region, &before])?)
        })
        .await
    }

    /// A finding, and the states that it had, oldest first.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn finding(&self, id: &str) -> Result<Option<(FindingRecord, Vec<FindingState>)>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| find(connection, &id)).await
    }

    /// Sets the state of a finding. Its history grows by one, even if the state is the same. `None` when there is no
    /// such finding.
    ///
    /// # Errors
    /// When the store could not write.
    pub async fn decide_finding(
        &self,
        id: &str,
        decision: FindingState,
    ) -> Result<Option<(FindingRecord, Vec<FindingState>)>, StoreError> {
        let id = id.to_owned();
        self.write(move |transaction| {
            // What it was dismissed with is what new evidence is measured by.
            let changed = transaction.execute(
                "UPDATE finding SET state = ?2,
                    dismissed_strength = CASE WHEN ?2 = 'dismissed' THEN strength ELSE dismissed_strength END,
                    dismissed_severity = CASE WHEN ?2 = 'dismissed' THEN severity ELSE dismissed_severity END
                 WHERE id = ?1",
                params![id, decision.state.as_str()],
            )?;
            if changed > 0 {
                add_state(transaction, &id, &decision)?;
            }
            find(transaction, &id)
        })
        .await
    }
}

/// Identifiers of the findings of which `column`, a list as JSON, names `id`, for whom this is the reach.
pub(super) fn naming(connection: &Connection, column: &str, id: &str, reach: &Reach) -> sql::Result<Vec<String>> {
    // Identifiers hold nothing that LIKE takes for more than itself.
    let named = format!("%\"{id}\"%");
    let before = reach.region_end();
    let mut values: Vec<&dyn ToSql> = vec![&named];
    let mut conditions = String::new();
    if reach.region.is_some() {
        values.extend([&reach.region as &dyn ToSql, &before]);
        conditions = within(connection.dialect(), 2);
    }
    connection
        .prepare_cached(&format!("SELECT id FROM finding WHERE {column} LIKE ?1{conditions} ORDER BY id"))?
        .query_map(values.as_slice(), |row| row.get(0))?
        .collect()
}

/// Conditions on `finding`: everything that it is about lies in a region, whose range is the parameter `from` and the next.
fn within(dialect: Dialect, from: usize) -> String {
    let before = from + 1;
    let of_region = format!("project.region >= ?{from} AND project.region < ?{before}");
    [
        ("sessions", "session JOIN project ON project.id = session.project WHERE session.id"),
        ("learners", "enrolment JOIN project ON project.id = enrolment.project WHERE enrolment.learner"),
        ("platforms", "project WHERE project.platform"),
    ]
    .map(|(column, is_there)| {
        let each = dialect.json_texts(&format!("finding.{column}"), "each_one");
        format!(
            " AND NOT EXISTS (SELECT 1 FROM {each} WHERE NOT EXISTS
                 (SELECT 1 FROM {is_there} = each_one.value AND {of_region}))"
        )
    })
    .concat()
}

fn keep_sighting(transaction: &Connection, sighting: &Sighting) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO risk_sighting (day, kind, value, learner, at, faulty) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (day, kind, value, learner) DO UPDATE SET faulty = excluded.faulty
             WHERE excluded.faulty > risk_sighting.faulty",
        )?
        .execute(params![
            sighting.day,
            sighting.kind.as_str(),
            &*sighting.value,
            &*sighting.learner,
            sighting.at,
            sighting.faulty
        ])?;
    Ok(())
}

/// What a row must know to be found again.
struct Known {
    id: String,
    state: State,
    severity: Severity,
    strength: i64,
    dismissed: Option<(i64, Severity)>,
    lists: [Vec<String>; 3],
}

pub(super) fn keep_finding(transaction: &Connection, new_id: &str, finding: &Finding) -> Result<(), StoreError> {
    let known = known(transaction, finding)?;
    let mut lists = known.as_ref().map(|known| known.lists.clone()).unwrap_or_default();
    for (list, more) in lists.iter_mut().zip([&finding.platforms, &finding.learners, &finding.sessions]) {
        merge(list, more);
    }
    let id = known.as_ref().map_or(new_id, |known| known.id.as_str()).to_owned();
    let id = id.as_str();
    let [platforms, learners, sessions] = lists.map(|list| Value::from(list).to_string());
    let evidence = Value::Object(finding.evidence.clone()).to_string();
    let strength = match finding.strength {
        Strength::InAll(strength) => strength,
        Strength::OnceMore => known.as_ref().map_or(0, |known| known.strength) + 1,
    };
    let severity = known.as_ref().map_or(finding.severity, |known| known.severity.max(finding.severity));
    transaction
        .prepare_cached(
            "INSERT INTO finding (id, kind, code, subject, severity, state, strength, evidence, platforms, learners,
                sessions, first_at, last_at, count)
             VALUES (?1, ?2, ?3, ?4, ?5, 'open', ?6, ?7, ?8, ?9, ?10, ?11, ?11, 1)
             ON CONFLICT (code, subject) DO UPDATE SET severity = excluded.severity, strength = excluded.strength,
                evidence = excluded.evidence, platforms = excluded.platforms, learners = excluded.learners,
                sessions = excluded.sessions, count = finding.count + 1,
                last_at = CASE WHEN excluded.last_at > finding.last_at THEN excluded.last_at ELSE finding.last_at END",
        )?
        .execute(params![
            id,
            finding.code.kind().as_str(),
            finding.code.as_str(),
            finding.subject,
            severity.as_str(),
            strength,
            evidence,
            platforms,
            learners,
            sessions,
            finding.at
        ])?;
    for platform in &finding.platforms {
        transaction
            .prepare_cached("INSERT INTO finding_platform (platform, finding) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![&**platform, id])?;
    }
    if known.is_some_and(|known| known.state == State::Dismissed && known.reopens(strength, severity)) {
        transaction.execute("UPDATE finding SET state = 'open' WHERE id = ?1", [id])?;
        let note = Some(format!("new evidence: {strength}"));
        let reopened = FindingState { state: State::Open, decided_by: ENGINE.to_owned(), note, at: finding.at };
        add_state(transaction, id, &reopened)?;
    }
    Ok(())
}

impl Known {
    /// Whether there is so much more evidence than when it was dismissed that somebody should look again.
    fn reopens(&self, strength: i64, severity: Severity) -> bool {
        let Some((dismissed_strength, dismissed_severity)) = self.dismissed else { return true };
        let (times, of) = REOPENS_AT;
        severity > dismissed_severity || strength > dismissed_strength && strength * of >= dismissed_strength * times
    }
}

fn known(transaction: &Connection, finding: &Finding) -> Result<Option<Known>, StoreError> {
    let row = |row: &Row<'_>| {
        let words: [String; 3] = [row.get(1)?, row.get(2)?, row.get::<Option<String>>(5)?.unwrap_or_default()];
        let lists: [String; 3] = [row.get(6)?, row.get(7)?, row.get(8)?];
        Ok((row.get::<String>(0)?, words, (row.get::<i64>(3)?, row.get::<Option<i64>>(4)?), lists))
    };
    let found = transaction
        .prepare_cached(
            "SELECT id, state, severity, strength, dismissed_strength, dismissed_severity, platforms, learners, sessions
             FROM finding WHERE code = ?1 AND subject = ?2",
        )?
        .query_row([finding.code.as_str(), &finding.subject], row)
        .optional()?;
    let Some((id, [state, severity, dismissed_severity], (strength, dismissed_strength), lists)) = found else {
        return Ok(None);
    };
    let [platforms, learners, sessions] = lists;
    Ok(Some(Known {
        id,
        state: word(State::from_word, state)?,
        severity: word(Severity::from_word, severity)?,
        strength,
        dismissed: dismissed_strength.zip(Severity::from_word(&dismissed_severity)),
        lists: [json(&platforms)?, json(&learners)?, json(&sessions)?],
    }))
}

/// Adds what is not there yet; what is there moves to the end. The oldest go when it is too long.
fn merge(list: &mut Vec<String>, more: &[Arc<str>]) {
    list.retain(|known| more.iter().all(|new| **new != **known));
    for new in more {
        if !list.iter().any(|known| **known == **new) {
            list.push(new.to_string());
        }
    }
    list.drain(..list.len().saturating_sub(NAMED));
}

fn add_state(transaction: &Connection, finding: &str, state: &FindingState) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO finding_state (finding, number, state, decided_by, note, at)
         SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5 FROM finding_state WHERE finding = ?1",
        params![finding, state.state.as_str(), state.decided_by, state.note, state.at],
    )?;
    Ok(())
}

fn find(connection: &Connection, id: &str) -> Result<Option<(FindingRecord, Vec<FindingState>)>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM finding WHERE id = ?1"))?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let finding = record(&row)?;
    let mut statement = connection
        .prepare_cached("SELECT state, decided_by, note, at FROM finding_state WHERE finding = ?1 ORDER BY number")?;
    let mut rows = statement.query([id])?;
    let mut states = Vec::new();
    while let Some(row) = rows.next()? {
        states.push(FindingState {
            state: word(State::from_word, row.get(0)?)?,
            decided_by: row.get(1)?,
            note: row.get(2)?,
            at: row.get(3)?,
        });
    }
    Ok(Some((finding, states)))
}

fn record(row: &Row<'_>) -> Result<FindingRecord, StoreError> {
    let text = |column| row.get::<String>(column);
    Ok(FindingRecord {
        id: text(0)?,
        code: word(Code::from_word, text(1)?)?,
        subject: text(2)?,
        severity: word(Severity::from_word, text(3)?)?,
        state: word(State::from_word, text(4)?)?,
        evidence: json(&text(5)?)?,
        platforms: json(&text(6)?)?,
        learners: json(&text(7)?)?,
        sessions: json(&text(8)?)?,
        first_at: row.get(9)?,
        last_at: row.get(10)?,
        count: row.get(11)?,
    })
}

fn word<T>(read: fn(&str) -> Option<T>, word: String) -> Result<T, StoreError> {
    read(&word).ok_or(StoreError::Corrupt { what: "finding", why: word })
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { what: "finding", why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    fn finding(learners: &[&str], strength: Strength) -> Finding {
        let all = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        Finding {
            code: Code::DeviceLearners,
            subject: "device:00".to_owned(),
            severity: Severity::Low,
            at: 10 + learners.len() as i64,
            platforms: all(&["p1"]),
            learners: all(learners),
            sessions: all(&["s1"]),
            evidence: Map::from_iter([("learners".to_owned(), learners.len().into())]),
            strength,
        }
    }

    async fn keep(store: &Store, id: &str, finding: Finding) -> (FindingRecord, Vec<FindingState>) {
        store.keep_risk(Vec::new(), vec![(id.to_owned(), finding)]).await.unwrap();
        store.finding("f1").await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn the_same_finding_is_one_row_with_the_newest_evidence() {
        let (_folder, store) = fixture::store().await;
        keep(&store, "f1", finding(&["a", "b"], Strength::InAll(2))).await;
        let (record, states) = keep(&store, "f2", finding(&["b", "c"], Strength::InAll(3))).await;
        assert_eq!(record.learners, ["a", "b", "c"]);
        assert_eq!((record.count, record.first_at, record.last_at), (2, 12, 12));
        assert_eq!(record.evidence["learners"], 2);
        assert_eq!((record.platforms, record.sessions), (vec!["p1".to_owned()], vec!["s1".to_owned()]));
        assert!(states.is_empty());
        let all = store.findings(FindingFilter::default(), PageRequest::default()).await.unwrap();
        assert_eq!(all.items.len(), 1);
        // Elsewhere it is another.
        let other = Finding { subject: "device:01".to_owned(), ..finding(&["a"], Strength::OnceMore) };
        keep(&store, "f3", other).await;
        let all = store.findings(FindingFilter::default(), PageRequest::default()).await.unwrap();
        assert_eq!(all.items.len(), 2);
    }

    #[tokio::test]
    async fn a_dismissed_one_opens_again_only_with_half_as_much_evidence_more_or_more_weight() {
        let (_folder, store) = fixture::store().await;
        keep(&store, "f1", finding(&["a"], Strength::InAll(10))).await;
        let dismiss = |at| FindingState {
            state: State::Dismissed,
            decided_by: "k1".to_owned(),
            note: Some("a computer room".to_owned()),
            at,
        };
        let (record, states) = store.decide_finding("f1", dismiss(20)).await.unwrap().unwrap();
        assert_eq!((record.state, states.as_slice()), (State::Dismissed, [dismiss(20)].as_slice()));
        let (record, _) = keep(&store, "x", finding(&["a"], Strength::InAll(14))).await;
        assert_eq!((record.state, record.count), (State::Dismissed, 2));
        let (record, states) = keep(&store, "x", finding(&["a"], Strength::InAll(15))).await;
        assert_eq!((record.state, states.len()), (State::Open, 2));
        assert_eq!((states[1].state, states[1].decided_by.as_str()), (State::Open, "engine"));
        store.decide_finding("f1", dismiss(30)).await.unwrap();
        let heavier = Finding { severity: Severity::Medium, ..finding(&["a"], Strength::InAll(15)) };
        assert_eq!(keep(&store, "x", heavier).await.0.state, State::Open);
        assert_eq!(store.decide_finding("f9", dismiss(40)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_was_acknowledged_or_confirmed_stays_so() {
        let (_folder, store) = fixture::store().await;
        keep(&store, "f1", finding(&["a"], Strength::OnceMore)).await;
        for state in [State::Acknowledged, State::Confirmed] {
            let decision = FindingState { state, decided_by: "k1".to_owned(), note: None, at: 1 };
            store.decide_finding("f1", decision).await.unwrap();
            assert_eq!(keep(&store, "x", finding(&["b"], Strength::OnceMore)).await.0.state, state);
        }
    }

    #[tokio::test]
    async fn lists_are_filtered_and_paged() {
        let (_folder, store) = fixture::store().await;
        for number in 1..=5 {
            let mut finding = finding(&["a"], Strength::OnceMore);
            finding.subject = format!("device:{number}");
            finding.platforms = vec![if number % 2 == 0 { "p2" } else { "p1" }.into()];
            finding.severity = if number == 3 { Severity::High } else { Severity::Low };
            store.keep_risk(Vec::new(), vec![(format!("f{number}"), finding)]).await.unwrap();
        }
        let ids = async |filter, limit, after: Option<&str>| {
            let request = PageRequest { after: after.map(str::to_owned), limit: Some(limit) };
            let page = store.findings(filter, request).await.unwrap();
            (page.items.into_iter().map(|finding| finding.id).collect::<Vec<_>>().join(" "), page.next)
        };
        let all = FindingFilter::default;
        assert_eq!(ids(all(), 2, None).await, ("f1 f2".to_owned(), Some("f2".to_owned())));
        assert_eq!(ids(all(), 9, Some("f2")).await, ("f3 f4 f5".to_owned(), None));
        let of_platform = FindingFilter { platform: Some("p2".to_owned()), ..all() };
        assert_eq!(ids(of_platform, 9, None).await.0, "f2 f4");
        let high = FindingFilter { severity: Some(Severity::High), platform: Some("p1".to_owned()), ..all() };
        assert_eq!(ids(high, 9, None).await.0, "f3");
        let none = FindingFilter { kind: Some(Kind::TwoPlaces), state: Some(State::Open), ..all() };
        assert_eq!(ids(none, 9, None).await.0, "");
    }

    #[tokio::test]
    async fn sightings_come_back_until_they_are_too_old() {
        let (_folder, store) = fixture::store().await;
        let sighting = |day, at, faulty| Sighting {
            kind: SightingKind::Verdict,
            value: "p1".into(),
            learner: "l1".into(),
            day,
            at,
            faulty,
        };
        let kept =
            vec![sighting(100, 2, false), sighting(99, 1, false), sighting(100, 9, true), sighting(70, 0, false)];
        store.keep_risk(kept, Vec::new()).await.unwrap();
        assert_eq!(store.sightings(100).await.unwrap(), [sighting(99, 1, false), sighting(100, 2, true)]);
    }
}
