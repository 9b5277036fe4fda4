//! Reports to a provincial platform that refuses, fails, dies and comes back: nothing is lost, nothing applied twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use invigil::auth::keys::Keys;
use invigil::auth::person::Person;
use invigil::clock::{Clock, Entropy};
use invigil::config::{Config, Secret};
use ring::hmac;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::harness::{Course, Stage, frame, new_id_number};

const SECRET: &str = "what the province gave us";

const MAPPING: &str = r#"
    [batch]
    records = "data"
    [batch.fields]
    batchNo = "batch.number"
    [enrolment]
    recordNo = "item.number"
    type = { constant = "BM" }
    student = "learner.id"
    project = "project.name"
    class = { from = "enrolment.class", missing = "" }
    [withdrawal]
    recordNo = "item.number"
    type = { constant = "TB" }
    student = "learner.id"
    class = "enrolment.class"
    why = "withdrawal.reason"
    who = { from = "withdrawal.decided_as", codes = { operator = "O", supervisor = "S", platform = "P" } }
    [verdict]
    recordNo = "item.number"
    type = { constant = "XS" }
    student = "learner.id"
    result = { from = "verdict.status", codes = { valid = "1", invalid = "0", review = "2" } }
    day = { from = "session.opened_at", format = "%Y-%m-%d" }
    evidence = "verdict.log_digest"
    [answer]
    list = "results"
    number = "recordNo"
    code = "code"
    accepted = ["0"]
    reason = "msg"
"#;

/// How the province behaves just now.
#[derive(Clone, Debug, PartialEq)]
enum Mood {
    Well,
    /// Answers 500 and does nothing.
    Failing,
    /// Does its work, and answers 500.
    Forgetful,
    /// Takes no batch with this student.
    Rejecting(String),
    /// Refuses this student's records, one by one.
    Refusing(String),
    /// Does its work, and leaves all but the first record out of its answer.
    Slow,
}

/// What the province has.
#[derive(Default)]
struct Books {
    mood: Option<Mood>,
    /// how often each record was applied, by its number, and what it was
    applied: BTreeMap<String, (u32, Value)>,
    /// the order in which they were
    order: Vec<String>,
    /// batches that were applied, with the answer that was given
    batches: BTreeMap<String, Value>,
    /// bodies by batch number
    bodies: BTreeMap<String, BTreeSet<String>>,
    nonces: BTreeSet<String>,
}

#[derive(Clone)]
struct Province {
    books: Arc<Mutex<Books>>,
    received: mpsc::UnboundedSender<StatusCode>,
}

/// The province's server, which can be killed and started again at its address.
struct Receiver {
    address: SocketAddr,
    province: Province,
    received: mpsc::UnboundedReceiver<StatusCode>,
    serving: JoinHandle<()>,
}

impl Province {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    fn feel(&self, mood: Mood) {
        self.books().mood = Some(mood);
    }

    /// The same with a certificate of `tls/ca.pem`, which no browser trusts.
    async fn serve_with_tls(self) -> (SocketAddr, JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.3:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        let listener = TlsListener { listener, acceptor: tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap())) };
        let router = axum::Router::new().route("/push", post(take)).with_state(self);
        (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
    }

    async fn serve(self, address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().route("/push", post(take)).with_state(self);
        (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
    }
}

struct TlsListener {
    listener: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            // Who does not trust the certificate goes away.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Receiver {
    async fn start() -> Self {
        let (sender, received) = mpsc::unbounded_channel();
        let province = Province { books: Arc::default(), received: sender };
        // An address from which nobody dials out, so that the port stays free while the province is dead.
        let (address, serving) = province.clone().serve("127.0.0.3:0".parse().unwrap()).await;
        Self { address, province, received, serving }
    }

    async fn die(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }

    async fn revive(&mut self) {
        (_, self.serving) = self.province.clone().serve(self.address).await;
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.province.books()
    }

    /// Lets time pass until `count` requests came; what they were answered.
    async fn requests(&mut self, stage: &Stage, count: usize) -> Vec<u16> {
        let mut answers = Vec::new();
        while answers.len() < count {
            tokio::select! {
                biased;
                answer = self.received.recv() => answers.push(answer.unwrap().as_u16()),
                () = tokio::task::yield_now() => stage.wall.advance_ms(50),
            }
        }
        answers
    }
}

async fn take(State(province): State<Province>, headers: HeaderMap, body: String) -> Response {
    let response = answer(&mut province.books(), &headers, &body);
    province.received.send(response.status()).unwrap();
    response
}

