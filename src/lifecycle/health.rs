//! What tells others how the server is: `/livez` and `/readyz` on both ports, `/metrics` on its own.
//!
//! Live means that the process answers; a supervisor restarts what is not. Ready means that new sessions are welcome: the
//! database takes writes, faces can be checked, the server does not stop. Answers name the check and no particulars.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::watch;

use crate::actor::{Registry, Services};
use crate::gateway::Gateway;
use crate::store::Writing;
use crate::telemetry::{self, Exporter, Snapshot};

/// How long an answer about the database holds, so that asking often costs no writes, ms.
const ANSWER_HOLDS_MS: i64 = 1_000;
/// How long a write may take before the database counts as not writable, ms.
const WRITE_LIMIT_MS: i64 = 2_000;

/// Knows how the server is.
pub(super) struct Health {
    services: Arc<Services>,
    stopping: watch::Receiver<bool>,
    /// when the database was last asked, and what it said
    database: Mutex<Option<(i64, bool)>>,
    /// one asks the database, the others wait for its answer
    asking: tokio::sync::Mutex<()>,
}

/// What `/readyz` answers: for each check `ok` or `failing`.
#[derive(Debug, Clone, Copy, Serialize)]
struct Report {
    ready: bool,
    /// not being stopped
    running: &'static str,
    /// a write reaches the disk
    database: &'static str,
    /// a worker with face models is there
    models: &'static str,
    /// one of several: the others count on it, so it may act
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<&'static str>,
    /// one of several: its clock agrees with the database's
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<&'static str>,
}

impl Health {
    pub(super) fn new(services: Arc<Services>, stopping: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self { services, stopping, database: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    async fn report(&self) -> Report {
        let word = |good: bool| if good { "ok" } else { "failing" };
        let database = self.database_writes().await;
        let (running, models) = (!*self.stopping.borrow(), self.services.vision.works());
        let member = self.services.cluster.member();
        let lease = member.map(|member| member.node.lease().is_valid());
        let clock = member.map(|member| member.clock.is_right());
        let ready = running && database && models && lease.unwrap_or(true) && clock.unwrap_or(true);
        Report {
            ready,
            running: word(running),
            database: word(database),
            models: word(models),
            lease: lease.map(word),
            clock: clock.map(word),
        }
    }

    async fn database_writes(&self) -> bool {
        if let Some(known) = self.known() {
            return known;
        }
        // While the disk refuses, the writer itself looks whether it still does.
        if *self.services.store.writing().borrow() != Writing::Well {
            return false;
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let writes = tokio::select! {
            written = self.services.store.check_writable() => match written {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(%error, "the database takes no writes: the server is not ready");
                    false
                }
            },
            () = self.services.clock.sleep_ms(WRITE_LIMIT_MS) => {
                tracing::error!(limit_ms = WRITE_LIMIT_MS, "the database is too slow: the server is not ready");
                false
            }
        };
        let now_ms = self.services.clock.now_ms();
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = Some((now_ms, writes));
        writes
    }

    fn known(&self) -> Option<bool> {
        let known = *self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.services.clock.now_ms();
        known.filter(|(at, _)| now_ms - at < ANSWER_HOLDS_MS).map(|(_, writes)| writes)
    }
}

/// `/livez` and `/readyz`.
pub(super) fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async |State(health): State<Arc<Health>>| answer(health.report().await)))
        .with_state(health)
}

fn answer(report: Report) -> Response {
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(report)).into_response()
}

/// What Prometheus is answered from.
pub(super) struct Scraped {
    pub(super) health: Arc<Health>,
    pub(super) exporter: Exporter,
    pub(super) gateway: Arc<Gateway>,
    pub(super) sessions: Registry,
}

/// `/metrics`, with `/livez` and `/readyz` beside it.
pub(super) fn metrics_router(scraped: Scraped) -> Router {
    let health = router(scraped.health.clone());
    let metrics = get(async |State(scraped): State<Arc<Scraped>>| {
        ([(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)], scraped.text().await)
    });
    Router::new().route("/metrics", metrics).with_state(Arc::new(scraped)).merge(health)
}

impl Scraped {
    async fn text(&self) -> String {
        let services = &self.health.services;
        let deliveries_pending = services.store.pending_deliveries().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the deliveries that wait cannot be counted");
            0
        });
        self.exporter.text(Snapshot {
            connections: self.gateway.connections(),
            sessions: self.sessions.count(),
            deliveries_pending,
            ready: self.health.report().await.ready,
            clock_offset_ms: services.clock.now_ms() - services.wall.now_ms(),
        })
    }
}
