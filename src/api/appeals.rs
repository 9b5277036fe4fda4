//! Appeals: the platform hands its learner a link to their own session; the learner sees what was recorded, and answers.
//!
//! Who comes by the link is nobody's account: `Authorization: Appeal TOKEN` opens one session, until a day. What the learner says is
//! sealed with their key.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{OwnPlatform, PhotoViewer};
use super::decisions::Judged;
use super::dossier::{captures, read};
use super::extract::{PathOf, parse_json, read_body};
use super::photo_views::{frame, learner_key, picture};
use super::problem::{Problem, Refusals};
use super::validate::Findings;
use super::{Answer, ApiState};
use crate::auth::appeal_link::AppealLink;
use crate::auth::keys::DataKey;
use crate::gateway::address::ClientAddress;
use crate::store::access_log::{Actor, LoggedAccess};
use crate::store::appeals::{AppealRecord, AttachmentRecord, NewAppeal, NewAttachment};
use crate::store::dossier::NamedSession;
use crate::store::reach::{Reach, Thing};
use crate::store::review::Entry;
use crate::store::words::{AccessKind, DecisionState, KeyRole};
use crate::verdict::Verdict;

/// Longest statement, in characters.
const STATEMENT_CHARS: usize = 4_000;
/// Attachments of one appeal.
const ATTACHMENTS_LIMIT: usize = 3;
/// Longest attachment, bytes.
const ATTACHMENT_BYTES: usize = 1 << 20;
/// Longest name of an attachment, in characters.
const FILE_NAME_CHARS: usize = 120;
/// Longest body of an appeal: its attachments in base 64, and the rest.
const BODY_BYTES: usize = ATTACHMENTS_LIMIT * ATTACHMENT_BYTES / 3 * 4 + (64 << 10);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(make_appeal_link))
        .routes(routes!(read_appeal, make_appeal))
        .routes(routes!(read_appeal_frame))
        .routes(routes!(read_appeal_attachment))
}

#[derive(Serialize, ToSchema)]
#[schema(as = AppealLink)]
struct IssuedLink {
    /// for the learner's browser: the token is behind the `#`
    url: String,
    /// until when it is good, ms since the Unix epoch
    expires_at: i64,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedAppeal {
    /// what the learner has to say, 1 to 4000 characters
    statement: String,
    /// at most 3
    #[serde(default)]
    attachments: Vec<WantedAttachment>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedAttachment {
    /// name of the file, at most 120 characters
    name: String,
    /// `image/jpeg`, `image/png` or `application/pdf`
    #[serde(rename = "type")]
    kind: String,
    /// at most 1 MiB, in base 64
    data: String,
}

/// What came with an appeal.
#[derive(Serialize, ToSchema)]
#[schema(as = AppealAttachment)]
struct Attachment {
    /// identifier
    id: String,
    /// name of the file
    name: String,
    /// `image/jpeg`, `image/png` or `application/pdf`
    #[serde(rename = "type")]
    kind: String,
    /// bytes
    size: i64,
}

/// What a learner said to a session.
#[derive(Serialize, ToSchema)]
pub(super) struct Appeal {
    /// identifier
    id: String,
    /// ms since the Unix epoch
    at: i64,
    /// null once the learner is forgotten
    statement: Option<String>,
    attachments: Vec<Attachment>,
    /// `open` or `decided`
    state: String,
    /// by when it should be decided, ms since the Unix epoch
    due_at: i64,
}

/// Whoever comes by a link.
struct Appellant(AppealLink);

impl FromRequestParts<ApiState> for Appellant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let address = parts.extensions.get::<ClientAddress>().copied();
        state.rates.may_authenticate(address).await?;
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok()?.split_once(' '));
        let token = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("appeal")).map(|(_, token)| token.trim());
        let link = token.and_then(|token| AppealLink::verify(token, &state.keys, state.clock.now_ms()));
        match link {
            Some(link) => Ok(Self(link)),
            None => {
                state.rates.authentication_failed(address).await;
                Err(Problem::unauthenticated("the link is over, or was not made here: ask the platform for another"))
            }
        }
    }
}

