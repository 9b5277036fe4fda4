//! Sessions in progress, and what changes in the queue, for whoever watches.
//!
//! What a session in progress shows is folded from its log as it stands in the store, so that it is the same whichever node owns
//! the session. It is folded at most once in a few seconds, whoever asks, and of so many sessions at most.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Watcher};
use super::decisions::pack;
use super::extract::QueryOf;
use super::persons;
use super::problem::{Problem, Refusals};
use super::{Answer, ApiState};
use crate::log::{self, Body, PromptOutcome};
use crate::policy::Policy;
use crate::session::Session;
use crate::store::dossier::NamedSession;
use crate::store::reach::Reach;
use crate::store::review::severity;
use crate::store::words::Severity;

/// Sessions in progress that are shown: the newest, when there are more.
const SESSIONS_LIMIT: u32 = 200;
/// How long what was folded is shown, ms.
const BOARD_MS: i64 = 5_000;
/// How often whoever watches is told what has changed, ms.
const TELL_EVERY_MS: i64 = 2_000;
/// How often they are told that nothing has, ms.
const HEARTBEAT_MS: i64 = 15_000;
/// How long one connection is told: browsers come again by themselves, and show again who they are.
const CONNECTION_MS: i64 = 600_000;
/// Clocks of several nodes differ by less, ms.
const OVERLAP_MS: i64 = 5_000;
/// Changes of the queue that are told at once.
const CHANGES_LIMIT: u32 = 500;
/// Who may watch at the same time.
const WATCHERS_LIMIT: usize = 256;
/// Messages that may wait for one who watches.
const WAITING_LIMIT: usize = 64;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_live)).routes(routes!(watch_events))
}

/// What is shown of sessions in progress, and how many watch.
pub struct Board {
    /// by session, as they were folded last
    folded: Mutex<HashMap<String, Arc<Shown>>>,
    watchers: Arc<Semaphore>,
}

impl Default for Board {
    fn default() -> Self {
        Self { folded: Mutex::default(), watchers: Arc::new(Semaphore::new(WATCHERS_LIMIT)) }
    }
}

/// A session in progress as its log stood.
struct Shown {
    /// when it was folded, ms since the Unix epoch
    at: i64,
    weight: (Severity, i64, i64),
    item: Value,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// what has changed in the queue since then is told first, ms since the Unix epoch; browsers that come again say it by
    /// `Last-Event-ID`
    since: Option<String>,
}

/// Sessions in progress, the worst first; of more than 200 that exist for whoever asks, the newest
#[utoipa::path(get, path = "/live", tag = "console", responses((status = 200, description = "docs/console.md", body = Object), Refusals))]
async fn list_live(State(state): State<ApiState>, caller: Caller) -> Answer<Value> {
    let items: Vec<Value> = shown_to(&state, &caller.reach()).await?.into_iter().map(|(_, item)| item).collect();
    Ok(Json(json!({ "items": items })))
}

/// Server-sent events: `queue` when a session comes into a list, `live` when one in progress has changed
#[utoipa::path(get, path = "/events", tag = "console", params(EventsQuery),
    responses((status = 200, content_type = "text/event-stream", body = String), Refusals))]
async fn watch_events(
    State(state): State<ApiState>,
    watcher: Watcher,
    headers: HeaderMap,
    QueryOf(query): QueryOf<EventsQuery>,
) -> Result<Response, Problem> {
    let again = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let since = match again.or(query.since) {
        None => state.clock.now_ms(),
        Some(since) => since.parse().map_err(|_| Problem::field("since", "must be a whole number"))?,
    };
    let permit = state.board.watchers.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::too_busy("too many are watching"))?;
    let (give, take) = mpsc::channel(WAITING_LIMIT);
    tokio::spawn(tell(state, watcher, since, give, permit));
    let texts = futures_util::stream::unfold(take, async |mut take| {
        let text: String = take.recv().await?;
        Some((Ok::<_, Infallible>(text), take))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, HttpBody::from_stream(texts)).into_response())
}

