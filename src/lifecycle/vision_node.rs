//! A node that only looks at photos: no database, no sessions, nothing of its own but its keys.
//!
//! It takes photos off the queue in Redis, fetches them where they are kept, and answers whoever asked. Nobody counts on
//! it: what it does not come to, another does.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::routing::get;
use axum::{Router, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::health::{Checks, Report, answer};
use super::listener::Port;
use super::{ServerConfig, StartError, bind_metrics, load_certificate, routes, start_vision};
use crate::auth::keys::master_key;
use crate::clock::Clock;
use crate::cluster::redis::{Bus, Order, Redis, Roster, RosterEntry};
use crate::config::Config;
use crate::delivery::DeliveryMeters;
use crate::faces::{Desk, Takers};
use crate::store::StoreMeters;
use crate::store::evidence::{Evidence, EvidenceError};
use crate::telemetry::{self, Exporter, Snapshot, Telemetry};
use crate::vision::VisionPool;

/// How long Redis may take to answer before the node counts as not ready, ms.
const REDIS_LIMIT_MS: i64 = 1_000;

/// A node that looks at photos and does nothing else.
pub struct VisionNode {
    /// where it says how it is
    pub address: SocketAddr,
    /// where Prometheus finds its metrics, if it does
    pub metrics_address: Option<SocketAddr>,
    stopping: watch::Sender<bool>,
    takers: Takers,
    /// what it serves, until the end
    serving: Vec<JoinHandle<()>>,
}

/// Knows how the node is.
struct Health {
    pool: Arc<VisionPool>,
    redis: Redis,
    roster: watch::Receiver<Roster>,
    stopping: watch::Receiver<bool>,
}

impl VisionNode {
    /// Starts it: keys, photos, models, Redis, and at last the queue.
    ///
    /// # Errors
    /// [`StartError`] names the part that failed.
    pub async fn start(setup: ServerConfig) -> Result<Self, StartError> {
        let ServerConfig { config, wall, entropy, .. } = setup;
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await.map_err(StartError::of(format!("listen {listen}")))?;
        let address = listener.local_addr().map_err(StartError::of("listen"))?;
        let metrics = bind_metrics(&config).await?;
        let certificate = load_certificate(&config)?;
        let master = master_key(&config.data_folder, &config.keys).map_err(StartError::of("keys.master"))?;
        let evidence = readable_evidence(&config).await.map_err(StartError::of("photos"))?;
        let pool = Arc::new(start_vision(&config)?);
        let steady = Clock::scaled(1);
        let redis = connect(&config, &steady).await?;
        let node = entropy.id(wall.now_ms()).to_string();
        // Nobody says anything to it but answers, and it asks nothing.
        let (bus, _nothing) = Bus::start(redis.clone(), node.clone());
        let entry = RosterEntry::listener(redis.clone(), master.clone()).taking_on(&config.roles);
        let desk = Desk { pool: pool.clone(), evidence, master, entropy, steady: steady.clone() };
        // Nothing is taken that does not open; until somebody says otherwise, it does.
        let opens = entry.say().await.map_err(StartError::of("redis.url"))?.opens;
        let orders = watch::Sender::new(order(opens));
        let takers = Takers::start(desk, &redis, &bus, &node, orders.clone());
        let (tell, roster) = watch::channel(Roster::default());
        tracing::info!(node, "this node looks at photos of others");

        let (stopping, stop_seen) = watch::channel(false);
        let telemetry = Arc::new(Telemetry::new([]));
        let exporter = Exporter::new(
            &telemetry,
            &StoreMeters::default(),
            pool.meters(),
            &DeliveryMeters::default(),
            0,
            wall.now_ms(),
        );
        let health = Arc::new(Health { pool, redis, roster: roster.clone(), stopping: stop_seen });
        let mut serving =
            vec![tokio::spawn(entry.keep(steady.clone(), tell)), tokio::spawn(take_what_opens(roster, orders))];
        if let Some(certificate) = &certificate {
            certificate.show_expiry(&telemetry);
            serving.push(tokio::spawn(certificate.clone().follow(wall.clone(), telemetry)));
        }
        let metrics_address = metrics.as_ref().map(|(_, address)| *address);
        if let Some((metrics, _)) = metrics {
            let routes = metrics_router(health.clone(), exporter);
            serving.push(tokio::spawn(async move { said(serve(metrics, routes).await) }));
        }
        let routes =
            router(health).merge(routes::without_api(&config.roles)).merge(routes::without_stream(&config.roles));
        let port = Port::new(listener, certificate, steady);
        serving.push(tokio::spawn(async move { said(serve(port, routes).await) }));
        Ok(Self { address, metrics_address, stopping, takers, serving })
    }

    /// Stops: what was taken is answered, and no more is taken.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        self.takers.shutdown().await;
        for task in self.serving {
            task.abort();
        }
    }
}

fn order(opens: Option<bool>) -> Order {
    if opens == Some(false) { Order::Rest } else { Order::Take }
}

/// Has photos taken as long as they open.
async fn take_what_opens(mut roster: watch::Receiver<Roster>, orders: watch::Sender<Order>) {
    while roster.changed().await.is_ok() {
        let next = order(roster.borrow_and_update().opens);
        orders.send_if_modified(|order| *order != Order::Stop && std::mem::replace(order, next) != next);
    }
}

fn said(ended: std::io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(%error, "how the node is, is no longer served");
    }
}

async fn connect(config: &Config, steady: &Clock) -> Result<Redis, StartError> {
    let address = config.redis.address().map_err(|(key, why)| StartError::of(key)(why))?;
    let address = address.ok_or_else(|| StartError::of("redis.url")("is not given, and photos wait there"))?;
    Redis::connect(address, steady.clone()).await.map_err(StartError::of("redis.url"))
}

/// Where photos are kept. A store that is away does not keep the node from starting.
async fn readable_evidence(config: &Config) -> Result<Evidence, EvidenceError> {
    let evidence = Evidence::configured(config)?;
    match evidence.check_reading().await {
        Err(error) if error.is_passing() => Ok(evidence),
        checked => checked.map(|()| evidence),
    }
}

impl Health {
    async fn report(&self) -> Report {
        let running = !*self.stopping.borrow();
        let roster = self.roster.borrow().clone();
        Report::of(Checks {
            running,
            database: None,
            models: Some(self.pool.works()),
            vision: Some(self.pool.running().clone()),
            redis: Some(self.redis.answers_within(REDIS_LIMIT_MS).await),
            lease: None,
            clock: None,
            keys: Some(roster.opens != Some(false)),
            missing_roles: roster.missing,
        })
    }
}

fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async |State(health): State<Arc<Health>>| answer(health.report().await)))
        .with_state(health)
}

fn metrics_router(health: Arc<Health>, exporter: Exporter) -> Router {
    let scraped = Arc::new((health.clone(), exporter));
    let metrics = get(async |State(scraped): State<Arc<(Arc<Health>, Exporter)>>| {
        let (health, exporter) = scraped.as_ref();
        let roles_missing = health.roster.borrow().missing.len();
        let text = exporter.text(Snapshot { ready: health.report().await.ready, roles_missing, ..Snapshot::default() });
        ([(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)], text)
    });
    Router::new().route("/metrics", metrics).with_state(scraped).merge(router(health))
}