fn answer(books: &mut Books, headers: &HeaderMap, body: &str) -> Response {
    let header = |name: &str| headers[name].to_str().unwrap();
    let (number, nonce) = (header("invigil-batch"), header("invigil-nonce"));
    assert!(books.nonces.insert(nonce.to_owned()), "a nonce is used once");
    let signed = [number, header("invigil-timestamp"), nonce, body].join(".");
    let tag = header("invigil-signature").strip_prefix("v1,").unwrap();
    let tag = base64::engine::general_purpose::STANDARD.decode(tag).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &tag).expect("the signature holds");

    books.bodies.entry(number.to_owned()).or_default().insert(body.to_owned());
    let mood = books.mood.clone().unwrap_or(Mood::Well);
    let batch: Value = serde_json::from_str(body).unwrap();
    assert_eq!(batch["batchNo"], number);
    let records = batch["data"].as_array().unwrap();
    match &mood {
        Mood::Failing => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Rejecting(student) if records.iter().any(|record| record["student"] == **student) => {
            return (StatusCode::UNPROCESSABLE_ENTITY, "身份证110101199003070011有误").into_response();
        }
        _ => {}
    }
    let known = match books.batches.get(number) {
        Some(known) => known.clone(),
        None => apply(books, records, &mood, number),
    };
    match mood {
        Mood::Forgetful => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Slow => axum::Json(json!({"results": [known["results"][0]]})).into_response(),
        _ => axum::Json(known).into_response(),
    }
}

/// Applies a batch that is new; what is to be answered whenever it comes.
fn apply(books: &mut Books, records: &[Value], mood: &Mood, number: &str) -> Value {
    let mut results = Vec::new();
    for record in records {
        let item = record["recordNo"].as_str().unwrap().to_owned();
        if *mood == Mood::Refusing(record["student"].as_str().unwrap().to_owned()) {
            results.push(json!({"recordNo": item, "code": "E1", "msg": "学员不存在"}));
            continue;
        }
        books.applied.entry(item.clone()).or_insert((0, record.clone())).0 += 1;
        results.push(json!({"recordNo": item, "code": 0, "msg": ""}));
        books.order.push(item);
    }
    let known = json!({ "results": results });
    books.batches.insert(number.to_owned(), known.clone());
    known
}

fn reporting(url: String) -> impl Fn(&Path, &mut Config) {
    move |folder, config| {
        let mapping = folder.join("mapping.toml");
        std::fs::write(&mapping, MAPPING).unwrap();
        config.report.url = url.clone();
        config.report.mapping = mapping;
        config.report.secret = Some(Secret::new(SECRET.to_owned()));
        config.report.batch_size = 4;
        config.report.interval_ms = 1_000;
        (config.report.allow_http, config.report.allow_private_addresses) = (true, true);
    }
}

async fn stage(receiver: &Receiver) -> Stage {
    let edit = reporting(format!("http://{}/push", receiver.address));
    let (clock, wall) = (Clock::manual(crate::harness::START_MS), Clock::manual(crate::harness::START_MS));
    Stage::start_with(clock, wall, edit).await
}

/// People who are enrolled and never come.
async fn enrolled(course: &Course, count: usize) -> Vec<String> {
    let mut learners = Vec::new();
    for _ in 0..count {
        let learner = course.platform.post("/learners", json!({"id_number": new_id_number()})).await;
        let learner = learner["id"].as_str().unwrap().to_owned();
        course.enrol(&course.project, &learner).await;
        learners.push(learner);
    }
    learners
}

/// Lets time pass until nothing is pending; the state of the reports then.
async fn settled(stage: &Stage) -> Value {
    loop {
        let reports = stage.operator.get("/reports").await;
        if reports["summary"]["pending"] == 0 && reports["summary"]["batch"].is_null() {
            return reports;
        }
        stage.wall.advance_ms(500);
        tokio::task::yield_now().await;
    }
}

