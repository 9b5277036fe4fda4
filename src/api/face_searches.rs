//! Searches of enrolled faces that a supervisor asks for: in a set that they choose, each on record with who asked.
//!
//! A hit is a hint: the answer says how many false ones were to be expected, and what is found becomes a finding for people to
//! look at. Photos are not shown, and templates leave nothing but a similarity.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Decider, Official};
use super::extract::{JsonBody, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::{Answer, ApiState};
use crate::policy::Policy;
use crate::search::{Made, Manner, PAIRS_LIMIT, Probe, SearchResult, all_of, allowed_day, findings, sweep};
use crate::store::face_scope::{Scope, SearchKind};
use crate::store::face_searches::SearchRecord;
use crate::store::reach::Thing;
use crate::vision::Template;

/// Searches that are made at the same time: each reads a whole set.
pub const SEARCHES_LIMIT: usize = 2;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(search_faces, list_face_searches))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewFaceSearch {
    /// the set: `class:PROJECT`, `class:PROJECT/NAME`, `platform:ID`, `device:DIGEST`, `address:DIGEST` or
    /// `learners:ID,ID,…` (at most 1 000)
    scope: String,
    /// whose enrolled face is looked for; with neither this nor `photo` all faces of the set are compared with each other,
    /// at most 2 000
    learner: Option<String>,
    /// a photo of the face that is looked for: JPEG, PNG or WebP in base64
    photo: Option<String>,
}

/// What a search came to.
#[derive(Serialize, ToSchema)]
struct FaceSearch {
    /// identifier of the search, as it is on record
    id: String,
    /// the set
    scope: String,
    #[serde(flatten)]
    result: SearchResult,
}

/// Searches the enrolled faces of a set (operator, supervisor)
///
/// The threshold follows from the size of the set, so that no more false hits are expected than the pack allows a day. Learners
/// who share a face become a finding.
#[utoipa::path(post, path = "/face-searches", tag = "findings", request_body = NewFaceSearch,
    responses((status = 200, body = FaceSearch), Refusals))]
async fn search_faces(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    JsonBody(new): JsonBody<NewFaceSearch>,
) -> Answer<FaceSearch> {
    let scope = chosen_set(&new.scope)?;
    must_reach(&state, &caller, &scope, new.learner.as_deref()).await?;
    let Ok(_permit) = state.face_searches.try_acquire() else {
        return Err(Problem::too_busy("other searches of faces are being made"));
    };
    let (probes, manner) = probes(&state, &scope, &new).await?;
    let policy = first_pack(&state);
    let now_ms = state.clock.now_ms();
    let before = state.store.searched_day(SearchKind::Chosen, now_ms).await?.searches;
    let searches_day = policy.risk.face_searches_day.max(before + 1).unsigned_abs();
    let sweep = sweep(&state.store, &state.keys, &scope, probes, manner).await?;
    let result = sweep.of_all(searches_day, allowed_day(&policy.risk, SearchKind::Chosen));
    let made = Made {
        id: state.new_id(),
        kind: SearchKind::Chosen,
        scope: scope.clone(),
        learner: new.learner,
        asked_by: Some(caller.key),
        at: now_ms,
    };
    let record = result.record(made);
    let id = record.id.clone();
    let found = findings(&result, SearchKind::Chosen, &scope, &policy, now_ms);
    let found = found.into_iter().map(|finding| (state.new_id(), finding)).collect();
    state.store.keep_face_searches(Vec::new(), vec![record], found).await?;
    Ok(Json(FaceSearch { id, scope: scope.to_string(), result }))
}

/// The searches that were asked for, and by whom (office)
#[utoipa::path(get, path = "/face-searches", tag = "findings", params(PageQuery),
    responses((status = 200, body = Listing<SearchRecord>), Refusals))]
