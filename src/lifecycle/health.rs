//! What tells others how the server is: `/livez` and `/readyz` on both ports, `/metrics` on its own.
//!
//! Live means that the process answers; a supervisor restarts what is not. Ready means that new sessions are welcome: the
//! database takes writes, faces can be checked, the server does not stop; as far as the node's roles need it. Answers name
//! the check and no particulars, but for what computes the face models.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::watch;

use crate::actor::{Registry, Services};
use crate::cluster::redis::Roster;
use crate::config::Role;
use crate::gateway::Gateway;
use crate::store::Writing;
use crate::telemetry::{self, Exporter, Snapshot};
use crate::vision::Running;

/// How long an answer about the database holds, so that asking often costs no writes, ms.
const ANSWER_HOLDS_MS: i64 = 1_000;
/// How long a write may take before the database counts as not writable, ms.
const WRITE_LIMIT_MS: i64 = 2_000;

/// Knows how the server is.
pub(super) struct Health {
    services: Arc<Services>,
    stopping: watch::Receiver<bool>,
    /// one of several: what all of them take on
    roster: Option<watch::Receiver<Roster>>,
    /// when the database was last asked, and what it said
    database: Mutex<Option<(i64, bool)>>,
    /// one asks the database, the others wait for its answer
    asking: tokio::sync::Mutex<()>,
}

/// What `/readyz` answers: for each check `ok` or `failing`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub(super) ready: bool,
    /// not being stopped
    running: &'static str,
    /// a write reaches the disk
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    /// a worker with face models is there
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<&'static str>,
    /// what computes them, and what was tried before
    #[serde(skip_serializing_if = "Option::is_none")]
    vision: Option<Running>,
    /// what waits in Redis can be had; the others see it by their lease
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
    /// one of several: the others count on it, so it may act
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<&'static str>,
    /// one of several: its clock agrees with the database's
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<&'static str>,
    /// what other nodes seal opens here
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<&'static str>,
    /// roles that no node takes on; this one is none the less ready for it
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_roles: Vec<&'static str>,
}

/// What was found; none: the node's roles do not need it.
pub(super) struct Checks {
    pub(super) running: bool,
    pub(super) database: Option<bool>,
    pub(super) models: Option<bool>,
    pub(super) vision: Option<Running>,
    pub(super) redis: Option<bool>,
    pub(super) lease: Option<bool>,
    pub(super) clock: Option<bool>,
    pub(super) keys: Option<bool>,
    pub(super) missing_roles: Vec<Role>,
}

impl Report {
    pub(super) fn of(checks: Checks) -> Self {
        let Checks { running, database, models, vision, redis, lease, clock, keys, missing_roles } = checks;
        let word = |good: bool| if good { "ok" } else { "failing" };
        Self {
            ready: running && [database, models, redis, lease, clock, keys].into_iter().flatten().all(|good| good),
            running: word(running),
            database: database.map(word),
            models: models.map(word),
            vision,
            redis: redis.map(word),
            lease: lease.map(word),
            clock: clock.map(word),
            keys: keys.map(word),
            missing_roles: missing_roles.into_iter().map(Role::as_str).collect(),
        }
    }
}

impl Health {
    pub(super) fn new(
        services: Arc<Services>,
        stopping: watch::Receiver<bool>,
        roster: Option<watch::Receiver<Roster>>,
    ) -> Arc<Self> {
        let (database, asking) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { services, stopping, roster, database, asking })
    }

    fn missing_roles(&self) -> Vec<Role> {
        self.roster.as_ref().map(|roster| roster.borrow().missing.clone()).unwrap_or_default()
    }

    async fn report(&self) -> Report {
        let database = self.database_writes().await;
        let (running, models) = (!*self.stopping.borrow(), self.services.faces.works());
        let member = self.services.cluster.member();
        let lease = member.map(|member| member.node.lease().is_valid());
        let clock = member.map(|member| member.clock.is_right());
        let (database, missing_roles) = (Some(database), self.missing_roles());
        // Its keys were held against the database at the start.
        let vision = self.services.faces.running().cloned();
        Report::of(Checks { running, database, models, vision, redis: None, lease, clock, keys: None, missing_roles })
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

pub(super) fn answer(report: Report) -> Response {
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
            roles_missing: self.health.missing_roles().len(),
            ready: self.health.report().await.ready,
            clock_offset_ms: services.clock.now_ms() - services.wall.now_ms(),
        })
    }
}
