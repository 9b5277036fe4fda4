//! The WebSocket that learners' pages stream into: handshake, frames, flow control.
//!
//! It knows the protocol of docs/protocol.md and nothing of rules: what a client sends is handed to the session's
//! owner ([`crate::actor`]), and what the owner says is sent on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Semaphore, watch};

mod bucket;
mod connection;
mod handshake;
pub mod wire;

use crate::actor::Registry;
use crate::clock::{Clock, Entropy};
use crate::config::Limits;
use crate::store::Store;

/// Read and write buffers of a connection, in bytes: with the library's defaults an idle one costs 134 kB.
const BUFFER_BYTES: usize = 4 * 1024;

/// What every connection needs.
pub struct Gateway {
    /// the live sessions
    pub sessions: Registry,
    /// where tokens and client keys are looked up
    pub store: Store,
    /// the clock of sessions: log times, round trips, rates
    pub clock: Clock,
    /// the clock of tokens
    pub wall: Clock,
    /// nonces and tokens
    pub entropy: Entropy,
    /// what one client may do
    pub limits: Limits,
    /// how long a renewed token lives, ms
    pub token_lifetime_ms: i64,
    /// turns true when the server stops
    pub stopping: watch::Receiver<bool>,
    connections: Arc<Semaphore>,
    last_connection: AtomicU64,
}

impl Gateway {
    /// A gateway to `sessions`.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the server, given once, at its start")]
    pub fn new(
        sessions: Registry,
        store: Store,
        clock: Clock,
        wall: Clock,
        entropy: Entropy,
        limits: Limits,
        token_lifetime_ms: i64,
        stopping: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let connections = Arc::new(Semaphore::new(limits.connections_limit));
        let last_connection = AtomicU64::new(0);
        Arc::new(Self {
            sessions,
            store,
            clock,
            wall,
            entropy,
            limits,
            token_lifetime_ms,
            stopping,
            connections,
            last_connection,
        })
    }

    fn next_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The route of the stream.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().route(wire::STREAM_PATH, get(upgrade)).with_state(gateway)
}

async fn upgrade(State(gateway): State<Arc<Gateway>>, upgrade: WebSocketUpgrade) -> Response {
    let refused = |status: StatusCode, detail: &str| (status, detail.to_owned()).into_response();
    let upgrade = upgrade.protocols([wire::SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return refused(StatusCode::BAD_REQUEST, "ask for the subprotocol invigil.v1: Sec-WebSocket-Protocol");
    }
    if *gateway.stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "2")], "the server is stopping").into_response();
    }
    let Ok(permit) = gateway.connections.clone().try_acquire_owned() else {
        let detail = "as many connections are open as this server carries";
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "5")], detail).into_response();
    };
    upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(wire::BINARY_LIMIT_BYTES)
        // A message a little too large is read to its end and refused in words; one beyond twice the limit is cut off.
        .max_message_size(2 * gateway.limits.message_bytes_limit)
        .max_frame_size(2 * gateway.limits.message_bytes_limit)
        .on_upgrade(move |socket| async move {
            connection::serve(socket, gateway).await;
            drop(permit);
        })
}
