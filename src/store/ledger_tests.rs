//! The ledger over a store full of made-up sessions: paging, filters, sums, versions; and how long it takes.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{LedgerEntry, LedgerFilter, LedgerStatus};
use super::ledger_totals::{LedgerGroup, LedgerTotals};
use super::page::PageRequest;
use super::{Store, fixture};
use crate::clock::Stopwatch;

/// 2026-03-01 00:00 in China.
const FIRST_DAY_MS: i64 = 1_772_294_400_000;
const LESSONS: usize = 4;

/// The key of an entry in a group, found in another way than by SQL.
type KeyOf = Box<dyn Fn(&LedgerEntry) -> String>;

/// `sessions` closed sessions at two platforms, in four projects of three theory lessons and a practice lesson.
/// Session i is of project i mod 4, and opened i × 10 minutes after the first day's beginning.
pub(crate) async fn filled(store: &Store, sessions: usize) {
    let learners = (sessions / 40).max(2) * 4;
    let padding = " ".repeat(1_000);
    let sql = format!(
        r#"
        INSERT INTO platform (id, name, status, created_at) VALUES ('p0', 'A', 'active', 0), ('p1', 'B', 'active', 0);
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3)
        INSERT INTO project (id, platform, name, total_hours, delivery, policy, region, created_at)
            SELECT 'j' || i, 'p' || (i % 2), 'J' || i, 100, 'blended', 'default',
                CASE i WHEN 3 THEN '' ELSE '41130' || i END, 0 FROM n;
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last_lesson})
        INSERT INTO lesson (id, project, position, title, duration_ms, kind)
            SELECT 'e' || i, 'j' || (i % 4), 1 + i / 4, 'L' || i, 600000,
                CASE i / 4 WHEN 3 THEN 'practice' ELSE 'theory' END FROM n;
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {learners} - 1)
        INSERT INTO learner (id, created_at) SELECT 'l' || substr(CAST(1000000 + i AS TEXT), 2), 0 FROM n;
        -- One more learner than come.
        INSERT INTO learner (id, created_at) VALUES ('l999000', 0);
        INSERT INTO enrolment (id, project, learner, class, created_at)
            SELECT 'n' || id, 'j' || (CAST(substr(id, 2) AS INTEGER) % 4), id, '一班', 0 FROM learner
            WHERE id <> 'l999000';
        INSERT INTO enrolment (id, project, learner, created_at) VALUES ('nabsent', 'j0', 'l999000', 0);
        INSERT INTO platform_learner (platform, learner, external_reference, created_at)
            SELECT 'p' || (CAST(substr(id, 2) AS INTEGER) % 2), id, 'u' || id, 0 FROM learner;
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {sessions} - 1)
        INSERT INTO session (key, id, platform, learner, project, lesson, seed, opened_at, closed_at)
            SELECT i + 1, 's' || substr(CAST(100000000 + i AS TEXT), 2), 'p' || (i % 2),
                'l' || substr(CAST(1000000 + i % {learners} AS TEXT), 2), 'j' || (i % 4),
                'e' || (i % 4 + 4 * (i / {learners} % {LESSONS})), x'00',
                {FIRST_DAY_MS} + CAST(i AS BIGINT) * 600000, {FIRST_DAY_MS} + CAST(i AS BIGINT) * 600000 + 500000 FROM n;
        INSERT INTO verdict (session, version, status, body, created_at)
            SELECT key, 1, status, '{{"session":"' || id || '","policy":"default","status":"' || status
                || '","watched_ms":' || key || ',"watch_ms":' || (key + 1) || ',"creditable_ms":' || (key - 1)
                || ',"credited_ms":' || (key * counts) || ',"credited_hours":0.'
                || substr(CAST(100 + key % 100 * counts AS TEXT), 2) || ',"completed":'
                || CASE key % 3 WHEN 0 THEN 'false' ELSE 'true' END
                || ',"coverage":[[0,1000]],"violations":[{{"rule":"unfocused"}},{{"rule":"unfocused"}}]'
                || ',"violations_total":2,"log_digest":"d' || key || '","padding":"{padding}"}}', closed_at
            FROM (SELECT key, id, closed_at, CASE WHEN key % 10 < 9 THEN 1 ELSE 0 END AS counts,
                CASE WHEN key % 10 < 8 THEN 'valid' WHEN key % 10 = 8 THEN 'review' ELSE 'invalid' END AS status
                FROM session) AS closed;
        INSERT INTO photo (session, capture, digest, evidence, created_at)
            SELECT key, 'c1', 'f' || key, 'x', 0 FROM session;
        "#,
        last_lesson = 4 * LESSONS - 1,
    );
    fixture::execute(store, &sql).await;
}

