//! The worker against real receivers on loopback, on a clock that the tests move.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use tokio::sync::{Notify, mpsc};

use super::sign::{ID_HEADER, WebhookSecret, verify};
use super::*;
use crate::store::fixture;
use crate::store::outbox::{DeliveryState, DeliveryStatus};

const START_MS: i64 = 1_767_225_600_000;
const OPEN: Webhook = Webhook { allow_private_addresses: true, allow_http: true, keep_days: 0 };

/// A request as the receiver saw it.
struct Received {
    headers: HeaderMap,
    body: String,
}

impl Received {
    fn event(&self) -> &str {
        self.headers[ID_HEADER].to_str().unwrap()
    }
}

#[derive(Clone)]
struct Script {
    /// Answers in order; when they run out, 204.
    answers: Arc<Mutex<VecDeque<Response>>>,
    received: mpsc::UnboundedSender<Received>,
    /// Requests wait for a permit before they are answered.
    gate: Arc<tokio::sync::Semaphore>,
}

/// A receiver on loopback.
struct Receiver {
    url: String,
    script: Script,
    received: mpsc::UnboundedReceiver<Received>,
}

impl Receiver {
    async fn start(answers: Vec<Response>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, received) = mpsc::unbounded_channel();
        let gate = Arc::new(tokio::sync::Semaphore::new(tokio::sync::Semaphore::MAX_PERMITS));
        let script = Script { answers: Arc::new(Mutex::new(answers.into())), received: sender, gate };
        let router =
            axum::Router::new().route("/hook", post(answer)).route("/away", any(answer)).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, script, received }
    }

    async fn next(&mut self) -> Received {
        self.received.recv().await.unwrap()
    }

    fn nothing_more(&mut self) -> bool {
        self.received.try_recv().is_err()
    }
}

async fn answer(State(script): State<Script>, headers: HeaderMap, body: String) -> Response {
    script.received.send(Received { headers, body }).unwrap();
    script.gate.acquire().await.unwrap().forget();
    let next = script.answers.lock().unwrap().pop_front();
    next.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
}

/// A store with one platform, `p1`, and a worker that delivers to it.
struct Bench {
    store: Store,
    secret: WebhookSecret,
    keys: Arc<Keys>,
    clock: Clock,
    wake: Arc<Notify>,
    delivery: Delivery,
    recorded: watch::Receiver<u64>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn start(url: &str, config: Webhook) -> Self {
        let (folder, store) = fixture::store().await;
        let entropy = Entropy::seeded(1);
        let keys = Arc::new(Keys::open_or_create(folder.path(), &entropy).unwrap());
        let secret = WebhookSecret::generate(&entropy);
        store.add_platform_for_test("p1", url, secret.seal(&keys, &entropy, "p1")).await;
        let (clock, wake) = (Clock::manual(START_MS), Arc::new(Notify::new()));
        let delivery =
            Delivery::start(store.clone(), keys.clone(), clock.clone(), entropy, config, wake.clone(), Turns::always())
                .unwrap();
        let recorded = delivery.recorded();
        Self { store, secret, keys, clock, wake, delivery, recorded, _folder: folder }
    }

    async fn enqueue(&self, event: &str, ordering: &str) {
        assert!(self.store.enqueue_for_test(event, "p1", ordering, self.clock.now_ms()).await);
    }

    /// Waits until this many attempts have been recorded.
    async fn attempts_recorded(&mut self, count: u64) {
        self.recorded.wait_for(|recorded| *recorded >= count).await.unwrap();
    }

    async fn status(&self, event: &str) -> DeliveryStatus {
        self.store.delivery_status(event).await.unwrap().unwrap()
    }

    /// Moves the clock to the next attempt at `event`.
    async fn advance_to_next_attempt(&self, event: &str) {
        let status = self.status(event).await;
        assert_eq!(status.state, DeliveryState::Pending);
        self.clock.advance_ms(status.next_attempt_at_ms - self.clock.now_ms());
    }