/// Tells one who watches, until they go, may not any more, or their time is over.
async fn tell(
    state: ApiState,
    watcher: Watcher,
    mut since: i64,
    give: mpsc::Sender<String>,
    permit: OwnedSemaphorePermit,
) {
    let _permit = permit;
    let reach = watcher.caller.reach();
    let began = state.clock.now_ms();
    let mut told: HashSet<(String, &'static str, i64)> = HashSet::new();
    let mut live: HashMap<String, Value> = HashMap::new();
    let (mut heard_at, mut look_at) = (began, began);
    if give.send(": here\n\n".to_owned()).await.is_err() {
        return;
    }
    loop {
        // A store that cannot say it now tells nothing else either.
        if matches!(watcher.may_still(&state).await, Ok(false)) {
            return;
        }
        let mut texts = Vec::new();
        // A store that is busy now is asked again in a moment.
        if let Ok(changes) = state.store.queue_changes(reach.clone(), since - OVERLAP_MS, CHANGES_LIMIT).await {
            told.retain(|(_, _, at)| *at >= since - OVERLAP_MS);
            for (session, tab, at) in changes {
                since = since.max(at);
                if told.insert((session.clone(), tab.as_str(), at)) {
                    let data = json!({"session": session, "tab": tab});
                    texts.push(format!("id: {at}\nevent: queue\ndata: {data}\n\n"));
                }
            }
        }
        let now_ms = state.clock.now_ms();
        // More often there is nothing new to see.
        if now_ms >= look_at
            && let Ok(shown) = shown_to(&state, &reach).await
        {
            look_at = now_ms + BOARD_MS;
            let mut now = HashMap::new();
            for (session, item) in shown {
                if live.get(&session) != Some(&item) {
                    texts.push(format!("event: live\ndata: {item}\n\n"));
                }
                now.insert(session, item);
            }
            live = now;
        }
        if texts.is_empty() && now_ms - heard_at >= HEARTBEAT_MS {
            texts.push(": still here\n\n".to_owned());
        }
        for text in texts {
            heard_at = now_ms;
            if give.send(text).await.is_err() {
                return;
            }
        }
        if now_ms - began >= CONNECTION_MS {
            return;
        }
        tokio::select! {
            () = state.clock.sleep_ms(TELL_EVERY_MS) => {}
            () = give.closed() => return,
        }
    }
}

/// The sessions in progress that exist for whom this is the reach, the worst first. Each is folded at most once in
/// [`BOARD_MS`], whoever asks; when whoever asks wants to see more than [`SESSIONS_LIMIT`] of them in all, less often in proportion.
async fn shown_to(state: &ApiState, reach: &Reach) -> Result<Vec<(String, Value)>, Problem> {
    let open = state.store.open_named_sessions(reach.clone(), SESSIONS_LIMIT).await?;
    let mut folded = state.board.folded.lock().await;
    let now_ms = state.clock.now_ms();
    let fresh_ms = BOARD_MS * (folded.len() as i64 / i64::from(SESSIONS_LIMIT)).max(1);
    folded.retain(|_, shown| (0..2 * fresh_ms).contains(&(now_ms - shown.at)));
    let mut all = Vec::new();
    for session in open {
        let id = session.id.clone();
        let kept = folded.get(&id).filter(|shown| now_ms - shown.at < fresh_ms).cloned();
        let shown = match kept {
            Some(shown) => Some(shown),
            None => fold_now(state, session, now_ms).await?.map(Arc::new),
        };
        if let Some(shown) = shown {
            folded.insert(id.clone(), shown.clone());
            all.push((id, shown));
        }
    }
    drop(folded);
    all.sort_by_key(|(_, shown)| shown.weight);
    Ok(all.into_iter().map(|(id, shown)| (id, shown.item.clone())).collect())
}

/// Folds a log as it stands; `None` for one that is closed or empty by now, or cannot be folded.
async fn fold_now(state: &ApiState, session: NamedSession, now_ms: i64) -> Result<Option<Shown>, Problem> {
    let lines = state.sessions.log(session.id.clone()).await?;
    // Its first line names the pack.
    let first = lines.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(Body::SessionOpened(opened)) = log::parse_line(first).map(|event| event.body) else { return Ok(None) };
    let policy = pack(state, &opened.policy).await?;
    let masked = persons::masked_name(state, &session.learner, session.sealed.clone())?;
    let folding = tokio::task::spawn_blocking(move || fold(session, masked, &lines, policy, now_ms));
    folding.await.map_err(|error| Problem::failed("folding a log", &error))
}

/// What a log amounts to so far; `None` for one that cannot be folded, which its owner says.
fn fold(named: NamedSession, masked: Option<String>, lines: &[u8], policy: Arc<Policy>, now_ms: i64) -> Option<Shown> {
    let mut session = Session::new(policy);
    let (mut connected, mut asked, mut answered, mut missed) = (false, 0, 0, 0);
    let (mut taken, mut matched, mut failed) = (0, 0, 0);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event = log::parse_line(line).ok()?;
        session.apply(&event).ok()?;
        match &event.body {
            Body::ConnectionOpened(_) => connected = true,
            Body::ConnectionClosed => connected = false,
            Body::PromptIssued(_) => asked += 1,
            Body::PromptResolved(resolved) => match resolved.outcome {
                PromptOutcome::Passed => answered += 1,
                PromptOutcome::Failed | PromptOutcome::Expired => missed += 1,
            },
            Body::CaptureSubmitted(_) => taken += 1,
            Body::FaceChecked(checked) if checked.outcome == log::FaceOutcome::Match => matched += 1,
            Body::FaceChecked(_) | Body::CaptureExpired(_) => failed += 1,
            _ => {}
        }
    }
    let violations = session.violations();
    let severity = severity(&violations, session.violations_total());
    let mut rules: Vec<&str> = Vec::new();
    for violation in &violations {
        if !rules.contains(&violation.rule.as_str()) {
            rules.push(violation.rule.as_str());
        }
    }
    let item = json!({
        "session": named.id,
        "platform": {"id": named.platform.0, "name": named.platform.1},
        "project": {"id": named.project.0, "name": named.project.1, "region": named.project.2},
        "lesson": {"id": named.lesson.0, "title": named.lesson.1, "duration_ms": named.lesson.2},
        "learner": {"id": named.learner, "masked": masked},
        "opened_at": named.opened_at,
        "watched_ms": session.watched_ms(),
        "position_ms": session.last_observation().map(|last| last.pos_ms),
        "playing": connected && session.playing(),
        "hidden": session.page_hidden(),
        "connected": connected,
        "prompts": {"asked": asked, "answered": answered, "missed": missed},
        "photos": {"taken": taken, "matched": matched, "failed": failed},
        "rules": rules,
        "severity": severity,
    });
    let worst = -i64::try_from(session.violations_total()).unwrap_or(i64::MAX);
    Some(Shown { at: now_ms, weight: (severity, worst, named.opened_at), item })
}