async fn list_face_searches(
    State(state): State<ApiState>,
    Official(caller): Official,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<SearchRecord>> {
    // Of others' searches, those of a region's supervisor would show sets of other regions.
    let asked_by = caller.region.is_some().then_some(caller.key);
    let searches = state.store.face_searches(asked_by, page.request()?).await?;
    Ok(Json(Listing::of(searches, |search| search)))
}

/// Of a region's supervisor: a class of the region, or learners who are enrolled there; anybody whom they look for as well.
async fn must_reach(state: &ApiState, caller: &Caller, scope: &Scope, learner: Option<&str>) -> Result<(), Problem> {
    if caller.region.is_none() {
        return Ok(());
    }
    let learners = match scope {
        Scope::Class { project, .. } => {
            caller.must_reach(state, Thing::Project, project).await?;
            Vec::new()
        }
        Scope::Learners(learners) => learners.iter().map(String::as_str).collect(),
        _ => return Err(Problem::field("scope", "must be a class or learners of your region")),
    };
    for learner in learners.into_iter().chain(learner) {
        caller.must_reach(state, Thing::Learner, learner).await?;
    }
    Ok(())
}

fn chosen_set(text: &str) -> Result<Scope, Problem> {
    match text.parse::<Scope>() {
        Ok(Scope::Everybody | Scope::Versions(_)) => Err(Problem::field("scope", "must name a set of learners")),
        Ok(scope) => Ok(scope),
        Err(why) => Err(Problem::field("scope", why)),
    }
}

/// Whose faces are looked for, and how.
async fn probes(state: &ApiState, scope: &Scope, new: &NewFaceSearch) -> Result<(Vec<Probe>, Manner), Problem> {
    match (&new.learner, &new.photo) {
        (Some(_), Some(_)) => Err(Problem::field("photo", "cannot be given together with learner")),
        (Some(learner), None) => {
            let photo = state.store.enrolled_photo(learner).await?;
            let photo = photo.ok_or_else(|| Problem::field("learner", "has no enrolment photo"))?;
            let probe = Probe::of(&photo, &state.keys);
            Ok((vec![probe.map_err(|error| Problem::failed("opening a face template", &error))?], Manner::Each))
        }
        (None, Some(photo)) => {
            let photo = STANDARD.decode(photo).map_err(|_| Problem::field("photo", "is not base64"))?;
            if photo.is_empty() || photo.len() > state.limits.photo_bytes {
                let problem = format!("must have 1 to {} bytes", state.limits.photo_bytes);
                return Err(Problem::field("photo", problem));
            }
            let template = Template::from_bytes(&state.faces.enrol(photo, None).await?.template);
            let template = template.map_err(|error| Problem::failed("looking at a photo", &error))?;
            Ok((vec![Probe { face: None, template }], Manner::Each))
        }
        (None, None) => {
            let all = all_of(&state.store, &state.keys, scope).await?;
            let problem = || {
                Problem::field(
                    "scope",
                    format!("holds more than {PAIRS_LIMIT} faces: say with learner whose to look for"),
                )
            };
            Ok((all.ok_or_else(problem)?, Manner::Pairs))
        }
    }
}

/// The installation's first pack.
fn first_pack(state: &ApiState) -> Arc<Policy> {
    let first = state.policies.first().and_then(|id| state.packs.in_force(id, state.clock.now_ms()).ok());
    first.cloned().unwrap_or_else(|| Arc::new(Policy::default()))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use crate::api::fixture::Api;
    use crate::store::enrolled_photos::{NewEnrolledPhoto, seal_template};
    use crate::vision::Digest;
    use crate::vision::search::made_up;

    const RECOGNISER: Digest = Digest([7; 32]);

    /// Gives a learner a photo whose face has these numbers.
    async fn enrol(api: &Api, learner: &str, numbers: [f32; 128]) {
        let store = &api.state.store;
        let sealed = store.sealed_data_key(learner).await.unwrap().unwrap();
        let key = api.state.keys.unwrap(learner, &sealed).unwrap();
        let template = made_up::template(numbers, RECOGNISER, Digest::of(learner.as_bytes())).to_bytes();
        let photo = NewEnrolledPhoto {
            descriptor: None,
            learner: learner.to_owned(),
            version: 1,
            digest: Digest::of(learner.as_bytes()).to_string(),
            evidence: format!("photo-{learner}"),
            template: seal_template(&key, &api.state.entropy, learner, 1, &template),
            platform: api.platform.clone(),
            created_at: api.clock.now_ms(),
        };
        assert!(store.put_enrolled_photo(photo).await.unwrap());
    }

    /// Ten learners of a platform; the third and the seventh have one face.
    async fn ten(api: &Api) -> Vec<String> {
        let platform = api.as_platform();
        let mut learners = Vec::new();
        for person in 0..10_u32 {
            let learner = platform.learner(person + 1).await;
            let seed = u64::from(person);
            let numbers = if person == 7 { made_up::like(3, 0.72, 99) } else { made_up::numbers(seed) };
            enrol(api, &learner, numbers).await;
            learners.push(learner);
        }
        learners
    }

    fn hits(answer: &Value) -> Vec<&str> {
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["face"]["learner"].as_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn who_shares_a_face_is_found_with_both_photos_and_the_false_hits_to_expect() {
        let api = Api::start().await;
        let learners = ten(&api).await;
        let supervisor = api.office("supervisor").await;
        let scope = format!("platform:{}", api.platform);
        let asked = json!({"scope": scope, "learner": learners[3]});
        let answer = supervisor.post("/face-searches", asked).await.expect(200);
        let (first, last) = (learners[3].as_str().min(&learners[7]), learners[3].as_str().max(&learners[7]));
        assert_eq!((hits(&answer), &answer["compared"]), (vec![learners[7].as_str()], &json!(9)));
        // The threshold is where the two are the same, but for rounding.
        let number = |name: &str| answer[name].as_f64().unwrap();
        assert!(number("expected_false_hits_day") <= number("allowed_false_hits_day") * 1.000_001, "{answer}");
        assert!(answer["threshold"].as_f64().unwrap() > 0.363, "{answer}");
        let findings = api.get("/findings?kind=shared_face").await.expect(200);
        let finding = &findings["items"][0];
        assert_eq!(
            (&finding["explanation"]["code"], &finding["severity"]),
            (&json!("face_learners"), &json!("medium"))
        );
        assert_eq!(finding["subject"], format!("face:{first}"));
        let photos = finding["evidence"]["photos"].as_array().unwrap();
        let digests: Vec<&str> = photos.iter().map(|photo| photo["digest"].as_str().unwrap()).collect();
        assert_eq!(digests, [3, 7].map(|index| Digest::of(learners[index].as_bytes()).to_string()));
        assert!(finding["evidence"]["expected_false_hits_day"].is_number(), "{finding}");
        assert!(!finding["explanation"]["zh"].as_str().unwrap().contains('?'), "{finding}");
        // All with all finds the same pair, once, and it is the same finding.
        let answer = api.post("/face-searches", json!({ "scope": scope })).await.expect(200);
        assert_eq!((hits(&answer), &answer["compared"]), (vec![last], &json!(45)));
        let findings = api.get("/findings?kind=shared_face").await.expect(200);
        assert_eq!((findings["items"].as_array().unwrap().len(), &findings["items"][0]["count"]), (1, &json!(2)));
        // Who asked is on record.
        let record = api.office("auditor").await.get("/face-searches").await.expect(200);
        assert_eq!((&record["items"][0]["scope"], &record["items"][0]["hits"]), (&json!(scope), &json!(1)));
        assert!(record["items"][0]["asked_by"].is_string() && record["items"][1]["asked_by"].is_string());
    }

    #[tokio::test]
    async fn a_set_holds_whom_it_names_and_nobody_who_was_forgotten() {
        let api = Api::start().await;
        let learners = ten(&api).await;
        let chosen = format!("learners:{},{}", learners[7], learners[9]);
        let search = async |scope: &str| {
            let answer = api.post("/face-searches", json!({"scope": scope, "learner": learners[3]})).await.expect(200);
            (answer["compared"].as_u64().unwrap(), answer["hits"].as_array().unwrap().len())
        };
        assert_eq!(search(&chosen).await, (2, 1));
        assert_eq!(search(&format!("learners:{}", learners[9])).await, (1, 0));
        assert_eq!(search("platform:other").await, (0, 0));
        let project = api.as_platform().approved_project(&api).await.id;
        let path = format!("/projects/{project}/enrolments");
        for index in [3, 7] {
            let enrolment = json!({"learner": learners[index], "class": "二班"});
            api.as_platform().post(&path, enrolment).await.expect(201);
        }
        assert_eq!(search(&format!("class:{project}")).await, (1, 1));
        assert_eq!(search(&format!("class:{project}/二班")).await, (1, 1));
        assert_eq!(search(&format!("class:{project}/一班")).await, (0, 0));
        for learner in &learners[6..9] {
            api.sql(&format!(
                "INSERT INTO risk_sighting (day, kind, value, learner, at, faulty) VALUES (1, 'device', '00ff', '{learner}', 1, 0)"
            ))
            .await;
        }
        assert_eq!(search("device:00ff").await, (3, 1));
        assert_eq!(search("address:00ff").await, (0, 0));
        let _ = api.state.store.forget_learner(&learners[7], 5).await.unwrap();
        assert_eq!(search(&chosen).await, (1, 0));
    }

    #[tokio::test]
    async fn one_person_on_two_platforms_is_one_learner_and_no_hit() {
        let api = Api::start().await;
        let other = api.other_platform().await;
        let learner = api.as_platform().learner(1).await;
        assert_eq!(other.learner(1).await, learner);
        enrol(&api, &learner, made_up::numbers(1)).await;
        let scope = format!("platform:{}", api.platform);
        let answer = api.post("/face-searches", json!({"scope": scope, "learner": learner})).await.expect(200);
        assert_eq!((&answer["compared"], &answer["hits"]), (&json!(0), &json!([])));
    }

    #[tokio::test]
    async fn what_cannot_be_searched_is_refused_by_field() {
        let api = Api::start().await;
        let learner = api.as_platform().learner(1).await;
        let scope = format!("learners:{learner}");
        let post = async |body: Value| api.post("/face-searches", body).await;
        for wrong in ["everybody", "luck:1", "class:", &format!("versions:{learner}")] {
            post(json!({ "scope": wrong })).await.expect_field(422, "scope");
        }
        post(json!({"scope": scope, "learner": learner})).await.expect_field(422, "learner");
        post(json!({"scope": scope, "learner": learner, "photo": ""})).await.expect_field(422, "photo");
        post(json!({"scope": scope, "photo": "***"})).await.expect_field(422, "photo");
        post(json!({"scope": scope, "photo": ""})).await.expect_field(422, "photo");
        post(json!({"scope": scope, "photo": STANDARD.encode(b"nobody")})).await.expect_field(422, "photo");
        let held = api.state.face_searches.clone().try_acquire_many_owned(super::SEARCHES_LIMIT as u32).unwrap();
        post(json!({ "scope": scope })).await.expect_problem(503, "busy");
        drop(held);
        post(json!({ "scope": scope })).await.expect(200);
        api.as_platform().post("/face-searches", json!({ "scope": scope })).await.expect_problem(403, "forbidden");
    }
}