    fn assert_signed(&self, received: &Received) {
        let header = |name: &str| received.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(verify(&self.secret, header, &received.body, self.clock.now_ms()), Ok(()));
    }
}

#[tokio::test]
async fn a_delivery_is_signed_and_tried_again_with_the_same_id() {
    let mut receiver = Receiver::start(vec![StatusCode::INTERNAL_SERVER_ERROR.into_response()]).await;
    let mut bench = Bench::start(&receiver.url, OPEN).await;
    bench.enqueue("e1", "s1").await;
    bench.wake.notify_one();

    let first = receiver.next().await;
    bench.assert_signed(&first);
    assert_eq!(first.headers[header::CONTENT_TYPE], cloud_event::CONTENT_TYPE);
    bench.attempts_recorded(1).await;
    let status = bench.status("e1").await;
    assert_eq!((status.state, status.attempts), (DeliveryState::Pending, 1));
    assert_eq!(status.last_error.as_deref(), Some("the receiver answered 500 Internal Server Error"));
    assert!(status.next_attempt_at_ms > START_MS && status.next_attempt_at_ms <= START_MS + 5_000);

    bench.advance_to_next_attempt("e1").await;
    let second = receiver.next().await;
    bench.assert_signed(&second);
    assert_eq!((second.event(), &second.body), (first.event(), &first.body));
    bench.attempts_recorded(2).await;
    assert_eq!(bench.status("e1").await.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn order_is_kept_within_a_session_and_others_do_not_wait() {
    let mut receiver = Receiver::start(vec![StatusCode::SERVICE_UNAVAILABLE.into_response()]).await;
    let mut bench = Bench::start(&receiver.url, OPEN).await;
    bench.enqueue("a1", "a").await;
    bench.wake.notify_one();
    assert_eq!(receiver.next().await.event(), "a1");
    bench.attempts_recorded(1).await;

    bench.enqueue("a2", "a").await;
    bench.enqueue("b1", "b").await;
    bench.wake.notify_one();
    assert_eq!(receiver.next().await.event(), "b1");
    bench.attempts_recorded(2).await;

    bench.advance_to_next_attempt("a1").await;
    assert_eq!(receiver.next().await.event(), "a1");
    assert_eq!(receiver.next().await.event(), "a2");
    bench.attempts_recorded(4).await;
    assert_eq!(bench.status("a2").await.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn gone_disables_the_webhook_and_keeps_the_reason() {
    let mut receiver = Receiver::start(vec![StatusCode::GONE.into_response()]).await;
    let mut bench = Bench::start(&receiver.url, OPEN).await;
    bench.enqueue("e1", "s1").await;
    bench.enqueue("e2", "s1").await;
    bench.wake.notify_one();
    receiver.next().await;
    bench.attempts_recorded(1).await;

    for event in ["e1", "e2"] {
        let status = bench.status(event).await;
        assert_eq!(status.state, DeliveryState::Failed);
        assert_eq!(status.last_error.as_deref(), Some("the receiver answered 410 Gone"));
    }
    assert!(!bench.store.enqueue_for_test("e3", "p1", "s2", START_MS).await);
    assert!(receiver.nothing_more());
}

#[tokio::test]
async fn an_unreachable_receiver_is_tried_for_a_day() {
    // Bound and dropped: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut bench = Bench::start(&format!("http://{address}/?token=secret"), OPEN).await;
    bench.enqueue("e1", "s1").await;
    bench.wake.notify_one();
    let mut attempts = 1;
    bench.attempts_recorded(attempts).await;
    let error = bench.status("e1").await.last_error.unwrap();
    assert!(error.contains("refused") && !error.contains("token"), "{error}");
    while bench.status("e1").await.state == DeliveryState::Pending {
        bench.advance_to_next_attempt("e1").await;
        attempts += 1;
        bench.attempts_recorded(attempts).await;
    }
    assert_eq!(bench.status("e1").await.state, DeliveryState::Failed);
    assert_eq!(bench.clock.now_ms(), START_MS + retry::GIVE_UP_AFTER_MS);
}

#[tokio::test]
async fn private_addresses_are_refused_as_literals_and_as_names() {
    let mut receiver = Receiver::start(vec![]).await;
    let strict = Webhook { allow_private_addresses: false, allow_http: true, keep_days: 0 };
    let by_name = receiver.url.replace("127.0.0.1", "localhost");
    for url in [receiver.url.clone(), by_name] {
        let mut bench = Bench::start(&url, strict.clone()).await;
        bench.enqueue("e1", "s1").await;
        bench.wake.notify_one();
        bench.attempts_recorded(1).await;
        let error = bench.status("e1").await.last_error.unwrap();
        assert!(error.ends_with("is refused: loopback"), "{url}: {error}");
    }
    assert!(receiver.nothing_more());
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let away = (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/away")]).into_response();
    let mut receiver = Receiver::start(vec![away]).await;
    let mut bench = Bench::start(&receiver.url, OPEN).await;
    bench.enqueue("e1", "s1").await;
    bench.wake.notify_one();
    receiver.next().await;
    bench.attempts_recorded(1).await;
    let error = bench.status("e1").await.last_error.unwrap();
    assert!(error.ends_with("redirects are not followed"), "{error}");
    assert!(receiver.nothing_more());
}

#[tokio::test]
async fn https_is_spoken_and_a_receiver_that_does_not_is_a_failure() {
    let mut receiver = Receiver::start(vec![]).await;
    let mut bench = Bench::start(&receiver.url.replace("http:", "https:"), OPEN).await;
    bench.enqueue("e1", "s1").await;
    bench.wake.notify_one();
    bench.attempts_recorded(1).await;
    let error = bench.status("e1").await.last_error.unwrap();
    assert!(error.contains("corrupt message"), "{error}");
    assert!(receiver.nothing_more());
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let busy = (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "3600")]).into_response();
    let mut receiver = Receiver::start(vec![busy]).await;
    let mut bench = Bench::start(&receiver.url, OPEN).await;
    bench.enqueue("e1", "s1").await;
    bench.wake.notify_one();
    receiver.next().await;
    bench.attempts_recorded(1).await;
    assert_eq!(bench.status("e1").await.next_attempt_at_ms, START_MS + 3_600_000);
}

#[tokio::test]
async fn one_platform_has_few_attempts_in_flight_and_in_the_end_all_arrive() {
    let mut receiver = Receiver::start(vec![]).await;
    receiver.script.gate.forget_permits(usize::MAX);
    let mut bench = Bench::start(&receiver.url, OPEN).await;
    for n in 0..20 {
        bench.enqueue(&format!("e{n}"), &format!("s{n}")).await;
    }
    bench.wake.notify_one();
    for _ in 0..PLATFORM_LIMIT {
        receiver.next().await;
    }
    assert!(receiver.nothing_more(), "none is answered, so none follows");
    receiver.script.gate.add_permits(20);
    bench.attempts_recorded(20).await;
    assert_eq!(bench.status("e19").await.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn what_was_in_flight_at_the_stop_is_sent_again_at_the_start() {
    let mut receiver = Receiver::start(vec![]).await;
    receiver.script.gate.forget_permits(usize::MAX);
    let bench = Bench::start(&receiver.url, OPEN).await;
    bench.enqueue("e1", "s1").await;
    bench.wake.notify_one();
    assert_eq!(receiver.next().await.event(), "e1");
    bench.delivery.shutdown().await;

    receiver.script.gate.add_permits(2);
    let entropy = Entropy::seeded(2);
    let again =
        Delivery::start(bench.store.clone(), bench.keys, bench.clock, entropy, OPEN, bench.wake, Turns::always())
            .unwrap();
    assert_eq!(receiver.next().await.event(), "e1");
    again.recorded().wait_for(|recorded| *recorded >= 1).await.unwrap();
    assert_eq!(bench.store.delivery_status("e1").await.unwrap().unwrap().state, DeliveryState::Delivered);
}