/// A link by which the learner of a closed session sees what was recorded, and may appeal
#[utoipa::path(post, path = "/sessions/{id}/appeal-link", tag = "console",
    params(("id" = String, Path, description = "the session")), responses((status = 201, body = IssuedLink), Refusals))]
async fn make_appeal_link(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    PathOf(id): PathOf<String>,
) -> Result<(StatusCode, Json<IssuedLink>), Problem> {
    let own = Reach { platform: Some(platform.clone()), region: None };
    if !state.store.reaches(&own, Thing::Session, &id).await? {
        return Err(Problem::no_such("session"));
    }
    let (judged, _) = judged(&state, &id).await?;
    let now_ms = state.clock.now_ms();
    let link = AppealLink { session: id.clone(), expires_at: judged.policy.review.appeal_until(now_ms) };
    let actor = Actor { id: platform, name: String::new(), role: Some(KeyRole::Platform) };
    let entry = LoggedAccess::new(state.new_id(), now_ms, actor, AccessKind::Appeal, &id, "link".to_owned());
    state.store.log_access(entry).await?;
    let url = format!("{}/console/appeal#{}", state.public_url.trim_end_matches('/'), link.sign(&state.keys));
    Ok((StatusCode::CREATED, Json(IssuedLink { url, expires_at: link.expires_at })))
}

/// What was recorded, for its learner (by a link)
#[utoipa::path(get, path = "/appeal", tag = "console", security(()),
    responses((status = 200, description = "docs/console.md", body = Object), Refusals))]
async fn read_appeal(State(state): State<ApiState>, Appellant(link): Appellant) -> Answer<Value> {
    let (session, key) = known(&state, &link).await?;
    let (judged, newest) = judged(&state, &link.session).await?;
    let lines = state.sessions.log(link.session.clone()).await?;
    let events = read(&lines)?;
    let own = Reach { platform: Some(session.platform.0.clone()), region: None };
    let around = state.store.surroundings(&session, own).await?;
    let captures: Vec<Value> = captures(&lines, &events, &around, true)
        .into_iter()
        .map(|one| {
            json!({"capture": one["capture"], "at": one["requested_at"], "outcome": one["outcome"],
            "frames": one["frames"], "photo": one["photo"]})
        })
        .collect();
    let violations = newest.violations.iter().map(|violation| {
        json!({"rule": violation.rule.as_str(), "cause": violation.cause, "at": violation.at,
            "clause": violation.clause, "detail": violation.detail})
    });
    let decided = state.store.decisions(&link.session).await?;
    let decided = decided.into_iter().filter(|decision| decision.state == DecisionState::Final);
    let decided = decided.map(|one| json!({"decision": one.decision, "reason": one.reason, "at": one.at}));
    let appeal = state.store.appeals(&link.session).await?.pop().map(|record| shown(record, Some(&key)));
    Ok(Json(json!({
        "session": {"id": session.id, "opened_at": session.opened_at, "closed_at": session.closed_at,
            "lesson": session.lesson.1, "platform": session.platform.1, "project": session.project.1},
        "verdict": {"status": newest.status.as_str(), "credited_hours": newest.credited_hours,
            "violations": violations.collect::<Vec<_>>()},
        "recorded": recorded(&lines),
        "captures": captures,
        "appeal": appeal,
        "decisions": decided.collect::<Vec<_>>(),
        "expires_at": link.expires_at,
        "due_days": judged.policy.review.appeal_days,
    })))
}

/// A photo of the learner's own (by a link)
#[utoipa::path(get, path = "/appeal/captures/{capture}/frames/{index}", tag = "console", security(()),
    params(("capture" = String, Path, description = "the capture"),
        ("index" = usize, Path, description = "which photo of it, from 0")),
    responses((status = 200, description = "the photo as it was sent", content_type = "image/jpeg", body = Vec<u8>), Refusals))]
async fn read_appeal_frame(
    State(state): State<ApiState>,
    Appellant(link): Appellant,
    PathOf((capture, index)): PathOf<(String, String)>,
) -> Result<Response, Problem> {
    let (session, _) = known(&state, &link).await?;
    let bytes = frame(&state, &link.session, &session.learner, &capture, &index).await?;
    let (id, at, detail) = (state.new_id(), state.clock.now_ms(), format!("{capture}/{index} by link"));
    let entry = LoggedAccess::new(id, at, Actor::default(), AccessKind::Photo, &link.session, detail);
    state.store.log_access(entry).await?;
    Ok(picture(bytes))
}