fn applied_once(books: &Books, reports: &Value) {
    let numbers: Vec<String> = reports["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["state"] == "acknowledged")
        .map(|item| format!("{}-{}", item["subject"].as_str().unwrap(), item["version"]))
        .collect();
    let applied: BTreeMap<&String, u32> = books.applied.iter().map(|(number, (times, _))| (number, *times)).collect();
    assert_eq!(applied, numbers.iter().map(|number| (number, 1)).collect());
    assert!(books.bodies.values().all(|bodies| bodies.len() == 1), "a batch has the same bytes at every attempt");
}

#[tokio::test]
async fn enrolments_and_verdicts_arrive_in_order_as_the_mapping_calls_them() {
    let receiver = Receiver::start().await;
    let stage = stage(&receiver).await;
    let course = stage.course(&[390_000]).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let session = course.open(&course.lessons[0], &learner).await.session;
    course.platform.post(&format!("/sessions/{session}/close"), json!({"reason": "revoked"})).await;
    let verdict = course.platform.get(&format!("/sessions/{session}/verdict")).await;
    let reports = settled(&stage).await;
    assert_eq!((&reports["summary"]["acknowledged"], &reports["summary"]["refused"]), (&json!(2), &json!(0)));
    let books = receiver.books();
    applied_once(&books, &reports);
    let records: Vec<&Value> = books.order.iter().map(|number| &books.applied[number].1).collect();
    let enrolment = json!({"recordNo": books.order[0], "type": "BM", "student": learner, "project": "电工（五级）",
        "class": ""});
    assert_eq!(*records[0], enrolment);
    let number = format!("{session}-1");
    let of_session = json!({"recordNo": number, "type": "XS", "student": learner, "result": "0", "day": "2026-09-21",
        "evidence": verdict["log_digest"]});
    assert_eq!(*records[1], of_session);
}

#[tokio::test]
async fn a_province_that_fails_forgets_and_dies_has_everything_once_in_the_end() {
    let mut receiver = Receiver::start().await;
    let mut stage = stage(&receiver).await;
    let course = stage.course(&[390_000]).await;
    receiver.province.feel(Mood::Failing);
    enrolled(&course, 6).await;
    assert_eq!(receiver.requests(&stage, 3).await, [500, 500, 500]);
    // The batch was applied, and nobody here knows.
    receiver.province.feel(Mood::Forgetful);
    receiver.requests(&stage, 1).await;
    assert!(receiver.books().batches.len() == 1);
    let waiting = stage.operator.get("/reports").await;
    assert_eq!(waiting["summary"]["acknowledged"], 0, "{waiting}");
    receiver.die().await;
    let summary = loop {
        let summary = stage.operator.get("/reports").await["summary"].clone();
        if summary["batch"]["attempts"].as_u64().unwrap() >= 6 {
            break summary;
        }
        stage.wall.advance_ms(500);
        tokio::task::yield_now().await;
    };
    assert_eq!(summary["pending"], 6);
    assert!(summary["batch"]["last_error"].as_str().unwrap().contains("error sending request"), "{summary}");

    // So does this server, and more happens before the province is back.
    stage.restart_with(reporting(format!("http://{}/push", receiver.address))).await;
    let course = Course { platform: renewed(&course, &stage), ..course };
    enrolled(&course, 3).await;
    receiver.province.feel(Mood::Slow);
    receiver.revive().await;
    receiver.requests(&stage, 1).await;
    receiver.province.feel(Mood::Well);
    let reports = settled(&stage).await;
    assert_eq!((&reports["summary"]["acknowledged"], &reports["summary"]["refused"]), (&json!(9), &json!(0)));
    let books = receiver.books();
    applied_once(&books, &reports);
    let items = reports["items"].as_array().unwrap();
    let happened: Vec<String> = items.iter().map(|item| format!("{}-1", item["subject"].as_str().unwrap())).collect();
    assert_eq!(books.order, happened, "what happened first arrived first");
}

/// Enrols the learner in two classes, one after the other; the records that say so, in their order.
async fn moved_to_another_class(stage: &Stage, course: &Course) -> Vec<Value> {
    let enrolments = format!("/projects/{}/enrolments", course.project);
    let learner = course.platform.post("/learners", json!({"id_number": new_id_number()})).await["id"].clone();
    let first = course.platform.post(&enrolments, json!({"learner": learner, "class": "一班"})).await;
    let withdraw = format!("/enrolments/{}/withdraw", first["id"].as_str().unwrap());
    // Each at its own time, so that the order is no accident.
    stage.wall.advance_ms(1);
    course.platform.post(&withdraw, json!({"reason": "换班"})).await;
    stage.wall.advance_ms(1);
    let second = course.platform.post(&enrolments, json!({"learner": learner, "class": "二班"})).await;
    assert_eq!((&second["id"], &second["version"]), (&first["id"], &json!(2)));
    let enrolled = |class| json!({"type": "BM", "student": learner, "project": "电工（五级）", "class": class});
    let withdrawn = json!({"type": "TB", "student": learner, "class": "一班", "why": "换班", "who": "P"});
    vec![enrolled("一班"), withdrawn, enrolled("二班")]
}

fn without_number(record: &Value) -> Value {
    let mut record = record.clone();
    record.as_object_mut().unwrap().remove("recordNo");
    record
}

#[tokio::test]
async fn a_withdrawal_and_the_enrolment_after_it_are_told_each_as_it_was() {
    let receiver = Receiver::start().await;
    let stage = stage(&receiver).await;
    let course = stage.course(&[390_000]).await;
    // All three wait together, and none is told by what the record says at the end.
    receiver.province.feel(Mood::Failing);
    let expected = moved_to_another_class(&stage, &course).await;
    receiver.province.feel(Mood::Well);
    let reports = settled(&stage).await;
    let books = receiver.books();
    applied_once(&books, &reports);
    let told: Vec<Value> = books.order.iter().map(|number| without_number(&books.applied[number].1)).collect();
    assert_eq!(told, expected);
}

fn renewed(course: &Course, stage: &Stage) -> crate::harness::Api {
    crate::harness::Api::new(&stage.server.as_ref().unwrap().public_url, &course.platform.key)
}

#[tokio::test]
async fn what_is_refused_is_shown_with_its_reason_and_can_be_sent_again() {
    let receiver = Receiver::start().await;
    let stage = stage(&receiver).await;
    let course = stage.course(&[390_000]).await;
    let learners = {
        receiver.province.feel(Mood::Failing);
        enrolled(&course, 5).await
    };
    receiver.province.feel(Mood::Refusing(learners[2].clone()));
    settled(&stage).await;
    let refused = stage.operator.get("/reports?state=refused").await;
    let item = refused["items"][0].clone();
    assert_eq!(refused["items"].as_array().unwrap().len(), 1);
    assert_eq!((&item["kind"], &item["reason"]), (&json!("enrolment"), &json!("code E1: 学员不存在")));

    receiver.province.feel(Mood::Well);
    let again = stage.operator.post(&format!("/reports/{}/resend", item["id"]), json!({})).await;
    assert_eq!((&again["state"], &again["reason"]), (&json!("pending"), &Value::Null));
    let reports = settled(&stage).await;
    assert_eq!(reports["summary"]["acknowledged"], 5);
    applied_once(&receiver.books(), &reports);
    let by_platform = course.platform.send(reqwest::Method::GET, "/reports", None).await;
    assert_eq!(by_platform.status(), 403);
    let unknown = stage.operator.send(reqwest::Method::POST, "/reports/99/resend", None).await;
    assert_eq!(unknown.status(), 404);
}

#[tokio::test]
async fn a_batch_that_is_never_taken_is_halved_until_the_one_item_is_found() {
    let receiver = Receiver::start().await;
    let stage = stage(&receiver).await;
    let course = stage.course(&[390_000]).await;
    receiver.province.feel(Mood::Failing);
    let learners = enrolled(&course, 7).await;
    receiver.province.feel(Mood::Rejecting(learners[1].clone()));
    let reports = settled(&stage).await;
    assert_eq!((&reports["summary"]["acknowledged"], &reports["summary"]["refused"]), (&json!(6), &json!(1)));
    let second = &reports["items"][1];
    assert_eq!(second["state"], "refused");
    let reason = second["reason"].as_str().unwrap();
    assert!(reason.contains("422") && reason.contains("身份证…有误"), "{reason}");
    applied_once(&receiver.books(), &reports);
}

#[tokio::test]
async fn what_happened_before_reporting_began_is_reported_and_nothing_while_it_is_off() {
    let receiver = Receiver::start().await;
    let mut stage = Stage::start().await;
    let course = stage.course(&[390_000]).await;
    let moved = moved_to_another_class(&stage, &course).await;
    enrolled(&course, 2).await;
    assert_eq!(stage.operator.get("/reports").await["summary"]["since"], Value::Null);
    assert_eq!(stage.operator.get("/reports").await["items"], json!([]));
    stage.restart_with(reporting(format!("http://{}/push", receiver.address))).await;
    let course = Course { platform: renewed(&course, &stage), ..course };
    enrolled(&course, 1).await;
    let reports = settled(&stage).await;
    assert_eq!(reports["summary"]["acknowledged"], 6);
    let books = receiver.books();
    applied_once(&books, &reports);
    let told: Vec<Value> = books.order.iter().map(|number| without_number(&books.applied[number].1)).collect();
    assert_eq!(told[..3], moved, "in the order of its happening, each as it was");
}

#[tokio::test]
async fn over_tls_only_whom_the_configured_authority_vouches_for() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let province = Province { books: Arc::default(), received: sender };
    let (address, _serving) = province.clone().serve_with_tls().await;
    let over_tls = |ca_file: Option<&'static str>| {
        let plain = reporting(format!("https://{address}/push"));
        move |folder: &Path, config: &mut Config| {
            plain(folder, config);
            config.report.allow_http = false;
            config.report.ca_file =
                ca_file.map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name));
        }
    };
    let start = Clock::manual(crate::harness::START_MS);
    let mut stage = Stage::start_with(start.clone(), start, over_tls(None)).await;
    let course = stage.course(&[390_000]).await;
    enrolled(&course, 1).await;
    let error = loop {
        let batch = stage.operator.get("/reports").await["summary"]["batch"].clone();
        if let Some(error) = batch["last_error"].as_str() {
            break error.to_owned();
        }
        stage.wall.advance_ms(500);
        tokio::task::yield_now().await;
    };
    assert!(error.contains("ertificate"), "{error}");
    assert!(received.try_recv().is_err(), "nothing was said to a stranger");

    stage.restart_with(over_tls(Some("ca.pem"))).await;
    let reports = settled(&stage).await;
    assert_eq!(reports["summary"]["acknowledged"], 1);
    applied_once(&province.books(), &reports);
}