async fn store_of(sessions: usize) -> (tempfile::TempDir, Store) {
    let (folder, store) = fixture::store().await;
    filled(&store, sessions).await;
    (folder, store)
}

async fn all(store: &Store, filter: &LedgerFilter, limit: u32) -> Vec<LedgerEntry> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let request = PageRequest { after, limit: Some(limit) };
        let page = store.ledger(filter.clone(), request).await.unwrap().unwrap();
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

async fn sums(store: &Store, filter: &LedgerFilter, group: Option<LedgerGroup>, limit: u32) -> Vec<LedgerTotals> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.ledger_totals(filter.clone(), group, PageRequest { after, limit: Some(limit) }).await.unwrap();
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

fn filters() -> Vec<LedgerFilter> {
    let day_ms = 86_400_000;
    let text = |text: &str| Some(text.to_owned());
    vec![
        LedgerFilter::default(),
        LedgerFilter { scope: text("p1"), ..Default::default() },
        LedgerFilter { scope: text("p1"), platform: text("p0"), ..Default::default() },
        LedgerFilter { learner: text("l000003"), ..Default::default() },
        LedgerFilter { project: text("j2"), status: Some(LedgerStatus::Invalid), ..Default::default() },
        LedgerFilter { region: text("4113"), ..Default::default() },
        LedgerFilter { region: text("411301"), status: Some(LedgerStatus::Review), ..Default::default() },
        LedgerFilter {
            from_ms: Some(FIRST_DAY_MS + day_ms),
            before_ms: Some(FIRST_DAY_MS + 2 * day_ms),
            ..Default::default()
        },
        LedgerFilter { platform: text("p0"), from_ms: Some(FIRST_DAY_MS + day_ms), ..Default::default() },
    ]
}

/// The filter in other words.
fn passes(filter: &LedgerFilter, entry: &LedgerEntry) -> bool {
    let same = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
    same(&filter.scope, &entry.platform)
        && same(&filter.platform, &entry.platform)
        && same(&filter.learner, &entry.learner)
        && same(&filter.project, &entry.project)
        && filter.region.as_ref().is_none_or(|region| entry.region.starts_with(region))
        && filter.from_ms.is_none_or(|from_ms| entry.opened_at >= from_ms)
        && filter.before_ms.is_none_or(|before_ms| entry.opened_at < before_ms)
        && filter.status.is_none_or(|status| entry.status == status.as_str())
}

