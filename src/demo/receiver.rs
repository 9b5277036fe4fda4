//! The platforms' side of the webhooks: receives them, believes none whose signature does not hold.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::delivery::sign::{ID_HEADER, WebhookSecret, verify};

/// A receiver on an address of its own. Cheap to clone.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    shared: Shared,
}

#[derive(Clone)]
struct Shared {
    inbox: Arc<Mutex<Inbox>>,
    wall: Clock,
}

#[derive(Default)]
struct Inbox {
    secrets: HashMap<usize, WebhookSecret>,
    counts: Counts,
    ids: HashSet<String>,
    verdicts: HashMap<String, Value>,
}

/// What has arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// requests
    pub received: u32,
    /// of them, with a signature that holds
    pub verified: u32,
    /// of those, seen before
    pub repeated: u32,
}

impl Receiver {
    /// Starts to receive on the loopback interface. Timestamps are judged by `wall`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(wall: Clock) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Shared { inbox: Arc::default(), wall };
        let routes = Router::new().route("/hooks/{platform}", post(receive)).with_state(shared.clone());
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the webhook receiver has stopped");
            }
        });
        Ok(Self { address, shared })
    }

    /// Where the webhooks of a platform go.
    pub fn url(&self, platform: usize) -> String {
        format!("http://{}/hooks/{platform}", self.address)
    }

    /// What a platform shares with the server.
    pub fn share(&self, platform: usize, secret: WebhookSecret) {
        self.shared.lock().secrets.insert(platform, secret);
    }

    /// How many have arrived.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// The verdict of a session, as a verified webhook told it.
    pub fn verdict(&self, session: &str) -> Option<Value> {
        self.shared.lock().verdicts.get(session).cloned()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

async fn receive(
    State(shared): State<Shared>,
    Path(platform): Path<usize>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let now_ms = shared.wall.now_ms();
    let mut inbox = shared.lock();
    inbox.counts.received += 1;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let verified = inbox.secrets.get(&platform).map(|secret| verify(secret, header, &body, now_ms));
    if !matches!(verified, Some(Ok(()))) {
        tracing::warn!(?verified, "a webhook is not believed");
        return StatusCode::UNAUTHORIZED;
    }
    inbox.counts.verified += 1;
    if !inbox.ids.insert(header(ID_HEADER).unwrap_or_default().to_owned()) {
        inbox.counts.repeated += 1;
    }
    let event: Value = serde_json::from_str(&body).unwrap_or_default();
    if let Some(session) = event["data"]["session"].as_str() {
        inbox.verdicts.insert(session.to_owned(), event["data"]["verdict"].clone());
    }
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Entropy;

    #[tokio::test]
    async fn only_signed_webhooks_are_believed() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wall = Clock::manual(1_700_000_000_000);
        let receiver = Receiver::start(wall.clone()).await.unwrap();
        let secret = WebhookSecret::generate(&Entropy::seeded(1));
        receiver.share(0, secret.clone());
        let body = r#"{"data":{"session":"s1","verdict":{"status":"valid"}}}"#;
        let signed = secret.sign("e1", wall.now_ms(), body);
        let send = async |platform, signature: &str| {
            let request = reqwest::Client::new().post(receiver.url(platform)).body(body);
            let request = request.header("webhook-id", &signed.id).header("webhook-timestamp", &signed.timestamp);
            request.header("webhook-signature", signature).send().await.unwrap().status().as_u16()
        };
        assert_eq!(send(0, "v1,AAAA").await, 401);
        assert_eq!(send(1, &signed.signature).await, 401);
        assert!(receiver.verdict("s1").is_none());
        assert_eq!((send(0, &signed.signature).await, send(0, &signed.signature).await), (204, 204));
        assert_eq!(receiver.verdict("s1").unwrap()["status"], "valid");
        assert_eq!(receiver.counts(), Counts { received: 4, verified: 2, repeated: 1 });
    }
}