/// Appeals (by a link); 409 while an earlier appeal is open
#[utoipa::path(post, path = "/appeal", tag = "console", security(()), request_body = WantedAppeal,
    responses((status = 201, body = Appeal), Refusals))]
async fn make_appeal(
    State(state): State<ApiState>,
    Appellant(link): Appellant,
    request: Request,
) -> Result<(StatusCode, Json<Appeal>), Problem> {
    let wanted: WantedAppeal = parse_json(&read_body(request, BODY_BYTES, &state).await?)?;
    let files = check(&wanted)?;
    let (_, key) = known(&state, &link).await?;
    let (judged, newest) = judged(&state, &link.session).await?;
    let (id, at) = (state.new_id(), state.clock.now_ms());
    let attachments: Vec<NewAttachment> = wanted
        .attachments
        .iter()
        .zip(files)
        .map(|(attachment, bytes)| {
            let of = state.new_id();
            let record = AttachmentRecord {
                kind: attachment.kind.clone(),
                size: bytes.len() as i64,
                name: key.seal(&state.entropy, &name_context(&of), attachment.name.as_bytes()),
                id: of.clone(),
            };
            NewAttachment { record, bytes: key.seal(&state.entropy, &bytes_context(&of), &bytes) }
        })
        .collect();
    let actor = Actor::default();
    let new = NewAppeal {
        session: link.session.clone(),
        statement: key.seal(&state.entropy, &statement_context(&id), wanted.statement.as_bytes()),
        entry: Entry::of(&newest, judged.policy.review.appeal_until(at), at),
        access: LoggedAccess::new(state.new_id(), at, actor, AccessKind::Appeal, &link.session, id.clone()),
        id,
        attachments,
        at,
    };
    let record = AppealRecord {
        id: new.id.clone(),
        statement: Some(new.statement.clone()),
        state: "open".to_owned(),
        due_at: new.entry.due_at,
        at,
        attachments: new.attachments.iter().map(|attachment| attachment.record.clone()).collect(),
    };
    match state.store.add_appeal(new).await? {
        true => Ok((StatusCode::CREATED, Json(shown(record, Some(&key))))),
        false => Err(Problem::conflict("an appeal to this session is open already")),
    }
}

/// An attachment of an appeal (office, staff)
#[utoipa::path(get, path = "/sessions/{id}/appeals/{appeal}/attachments/{attachment}", tag = "console",
    params(("id" = String, Path, description = "the session"), ("appeal" = String, Path, description = "the appeal"),
        ("attachment" = String, Path, description = "the attachment")),
    responses((status = 200, description = "as it was given", content_type = "application/octet-stream", body = Vec<u8>), Refusals))]
async fn read_appeal_attachment(
    State(state): State<ApiState>,
    PhotoViewer(caller): PhotoViewer,
    PathOf((id, appeal, attachment)): PathOf<(String, String, String)>,
) -> Result<Response, Problem> {
    caller.must_reach(&state, Thing::Session, &id).await?;
    let no_such = || Problem::no_such("attachment");
    let session = state.store.session_record(&id).await?.ok_or_else(|| Problem::no_such("session"))?;
    let kept = state.store.appeal_attachment(&id, &appeal, &attachment).await?.ok_or_else(no_such)?;
    let key = learner_key(&state, &session.learner).await?.ok_or_else(no_such)?;
    let bytes = key.open(&bytes_context(&kept.record.id), &kept.bytes);
    let bytes = bytes.map_err(|error| Problem::failed("opening an attachment", &error))?;
    caller.log_access(&state, AccessKind::Appeal, &id, format!("attachment {attachment}")).await?;
    let headers = [(header::CONTENT_TYPE, kept.record.kind.as_str()), (header::CONTENT_DISPOSITION, "attachment")];
    Ok((headers, bytes).into_response())
}

