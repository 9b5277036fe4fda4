//! Persons: the name and ID number behind a learner, shown by role, and on record to whom.
//!
//! The operator and supervisors see them whole; auditors, and platforms of learners whom they have named, see enough to
//! recognise who they know.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Decider, Official};
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::validate::{Findings, NAME_CHARS};
use super::{Answer, ApiState};
use crate::auth::keys::DataKey;
use crate::auth::person::Person;
use crate::store::api_keys::Role;
use crate::store::persons::{AccessRecord, SealedPerson};
use crate::store::reach::Thing;
use crate::store::words::{AccessKind, PersonForm};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(read_person, correct_person)).routes(routes!(list_person_accesses))
}

#[derive(Serialize, ToSchema)]
struct ShownPerson {
    /// the learner
    learner: String,
    /// how much is shown: all to the operator and to supervisors
    form: PersonForm,
    /// the name; null when no platform has given it
    name: Option<String>,
    /// the ID number
    id_number: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PersonCorrection {
    /// the right name, at most 200 characters
    name: String,
}

/// Who a learner is: whole for the operator and supervisors, masked for others; each showing is on record
#[utoipa::path(get, path = "/learners/{id}/person", tag = "learners", params(("id" = String, Path, description = "the learner")),
    responses((status = 200, body = ShownPerson), Refusals))]
async fn read_person(State(state): State<ApiState>, caller: Caller, PathOf(id): PathOf<String>) -> Answer<ShownPerson> {
    caller.must_reach(&state, Thing::Learner, &id).await?;
    let sealed = find(&state, &id).await?;
    let person = open(&state, &sealed)?.ok_or_else(|| Problem::not_found("this learner's name was never kept"))?;
    let (form, person) = match caller.role {
        Role::Operator | Role::Supervisor => (PersonForm::Full, person),
        Role::Auditor | Role::Platform(_) | Role::Staff(_) | Role::Administrator => {
            (PersonForm::Masked, person.masked())
        }
    };
    let (role, at) = (caller.role.word(), state.clock.now_ms());
    let access = AccessRecord { id: state.new_id(), shown_to: caller.key.clone(), role, form, at };
    caller.log_access(&state, AccessKind::Person, &id, form.as_str()).await?;
    state.store.note_access(&id, access).await?;
    Ok(Json(ShownPerson { learner: id, form, name: person.name, id_number: person.id_number }))
}

/// Corrects a learner's name (operator, supervisor)
#[utoipa::path(put, path = "/learners/{id}/person", tag = "learners", params(("id" = String, Path, description = "the learner")),
    request_body = PersonCorrection, responses((status = 204), Refusals))]
async fn correct_person(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(id): PathOf<String>,
    JsonBody(correction): JsonBody<PersonCorrection>,
) -> Result<StatusCode, Problem> {
    caller.must_reach(&state, Thing::Learner, &id).await?;
    let mut findings = Findings::default();
    findings.text("name", &correction.name, NAME_CHARS);
    findings.finish()?;
    let sealed = find(&state, &id).await?;
    let person = open(&state, &sealed)?.ok_or_else(|| Problem::not_found("this learner's number was never kept"))?;
    let corrected = seal(&state, &sealed, &Person { name: Some(correction.name), ..person })?;
    if state.store.replace_person(sealed, corrected).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::conflict("the name was changed at the same moment: read it and try again"))
}

/// To whom a learner's name and number were shown (office)
#[utoipa::path(get, path = "/learners/{id}/person/accesses", tag = "learners",
    params(("id" = String, Path, description = "the learner"), PageQuery),
    responses((status = 200, body = Listing<AccessRecord>), Refusals))]
