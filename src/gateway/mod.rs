//! The WebSocket that learners' pages stream into: handshake, frames, flow control.
//!
//! It knows the protocol of docs/protocol.md and nothing of rules: what a client sends is handed to the session's
//! owner ([`crate::actor`]), and what the owner says is sent on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Extension;
use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Semaphore, watch};

pub mod address;
pub mod bucket;
mod connection;
mod handshake;
pub mod rates;
pub mod schema;
pub mod wire;

use crate::actor::{Registry, Services};
use address::ClientAddress;
use rates::Rates;

/// Read and write buffers of a connection, in bytes: with the library's defaults an idle one costs 134 kB.
pub(crate) const BUFFER_BYTES: usize = 4 * 1024;

/// What every connection needs.
pub struct Gateway {
    services: Arc<Services>,
    sessions: Registry,
    /// how long a renewed token lives, ms
    token_lifetime_ms: i64,
    /// turns true when the server stops
    stopping: watch::Receiver<bool>,
    rates: Arc<Rates>,
    connections: Arc<Semaphore>,
    last_connection: AtomicU64,
}

impl Gateway {
    /// A gateway to `sessions`. Tokens that it renews live for `token_lifetime_ms`.
    pub fn new(
        services: Arc<Services>,
        sessions: Registry,
        token_lifetime_ms: i64,
        stopping: watch::Receiver<bool>,
        rates: Arc<Rates>,
    ) -> Arc<Self> {
        let connections = Arc::new(Semaphore::new(services.limits.connections_limit));
        let last_connection = AtomicU64::new(0);
        Arc::new(Self { services, sessions, token_lifetime_ms, stopping, rates, connections, last_connection })
    }

    /// Returns when no connection is left.
    pub async fn drained(&self) {
        let all = u32::try_from(self.services.limits.connections_limit).unwrap_or(u32::MAX);
        // An error means that the semaphore was closed, which nobody does.
        let _ = self.connections.acquire_many(all).await;
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.services.limits.connections_limit.saturating_sub(self.connections.available_permits())
    }

    fn next_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The route of the stream.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().route(wire::STREAM_PATH, get(upgrade)).with_state(gateway)
}

async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    address: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let client = address.map(|Extension(address)| address);
    let refused = |status: StatusCode, detail: &str| (status, detail.to_owned()).into_response();
    let upgrade = upgrade.protocols([wire::SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return refused(StatusCode::BAD_REQUEST, "ask for the subprotocol invigil.v1: Sec-WebSocket-Protocol");
    }
    if *gateway.stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "2")], "the server is stopping").into_response();
    }
    if let Err(too_many) = gateway.rates.handshake_from(client).await {
        let seconds = (too_many.retry_after_ms + 999) / 1000;
        let detail = "too many connections are begun from this address";
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())], detail).into_response();
    }
    // Browsers always send it, and pages cannot change it. What is no text is no origin that anybody was allowed.
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default().to_owned());
    let Ok(permit) = gateway.connections.clone().try_acquire_owned() else {
        let detail = "as many connections are open as this server carries";
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "5")], detail).into_response();
    };
    upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(wire::BINARY_LIMIT_BYTES)
        // A message a little too large is read to its end and refused in words; one beyond twice the limit is cut off.
        .max_message_size(2 * gateway.services.limits.message_bytes_limit)
        .max_frame_size(2 * gateway.services.limits.message_bytes_limit)
        .on_upgrade(move |socket| async move {
            connection::serve(socket, gateway, client, origin).await;
            drop(permit);
        })
}