/// The session of a link and its learner's key.
async fn known(state: &ApiState, link: &AppealLink) -> Result<(NamedSession, DataKey), Problem> {
    let session = state.store.named_session(&link.session).await?.ok_or_else(|| Problem::no_such("session"))?;
    let key = learner_key(state, &session.learner).await?;
    let key = key.ok_or_else(|| Problem::deleted("the learner was forgotten, and nothing leads to them any more"))?;
    Ok((session, key))
}

/// What the engine judged, and the verdict in force.
async fn judged(state: &ApiState, session: &str) -> Result<(Judged, Verdict), Problem> {
    let versions = state.store.verdict_versions(session).await?;
    let (Some(first), Some(newest)) = (versions.first(), versions.last()) else {
        return Err(Problem::session_open("the session has no verdict yet"));
    };
    let newest = serde_json::from_str(&newest.body).map_err(|error| Problem::failed("reading a verdict", &error))?;
    Ok((Judged::read(state, session, first).await?, newest))
}

/// The appeals to a session, as far as `key` opens them.
pub(super) async fn of_session(state: &ApiState, session: &str, key: Option<&DataKey>) -> Result<Vec<Appeal>, Problem> {
    let appeals = state.store.appeals(session).await?;
    Ok(appeals.into_iter().map(|record| shown(record, key)).collect())
}

fn shown(record: AppealRecord, key: Option<&DataKey>) -> Appeal {
    let open = |context: String, sealed: &[u8]| String::from_utf8(key?.open(&context, sealed).ok()?).ok();
    let statement = record.statement.and_then(|sealed| open(statement_context(&record.id), &sealed));
    let attachment = |one: AttachmentRecord| Attachment {
        name: open(name_context(&one.id), &one.name).unwrap_or_default(),
        id: one.id,
        kind: one.kind,
        size: one.size,
    };
    let attachments = record.attachments.into_iter().map(attachment).collect();
    Appeal { id: record.id, at: record.at, statement, attachments, state: record.state, due_at: record.due_at }
}

/// How many of each kind of event a log holds.
fn recorded(lines: &[u8]) -> Vec<Value> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "type")]
        kind: String,
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Ok(Line { kind }) = serde_json::from_slice(line) {
            *counts.entry(kind).or_default() += 1;
        }
    }
    counts.into_iter().map(|(kind, count)| json!({"kind": kind, "count": count})).collect()
}

/// Checks an appeal; the bytes of its attachments.
fn check(wanted: &WantedAppeal) -> Result<Vec<Vec<u8>>, Problem> {
    let mut findings = Findings::default();
    let chars = wanted.statement.chars().count();
    if wanted.statement.trim().is_empty() || chars > STATEMENT_CHARS {
        findings.add("statement", format!("must have 1 to {STATEMENT_CHARS} characters"));
    }
    findings.count("attachments", wanted.attachments.len(), 0..=ATTACHMENTS_LIMIT);
    let mut files = Vec::new();
    for (index, attachment) in wanted.attachments.iter().enumerate().take(ATTACHMENTS_LIMIT) {
        let field = |name: &str| format!("attachments[{index}].{name}");
        findings.text(&field("name"), &attachment.name, FILE_NAME_CHARS);
        let begins: &[u8] = match attachment.kind.as_str() {
            "image/jpeg" => b"\xFF\xD8\xFF",
            "image/png" => b"\x89PNG\r\n\x1a\n",
            "application/pdf" => b"%PDF-",
            _ => {
                findings.add(field("type"), "must be image/jpeg, image/png or application/pdf");
                continue;
            }
        };
        match STANDARD.decode(&attachment.data) {
            Err(_) => findings.add(field("data"), "is not base64"),
            Ok(bytes) if bytes.len() > ATTACHMENT_BYTES => {
                findings.add(field("data"), format!("may have at most {ATTACHMENT_BYTES} bytes"));
            }
            Ok(bytes) if !bytes.starts_with(begins) => findings.add(field("data"), "is not what its type says"),
            Ok(bytes) => files.push(bytes),
        }
    }
    findings.finish()?;
    Ok(files)
}

fn statement_context(appeal: &str) -> String {
    format!("appeal {appeal}")
}

fn name_context(attachment: &str) -> String {
    format!("attachment name {attachment}")
}

fn bytes_context(attachment: &str) -> String {
    format!("attachment {attachment}")
}