#[tokio::test]
async fn pages_of_any_size_show_what_the_filter_lets_through_in_order() {
    let (_folder, store) = store_of(600).await;
    let everything = all(&store, &LedgerFilter::default(), 200).await;
    assert_eq!(everything.len(), 600);
    assert!(everything.is_sorted_by_key(|entry| entry.opened_at));
    for filter in filters() {
        let expected: Vec<&LedgerEntry> = everything.iter().filter(|entry| passes(&filter, entry)).collect();
        let found = all(&store, &filter, 7).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let first = &everything[0];
    assert_eq!((first.session.as_str(), first.status.as_str(), first.version), ("s00000000", "valid", 1));
    assert_eq!((first.watch_ms, first.watched_ms, first.creditable_ms, first.credited_ms), (2, 1, 0, 1));
    assert_eq!((first.credited_hours, first.credited_hundredths, first.completed), (0.01, 1, true));
    assert_eq!((first.rules.as_slice(), first.violations_total), (["unfocused".to_owned()].as_slice(), 2));
    assert_eq!((first.log_digest.as_str(), first.photos[0].digest.as_str()), ("d1", "f1"));
    assert_eq!((first.platform_name.as_str(), first.project_name.as_str(), first.class.as_str()), ("A", "J0", "一班"));
    assert_eq!(first.external_reference.as_deref(), Some("ul000000"));
    let unknown = PageRequest { after: Some("nobody".to_owned()), limit: None };
    assert_eq!(store.ledger(LedgerFilter::default(), unknown).await.unwrap(), None);
}

fn gone(learner: &str) -> bool {
    learner[1..].parse::<u32>().unwrap() % 3 == 0
}

/// Withdraws every third enrolment.
async fn withdraw_some(store: &Store) {
    fixture::execute(
        store,
        "UPDATE enrolment SET withdrawn_at = 7 WHERE id <> 'nabsent' AND CAST(substr(id, 3) AS INTEGER) % 3 = 0",
    )
    .await;
}

/// Sums taken in another way: from the entries, one by one.
fn added_up(entries: &[&LedgerEntry]) -> [i64; 11] {
    let of = |status: &str, value: fn(&LedgerEntry) -> i64| -> i64 {
        entries.iter().filter(|entry| entry.status == status).map(|entry| value(entry)).sum()
    };
    [
        entries.len() as i64,
        of("valid", |_| 1),
        of("review", |_| 1),
        of("invalid", |_| 1),
        entries.iter().map(|entry| entry.watched_ms).sum(),
        entries.iter().map(|entry| entry.creditable_ms).sum(),
        of("valid", |entry| entry.credited_ms),
        of("valid", |entry| entry.credited_hundredths),
        of("review", |entry| entry.credited_ms),
        of("valid", |entry| entry.withdrawn_at.map_or(0, |_| entry.credited_ms)),
        of("valid", |entry| entry.withdrawn_at.map_or(0, |_| entry.credited_hundredths)),
    ]
}

fn in_one(sums: &LedgerTotals) -> [i64; 11] {
    let LedgerTotals { sessions, valid, review, invalid, watched_ms, creditable_ms, .. } = *sums;
    let credited = [sums.credited_ms, sums.credited_hundredths, sums.pending_ms];
    let withdrawn = [sums.withdrawn_ms, sums.withdrawn_hundredths];
    let [ms, hundredths, pending_ms] = credited;
    [
        sessions,
        valid,
        review,
        invalid,
        watched_ms,
        creditable_ms,
        ms,
        hundredths,
        pending_ms,
        withdrawn[0],
        withdrawn[1],
    ]
}

#[tokio::test]
async fn sums_by_every_group_are_those_of_the_entries() {
    let (_folder, store) = store_of(600).await;
    withdraw_some(&store).await;
    let all_together = sums(&store, &LedgerFilter::default(), None, 1).await.remove(0);
    assert!(0 < all_together.withdrawn_ms && all_together.withdrawn_ms < all_together.credited_ms);
    for filter in filters() {
        let entries = all(&store, &filter, 200).await;
        let day = |entry: &LedgerEntry| crate::ledger::period::in_china(entry.opened_at).date().to_string();
        let groups: [(Option<LedgerGroup>, KeyOf); 7] = [
            (None, Box::new(|_| String::new())),
            (Some(LedgerGroup::Learner), Box::new(|entry| entry.learner.clone())),
            (Some(LedgerGroup::Project), Box::new(|entry| entry.project.clone())),
            (Some(LedgerGroup::Platform), Box::new(|entry| entry.platform.clone())),
            (
                Some(LedgerGroup::Region),
                Box::new(|entry| if entry.region.is_empty() { "-".into() } else { entry.region.clone() }),
            ),
            (Some(LedgerGroup::Day), Box::new(day)),
            (Some(LedgerGroup::Month), Box::new(move |entry| day(entry)[..7].to_owned())),
        ];
        for (group, key) in groups {
            let mut expected: BTreeMap<String, Vec<&LedgerEntry>> = BTreeMap::new();
            entries.iter().for_each(|entry| expected.entry(key(entry)).or_default().push(entry));
            let found = sums(&store, &filter, group, 3).await;
            assert!(found.is_sorted_by_key(|sum| sum.key.clone()), "{group:?}");
            let found: BTreeMap<String, [i64; 11]> =
                found.iter().filter(|sum| sum.sessions > 0).map(|sum| (sum.key.clone(), in_one(sum))).collect();
            let expected: BTreeMap<String, [i64; 11]> =
                expected.iter().map(|(key, entries)| (key.clone(), added_up(entries))).collect();
            assert_eq!(found, expected, "{group:?} {filter:?}");
        }
    }
}

#[tokio::test]
async fn attendance_is_of_theory_lessons_and_counts_whoever_never_came() {
    let (_folder, store) = store_of(600).await;
    let entries = all(&store, &LedgerFilter::default(), 200).await;
    let attended: BTreeSet<(&str, &str)> = entries
        .iter()
        .filter(|entry| {
            entry.project == "j0" && entry.status == "valid" && entry.completed && entry.lesson_position < 4
        })
        .map(|entry| (entry.learner.as_str(), entry.lesson.as_str()))
        .collect();
    let learners: BTreeSet<&str> =
        entries.iter().filter(|entry| entry.project == "j0").map(|entry| entry.learner.as_str()).collect();
    let of_project = LedgerFilter { project: Some("j0".to_owned()), ..Default::default() };
    let sum = sums(&store, &of_project, Some(LedgerGroup::Project), 10).await.remove(0);
    // Fifteen who come and one who does not, three theory lessons each.
    let (due, attended) = ((learners.len() as i64 + 1) * 3, attended.len() as i64);
    assert!(attended > 0 && attended < due);
    assert_eq!((sum.lessons_due, sum.lessons_attended), (Some(due), Some(attended)));
    assert_eq!(sum.attendance, Some((attended * 10_000 / due) as f64 / 10_000.0));
    assert_eq!(sum.name.as_deref(), Some("J0"));

    // Whoever has withdrawn is due nowhere, and attends nothing.
    withdraw_some(&store).await;
    let after = sums(&store, &of_project, Some(LedgerGroup::Project), 10).await.remove(0);
    let staying: Vec<&LedgerEntry> =
        entries.iter().filter(|entry| entry.project == "j0" && !gone(&entry.learner)).collect();
    let learners: BTreeSet<&str> = staying.iter().map(|entry| entry.learner.as_str()).collect();
    assert_eq!(after.lessons_due, Some((learners.len() as i64 + 1) * 3));
    let attended: BTreeSet<(&str, &str)> = staying
        .iter()
        .filter(|entry| entry.status == "valid" && entry.completed && entry.lesson_position < 4)
        .map(|entry| (entry.learner.as_str(), entry.lesson.as_str()))
        .collect();
    assert_eq!(after.lessons_attended, Some(attended.len() as i64));

    let absent = LedgerFilter { learner: Some("l999000".to_owned()), ..Default::default() };
    let sum = sums(&store, &absent, Some(LedgerGroup::Learner), 10).await.remove(0);
    assert_eq!((sum.sessions, sum.lessons_due, sum.attendance), (0, Some(3), Some(0.0)));
    let by_day = sums(&store, &LedgerFilter::default(), Some(LedgerGroup::Day), 10).await.remove(0);
    assert_eq!((by_day.lessons_due, by_day.attendance), (None, None));
}

#[tokio::test]
async fn the_latest_version_counts_and_a_make_up_is_named() {
    let (_folder, store) = store_of(40).await;
    let before = sums(&store, &LedgerFilter::default(), None, 1).await.remove(0);
    fixture::execute(
        &store,
        r#"INSERT INTO makeup (id, enrolment, lesson, reference, office, reason, created_by, created_at)
             SELECT 'm1', 'nl000007', 'e3', 'ref-1', 'office', 'ill', 'key', 0;
         UPDATE session SET makeup = 'm1' WHERE key = 8;
         INSERT INTO verdict (session, version, status, body, created_at, reviewer)
             SELECT session, 2, 'invalid', replace(replace(replace(body, '"review"', '"invalid"'),
                 '"credited_ms":8,', '"credited_ms":0,'), '"credited_hours":0.08', '"credited_hours":0.0'), 9,
                 'reviewer-1' FROM verdict WHERE session = 8;"#,
    )
    .await;
    let eighth = all(&store, &LedgerFilter::default(), 200).await.remove(7);
    assert_eq!((eighth.status.as_str(), eighth.version, eighth.credited_ms), ("invalid", 2, 0));
    assert_eq!((eighth.reviewer.as_deref(), eighth.decided_at), (Some("reviewer-1"), 9));
    assert_eq!(eighth.makeup.unwrap().reference, "ref-1");
    let after = sums(&store, &LedgerFilter::default(), None, 1).await.remove(0);
    assert_eq!((after.sessions, after.review, after.invalid), (before.sessions, before.review - 1, before.invalid + 1));
    assert_eq!(after.pending_ms, before.pending_ms - 8);
}

/// Prints how long the ledger takes; `LEDGER_SESSIONS` says of how many sessions.
#[tokio::test]
async fn how_long_pages_and_sums_take() {
    let sessions = std::env::var("LEDGER_SESSIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000);
    let watch = Stopwatch::start();
    let (_folder, store) = store_of(sessions).await;
    println!("{sessions} sessions written in {:.2} s", watch.elapsed().as_secs_f64());
    let page = |after: Option<String>| PageRequest { after, limit: None };
    for filter in filters() {
        let watch = Stopwatch::start();
        let first = store.ledger(filter.clone(), page(None)).await.unwrap().unwrap();
        let listed_ms = watch.elapsed().as_secs_f64() * 1e3;
        let watch = Stopwatch::start();
        let sum = store.ledger_totals(filter.clone(), None, page(None)).await.unwrap().items.remove(0);
        let summed_ms = watch.elapsed().as_secs_f64() * 1e3;
        println!("page {listed_ms:>7.1} ms, sum {summed_ms:>7.1} ms of {:>6} sessions: {filter:?}", sum.sessions);
        assert_eq!(first.items.len() as i64, sum.sessions.min(200));
    }
    for group in [LedgerGroup::Learner, LedgerGroup::Project, LedgerGroup::Region, LedgerGroup::Day, LedgerGroup::Month]
    {
        let watch = Stopwatch::start();
        let sums = store.ledger_totals(LedgerFilter::default(), Some(group), page(None)).await.unwrap();
        println!(
            "sums by {group:?}: {:.1} ms, {} on the first page",
            watch.elapsed().as_secs_f64() * 1e3,
            sums.items.len()
        );
    }
    let last = all(
        &store,
        &LedgerFilter { from_ms: Some(FIRST_DAY_MS + (sessions as i64 - 300) * 600_000), ..Default::default() },
        200,
    )
    .await;
    let watch = Stopwatch::start();
    store.ledger(LedgerFilter::default(), page(Some(last[100].session.clone()))).await.unwrap().unwrap();
    println!("the last page: {:.1} ms", watch.elapsed().as_secs_f64() * 1e3);
}