/// Puts a person on record as the registries do: sealed with the learner's own key.
/// Takes a learner's name and number off the record, as before they were kept, or puts them on it.
fn record_person(stage: &Stage, learner: &str, id_number: Option<&str>) {
    let database = rusqlite::Connection::open(stage.folder.path().join("invigil.sqlite")).unwrap();
    let entropy = Entropy::system();
    let keys = Keys::open_or_create(stage.folder.path(), &entropy).unwrap();
    let wrapped: Vec<u8> =
        database.query_row("SELECT data_key FROM learner WHERE id = ?1", [learner], |row| row.get(0)).unwrap();
    let key = keys.unwrap(learner, &wrapped).unwrap();
    let sealed = id_number
        .map(|number| Person { name: Some("张三".into()), id_number: number.to_owned() }.seal(&key, &entropy, learner));
    let put = "UPDATE learner SET sealed_person = ?2 WHERE id = ?1";
    assert_eq!(database.execute(put, rusqlite::params![learner, sealed]).unwrap(), 1);
}

#[tokio::test]
async fn the_id_number_goes_out_where_the_mapping_asks_and_lies_nowhere_in_the_clear() {
    let mut receiver = Receiver::start().await;
    let plain = reporting(format!("http://{}/push", receiver.address));
    let with_id_number = move |folder: &Path, config: &mut Config| {
        plain(folder, config);
        let asked = MAPPING.replacen("[withdrawal]", "idCard = \"learner.id_number\"\n    [withdrawal]", 1);
        std::fs::write(&config.report.mapping, asked).unwrap();
    };
    let start = Clock::manual(crate::harness::START_MS);
    let stage = Stage::start_with(start.clone(), start, with_id_number).await;
    let course = stage.course(&[390_000]).await;
    receiver.province.feel(Mood::Failing);
    let learners = enrolled(&course, 2).await;
    // A learner whose number is not on record is refused here, and goes out once it is.
    let known = new_id_number();
    record_person(&stage, &learners[0], Some(&known));
    record_person(&stage, &learners[1], None);
    receiver.requests(&stage, 1).await;
    for file in ["invigil.sqlite", "invigil.sqlite-wal"] {
        let bytes = std::fs::read(stage.folder.path().join(file)).unwrap();
        assert!(!bytes.windows(known.len()).any(|window| window == known.as_bytes()), "{file}");
    }
    receiver.province.feel(Mood::Well);
    let reports = settled(&stage).await;
    let reasons: Vec<Option<&str>> =
        reports["items"].as_array().unwrap().iter().map(|item| item["reason"].as_str()).collect();
    let missing = "learner.id_number is not on record, and the mapping has no `missing` for it";
    assert!(reasons.contains(&Some(missing)), "{reasons:?}");
    for (item, learner) in reports["items"].as_array().unwrap().iter().zip(&learners) {
        record_person(&stage, learner, Some(&known));
        stage.operator.post(&format!("/reports/{}/resend", item["id"]), json!({})).await;
    }
    let reports = settled(&stage).await;
    assert_eq!(reports["summary"]["acknowledged"], 2, "{reports}");
    assert!(receiver.books().applied.values().all(|(_, record)| record["idCard"] == *known));
}