async fn list_person_accesses(
    State(state): State<ApiState>,
    Official(caller): Official,
    PathOf(id): PathOf<String>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<AccessRecord>> {
    caller.must_reach(&state, Thing::Learner, &id).await?;
    Ok(Json(Listing::of(state.store.accesses(&id, page.request()?).await?, |access| access)))
}

async fn find(state: &ApiState, learner: &str) -> Result<SealedPerson, Problem> {
    state.store.person(learner).await?.ok_or_else(|| Problem::no_such("learner"))
}

/// The person as they were sealed; `None` for a learner who was named before persons were kept.
pub(super) fn open(state: &ApiState, sealed: &SealedPerson) -> Result<Option<Person>, Problem> {
    let Some(person) = &sealed.person else { return Ok(None) };
    let opened = Person::open(&data_key(state, sealed)?, &sealed.learner, person);
    opened.map(Some).map_err(|error| Problem::failed("opening a person", &error))
}

/// Enough of a learner's name to be known by whoever knows them; `sealed` are data key and person. `None` when no name was given, or
/// the learner is forgotten.
pub(super) fn masked_name(
    state: &ApiState,
    learner: &str,
    sealed: Option<(Vec<u8>, Option<Vec<u8>>)>,
) -> Result<Option<String>, Problem> {
    let Some((data_key, person)) = sealed else { return Ok(None) };
    let sealed = SealedPerson { learner: learner.to_owned(), data_key, person };
    Ok(open(state, &sealed)?.and_then(|person| person.masked().name))
}

/// Seals a person with the key of the learner that they are.
pub(super) fn seal(state: &ApiState, sealed: &SealedPerson, person: &Person) -> Result<Vec<u8>, Problem> {
    Ok(person.seal(&data_key(state, sealed)?, &state.entropy, &sealed.learner))
}

fn data_key(state: &ApiState, sealed: &SealedPerson) -> Result<DataKey, Problem> {
    let key = state.keys.unwrap(&sealed.learner, &sealed.data_key);
    key.map_err(|error| Problem::failed("opening a learner's key", &error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::{Api, id_number};

    #[tokio::test]
    async fn a_person_is_shown_by_role_and_on_record() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let named = api.post("/learners", json!({"id_number": id_number(1), "name": "王小明"})).await.expect(201);
        let path = format!("/learners/{}/person", named["id"].as_str().unwrap());
        let supervisor = operator.office("supervisor").await;
        let auditor = operator.office("auditor").await;
        for whole in [&operator, &supervisor] {
            operator.clock.advance_ms(1);
            let person = whole.get(&path).await.expect(200);
            assert_eq!((&person["form"], &person["name"]), (&json!("full"), &json!("王小明")));
            assert_eq!(person["id_number"], id_number(1));
        }
        for masked in [&auditor, &api] {
            operator.clock.advance_ms(1);
            let person = masked.get(&path).await.expect(200);
            assert_eq!((&person["form"], &person["name"]), (&json!("masked"), &json!("王**")));
            assert_eq!(person["id_number"].as_str().unwrap()[..14], *"110***********");
        }
        let accesses = auditor.get(&format!("{path}/accesses")).await.expect(200);
        let shown: Vec<_> =
            accesses["items"].as_array().unwrap().iter().map(|item| (&item["role"], &item["form"])).collect();
        let expected = [
            (json!("operator"), json!("full")),
            (json!("supervisor"), json!("full")),
            (json!("auditor"), json!("masked")),
            (json!("platform"), json!("masked")),
        ];
        assert_eq!(shown, expected.iter().map(|(role, form)| (role, form)).collect::<Vec<_>>());

        let other = operator.other_platform().await;
        other.get(&path).await.expect_problem(404, "not-found");
        supervisor.get("/learners/nobody/person").await.expect_problem(404, "not-found");
        for refused in [&auditor, &api] {
            refused.put(&path, json!({"name": "李四"})).await.expect_problem(403, "forbidden");
        }
        api.get(&format!("{path}/accesses")).await.expect_problem(403, "forbidden");
    }

    #[tokio::test]
    async fn a_name_is_given_once_and_corrected_by_a_supervisor() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let supervisor = operator.office("supervisor").await;
        let named = api.post("/learners", json!({"id_number": id_number(1)})).await.expect(201);
        let path = format!("/learners/{}/person", named["id"].as_str().unwrap());
        assert_eq!(supervisor.get(&path).await.expect(200)["name"], json!(null));

        let other = operator.other_platform().await;
        let body = |name: &str| json!({"id_number": id_number(1), "name": name});
        other.post("/learners", body("王小明")).await.expect(201);
        assert_eq!(supervisor.get(&path).await.expect(200)["name"], "王小明");
        let refused = api.post("/learners", body("王晓明")).await.expect_field(409, "name");
        assert!(!refused.to_string().contains("王小明"), "{refused}");
        api.post("/learners", body("王小明")).await.expect(200);
        api.post("/learners", json!({"id_number": id_number(1)})).await.expect(200);

        supervisor.put(&path, json!({"name": ""})).await.expect_field(422, "name");
        supervisor.put(&path, json!({"name": "王晓明"})).await.expect(204);
        let person = supervisor.get(&path).await.expect(200);
        assert_eq!((&person["name"], &person["id_number"]), (&json!("王晓明"), &json!(id_number(1))));
        api.post("/learners", body("王晓明")).await.expect(200);
    }

    #[tokio::test]
    async fn who_was_named_before_persons_were_kept_is_completed() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let learner = api.learner(1).await;
        operator.sql("UPDATE learner SET sealed_person = NULL").await;
        let path = format!("/learners/{learner}/person");
        operator.get(&path).await.expect_problem(404, "not-found");
        api.post("/learners", json!({"id_number": id_number(1)})).await.expect(200);
        assert_eq!(operator.get(&path).await.expect(200)["id_number"], id_number(1));
    }
}
