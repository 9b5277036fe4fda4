//! A server from its start to its end: puts the parts together, takes up what was open, and stops without losing
//! anything.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

mod doors;
mod guards;
mod health;
mod listener;
mod nodes;
mod reporting;
mod routes;
pub mod tls;
mod vision_node;

pub use guards::watch_machine_clock;
pub use vision_node::VisionNode;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};

use crate::actor::{Registry, Services};
use crate::api::problem::Problem;
use crate::api::{self, ApiState, forgetting};
use crate::auth::api_key::ensure_operator_key_or;
use crate::auth::keys::Keys;
use crate::clock::{Clock, Entropy, Stopwatch};
use crate::cluster::Turns;
use crate::cluster::clocks::CLOCK_LIMIT_MS;
use crate::cluster::redis::{Order, Received, Roster, SharedBuckets};
use crate::config::{Config, Role};
use crate::console;
use crate::delivery::{Delivery, address_guard};
use crate::faces::{Desk, Elsewhere, Faces, Takers, Ways};
use crate::findings::{self, Detectors, Inbox, Peers, Reporter};
use crate::gateway::address::{Network, client_address};
use crate::gateway::rates::Rates;
use crate::gateway::{self, Gateway};
use crate::policy::{Policies, Policy};
use crate::report::Reporting;
use crate::retention::{self, Retention};
use crate::sdk;
use crate::search::{Means, Searcher};
use crate::store::evidence::{Evidence, EvidenceError};
use crate::store::postgres::{Hold, Sharing};
use crate::store::{Store, Writing};
use crate::telemetry::{Exporter, Telemetry};
use crate::vision::{VisionConfig, VisionPool};

/// How often room is made for the journal of the months to come, ms: a month is made three months ahead.
const ROOM_INTERVAL_MS: i64 = 6 * 3_600_000;
/// How long a stopping server waits for connections to say goodbye, ms.
const GOODBYE_LIMIT_MS: i64 = 5_000;
/// How long one of several waits before it lets go of its sessions all the same, so that others have them soon, ms.
const GOODBYE_TO_OTHERS_LIMIT_MS: i64 = 1_500;

/// How long opening a session may take, ms.
const OPENING_LIMIT_MS: i64 = 10_000;

/// What a server is started with.
pub struct ServerConfig {
    /// as configured
    pub config: Config,
    /// the clock of sessions; the machine's, unless somebody shows or tests a session in less than its time
    pub clock: Clock,
    /// the clock of tokens, webhooks and signatures
    pub wall: Clock,
    /// where keys, identifiers and seeds come from
    pub entropy: Entropy,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct StartError {
    /// the part that failed
    what: String,
    /// what it said
    why: String,
}

impl StartError {
    fn of<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |why| Self { what, why: why.to_string() }
    }
}

/// A server that serves.
pub struct Server {
    /// where it listens
    pub address: SocketAddr,
    /// where Prometheus finds its metrics, if it does
    pub metrics_address: Option<SocketAddr>,
    /// how clients reach it
    pub public_url: String,
    /// the operator's key, and the file that keeps it
    pub operator_key: String,
    /// where it lies
    pub operator_key_file: PathBuf,
    /// sessions that were open when the last server stopped
    pub recovered: usize,
    stopping: watch::Sender<bool>,
    sessions: Registry,
    gateway: Arc<Gateway>,
    services: Arc<Services>,
    delivery: Delivery,
    reporting: Option<Reporting>,
    /// those who look at photos of other nodes
    takers: Option<Takers>,
    retention: Option<Retention>,
    findings: Reporter,
    detectors: Detectors,
    searcher: Searcher,
    serving: JoinHandle<std::io::Result<()>>,
    /// what runs beside it until the end: metrics, and the eye on the certificate
    beside: Vec<JoinHandle<()>>,
    store: Store,
    wall: Clock,
    /// keeps every other process out of the data folder
    _lock: std::fs::File,
    /// and servers that do not share it out of a database elsewhere
    _hold: Option<Hold>,
}

impl Server {
    /// Starts a server: keys, store, models, sessions, delivery, and at last the listener.
    ///
    /// # Errors
    /// [`StartError`] names the part that failed.
    pub async fn start(setup: ServerConfig) -> Result<Self, StartError> {
        let folder = setup.config.data_folder.clone();
        private_folder(&folder).map_err(StartError::of(format!("data_folder {}", folder.display())))?;
        let lock = guards::take(&folder, &setup.config.keys)
            .map_err(StartError::of(format!("data_folder {}", folder.display())))?;
        let listen = setup.config.listen;
        let listener = TcpListener::bind(listen).await.map_err(StartError::of(format!("listen {listen}")))?;
        let address = listener.local_addr().map_err(StartError::of("listen"))?;
        let metrics = bind_metrics(&setup.config).await?;
        let certificate = load_certificate(&setup.config)?;
        let public_url = setup.config.public_url_of(address);
        let (services, started) = start_services(&setup, &public_url).await?;
        let photos = doors::Photos(services.clone());
        forgetting::resume(&services.store, &photos, services.wall.now_ms())
            .await
            .map_err(StartError::of("forgotten learners"))?;
        let (store, wall, entropy) = (&services.store, &services.wall, &services.entropy);
        let given = setup.config.keys.operator().map_err(StartError::of("keys.operator"))?;
        let operator_key = ensure_operator_key_or(given.as_deref(), &folder, store, wall, entropy)
            .await
            .map_err(StartError::of("operator key"))?;
        let (turns, keep_turns) = nodes::delivery_turns(&services);
        let bus = services.cluster.member().map(|member| member.bus.clone());
        let peers = Peers { turns: turns.clone(), bus };
        let detectors = Detectors::start(
            store.clone(),
            services.clock.clone(),
            wall.clone(),
            entropy.clone(),
            started.inbox,
            peers,
        );
        let detectors = detectors.await.map_err(StartError::of("risk detectors"))?;
        let searcher = start_searcher(&services, turns.clone());
        let sessions = Registry::new(services.clone());
        let recovered = sessions.recover().await.map_err(StartError::of("open sessions"))?;
        let mut beside = vec![tokio::spawn(make_room(store.clone(), services.clock.clone()))];
        beside.extend(keep_turns.map(tokio::spawn));
        let (roster, signed_in) = started.roster.unzip();
        beside.extend(signed_in);
        beside.push(tokio::spawn(nodes::tell_deliverer(services.clone(), turns.clone())));
        beside.push(tokio::spawn(nodes::compare_clocks(services.clone())));
        beside.extend(started.received.map(|received| tokio::spawn(sessions.clone().tend(received))));
        let (webhook, deliver) = (setup.config.webhook.clone(), services.deliver.clone());
        let delivery = Delivery::start(
            store.clone(),
            services.keys.clone(),
            wall.clone(),
            entropy.clone(),
            webhook,
            deliver,
            turns.clone(),
        )
        .map_err(StartError::of("webhooks"))?;
        // Whether anything is reported, and how long photos stay, is for nodes with that role to know.
        let delivers = services.roles.has(Role::Delivery);
        let reporting = if delivers { reporting::start(&setup.config, &services, turns.clone()).await? } else { None };
        let retention = if delivers { start_retention(&setup.config, &services) } else { None };
        let (stopping, stop_seen) = watch::channel(false);
        let lifetime_ms = setup.config.token_lifetime_ms;
        // Limits of rates take the clock that never jumps.
        let (limits, telemetry) = (&setup.config.limits, services.telemetry.clone());
        let rates = Rates::new(limits, services.clock.clone(), telemetry.clone());
        let rates = Arc::new(started.buckets.into_iter().fold(rates, Rates::shared));
        let gateway = Gateway::new(services.clone(), sessions.clone(), lifetime_ms, stop_seen.clone(), rates.clone());
        let health = health::Health::new(services.clone(), stop_seen.clone(), roster);
        let roles = &services.roles;
        let api = if roles.has(Role::Api) {
            api_router(&setup.config, &services, &sessions, &public_url, rates)
        } else {
            routes::without_api(roles)
        };
        let stream =
            if roles.has(Role::Gateway) { gateway::router(gateway.clone()) } else { routes::without_stream(roles) };
        let routes = api
            .layer(middleware::from_fn_with_state(services.wall.clone(), refuse_late_opening))
            .layer(middleware::from_fn_with_state(stop_seen.clone(), refuse_while_stopping))
            .layer(middleware::from_fn_with_state(telemetry.clone(), measure))
            .merge(stream)
            .merge(sdk::router())
            .merge(console::router())
            .merge(health::router(health.clone()))
            .layer(middleware::from_fn_with_state(setup.config.trusted_proxies.clone().into(), note_address));
        let exporter = Exporter::new(
            &telemetry,
            services.store.meters(),
            services.faces.meters(),
            delivery.meters(),
            limits.connections_limit,
            services.wall.now_ms(),
        );
        let metrics_address = metrics.as_ref().map(|(_, address)| *address);
        if let Some((metrics, _)) = metrics {
            let scraped = health::Scraped { health, exporter, gateway: gateway.clone(), sessions: sessions.clone() };
            let routes = health::metrics_router(scraped);
            beside.push(tokio::spawn(async move {
                if let Err(error) = axum::serve(metrics, routes).await {
                    tracing::error!(%error, "metrics are no longer served");
                }
            }));
        }
        if let Some(certificate) = &certificate {
            certificate.show_expiry(&telemetry);
            beside.push(tokio::spawn(certificate.clone().follow(services.wall.clone(), telemetry)));
        }
        let port = listener::Port::new(listener, certificate, services.clock.clone());
        let wall = services.wall.clone();
        Ok(Self {
            address,
            metrics_address,
            public_url,
            operator_key: operator_key.expose().to_owned(),
            operator_key_file: setup.config.keys.operator_file.clone().unwrap_or_else(|| folder.join("operator.key")),
            recovered,
            stopping,
            sessions,
            gateway,
            delivery,
            reporting,
            takers: started.takers,
            retention,
            findings: services.findings.clone(),
            services: services.clone(),
            detectors,
            searcher,
            serving: tokio::spawn(serve(port, routes, stop_seen)),
            beside,
            store: services.store.clone(),
            wall,
            _lock: lock,
            _hold: started.hold,
        })
    }

    /// Sessions that are live now.
    pub fn live_sessions(&self) -> usize {
        self.sessions.count()
    }

    /// Tells the risk detectors, and knows when what they were told is on record.
    pub fn findings(&self) -> &Reporter {
        &self.findings
    }

    /// Webhook attempts that were recorded so far, as a signal.
    pub fn deliveries_recorded(&self) -> watch::Receiver<u64> {
        self.delivery.recorded()
    }

    /// Whether writes reach the disk, as a signal: what readiness must say.
    pub fn writing(&self) -> watch::Receiver<Writing> {
        self.store.writing()
    }

    /// Returns when this process can never write again, and must end so that another takes its place.
    pub async fn failed(&self) {
        let mut writing = self.store.writing();
        if writing.wait_for(|writing| *writing == Writing::Dead).await.is_err() {
            // The writer ended without a failure: the server is stopping.
            std::future::pending().await
        }
    }

    /// How often all due searches of enrolled faces were made, as a signal.
    pub fn face_searches(&self) -> watch::Receiver<u64> {
        self.searcher.rounds()
    }

    /// Has the searches made that are due, without waiting for the next look.
    pub fn search_faces(&self) {
        self.store.face_searches_asked().notify_one();
    }

    /// Attempts at reports that were recorded so far, as a signal; none while reporting is off.
    pub fn reports_recorded(&self) -> Option<watch::Receiver<u64>> {
        self.reporting.as_ref().map(Reporting::recorded)
    }

    /// Walks through what is past its retention, as a signal; none while everything is kept for ever.
    pub fn retention_walks(&self) -> Option<watch::Receiver<u64>> {
        self.retention.as_ref().map(Retention::walks)
    }

    /// Stops: clients are told to reconnect, sessions rest in the journal, deliveries under way end.
    pub async fn stop(self) {
        let _ = self.stopping.send(true);
        self.takers.iter().for_each(Takers::stop);
        let (serving, gateway) = (self.serving, self.gateway);
        let abort = serving.abort_handle();
        // The listener is done with a WebSocket once it is upgraded; the gateway knows when the last has said goodbye.
        let goodbyes = async {
            let _ = serving.await;
            gateway.drained().await;
        };
        let mut goodbyes = std::pin::pin!(goodbyes);
        let mut said = false;
        if self.services.cluster.member().is_some() {
            tokio::select! {
                () = &mut goodbyes => said = true,
                () = self.wall.sleep_ms(GOODBYE_TO_OTHERS_LIMIT_MS) => {}
            }
            self.sessions.leave().await;
        }
        tokio::select! {
            () = goodbyes, if !said => {}
            () = self.wall.sleep_ms(GOODBYE_LIMIT_MS), if !said => abort.abort(),
            else => {}
        }
        self.sessions.stop().await;
        self.detectors.shutdown().await;
        self.searcher.shutdown().await;
        self.delivery.shutdown().await;
        if let Some(reporting) = self.reporting {
            reporting.shutdown().await;
        }
        if let Some(retention) = self.retention {
            retention.shutdown().await;
        }
        if let Some(takers) = self.takers {
            takers.shutdown().await;
        }
        for task in self.beside {
            task.abort();
        }
    }
}

/// What is handed to the parts that start after the services.
struct Started {
    inbox: Inbox,
    buckets: Option<SharedBuckets>,
    received: Option<mpsc::Receiver<Received>>,
    takers: Option<Takers>,
    /// what all nodes take on, and what says it of this one
    roster: Option<(watch::Receiver<Roster>, JoinHandle<()>)>,
    hold: Option<Hold>,
}

/// Keys, store, photos, models, packs, other nodes: what sessions, gateway and API share.
async fn start_services(setup: &ServerConfig, public_url: &str) -> Result<(Arc<Services>, Started), StartError> {
    let ServerConfig { config, clock, wall, entropy } = setup;
    let folder = &config.data_folder;
    let keys = Keys::open(folder, &config.keys, entropy).map_err(StartError::of("keys"))?;
    let store = open_store(config).await?;
    let (sharing, tolerated_ms) =
        if config.redis.is_given() { (Sharing::Nodes, CLOCK_LIMIT_MS) } else { (Sharing::Alone, 0) };
    let hold = store.take(sharing).await.map_err(StartError::of("database"))?;
    guards::check_keys(&store, &keys).await.map_err(StartError::of("keys"))?;
    keys.note(folder).map_err(StartError::of("keys"))?;
    let clock = guards::session_clock(clock, &store, tolerated_ms).await.map_err(StartError::of("database"))?;
    let evidence = open_evidence(config).await.map_err(StartError::of("photos"))?;
    let policies = known_policies(config, &store).await?;
    let (findings, inbox) = findings::channel();
    let pool = if config.roles.has(Role::Vision) { Some(Arc::new(start_vision(config)?)) } else { None };
    // Last, because others count on a node that has joined.
    let joined = nodes::join(setup, &store).await?;
    let (faces, takers) = who_looks(setup, pool, &keys, &evidence, &joined)?;
    let roster = joined.redis.map(|redis| nodes::sign_in(setup, redis, keys.master().clone()));
    let services = Services {
        store,
        evidence,
        keys: Arc::new(keys),
        faces,
        recent_photos: Default::default(),
        presence: joined.presence,
        cluster: joined.cluster,
        roles: config.roles.clone(),
        findings,
        policies,
        clock,
        wall: wall.clone(),
        entropy: entropy.clone(),
        limits: config.limits.clone(),
        deliver: Arc::new(Notify::new()),
        telemetry: Arc::new(Telemetry::new(api::operations())),
        source: public_url.to_owned(),
    };
    let (buckets, received) = (joined.buckets, joined.received);
    Ok((Arc::new(services), Started { inbox, buckets, received, takers, roster, hold }))
}

/// Who looks at photos of this node, and who of this node looks at those of others.
fn who_looks(
    setup: &ServerConfig,
    pool: Option<Arc<VisionPool>>,
    keys: &Keys,
    evidence: &Evidence,
    joined: &nodes::Joined,
) -> Result<(Faces, Option<Takers>), StartError> {
    let (wall, entropy, steady) = (setup.wall.clone(), setup.entropy.clone(), Clock::scaled(1));
    let others = joined.redis.as_ref().zip(joined.cluster.member());
    match (pool, others) {
        (Some(pool), None) => Ok((Faces::here(pool, wall), None)),
        (Some(pool), Some((redis, member))) => {
            let (evidence, master) = (evidence.clone(), keys.master().clone());
            let desk = Desk { pool: pool.clone(), evidence, master, entropy, steady };
            let takers = Takers::start(desk, redis, &member.bus, member.node.id(), watch::Sender::new(Order::Take));
            Ok((Faces::here(pool, wall), Some(takers)))
        }
        (None, Some((redis, member))) => {
            let elsewhere = Elsewhere::new(Ways {
                redis: redis.clone(),
                bus: member.bus.clone(),
                node: member.node.id().to_owned(),
                master: keys.master().clone(),
                entropy,
                steady,
                queue_limit: setup.config.vision.queue_limit,
            });
            Ok((Faces::elsewhere(elsewhere, wall), None))
        }
        (None, None) => {
            Err(StartError::of("roles")("vision is left out, and there is no other node to look at photos"))
        }
    }
}

/// Where photos are kept. A store that will never do keeps the server from starting; one that is away does not: sessions
/// go on without it.
async fn open_evidence(config: &Config) -> Result<Evidence, EvidenceError> {
    let evidence = Evidence::configured(config)?;
    evidence.remove_drafts()?;
    match evidence.check().await {
        // It has said so itself.
        Err(error) if error.is_passing() => Ok(evidence),
        checked => checked.map(|()| evidence),
    }
}

/// Deletes old photos, deliveries and tokens, if they do not all stay for ever.
fn start_retention(config: &Config, services: &Arc<Services>) -> Option<Retention> {
    let (keep_photos_ms, keep_deliveries_ms) = (config.evidence.retention_ms(), config.webhook.keep_ms());
    keep_photos_ms.or(keep_deliveries_ms)?;
    let (store, evidence, clock) = (services.store.clone(), services.evidence.clone(), services.clock.clone());
    Some(Retention::start(retention::Parts { store, evidence, clock, keep_photos_ms, keep_deliveries_ms }))
}

/// Keeps room in the journal for the months to come.
async fn make_room(store: Store, clock: Clock) {
    loop {
        if let Err(error) = store.make_room(clock.now_ms()).await {
            tracing::warn!(%error, "the journal's months are not in order yet");
        }
        clock.sleep_ms(ROOM_INTERVAL_MS).await;
    }
}

fn start_searcher(services: &Services, turns: Turns) -> Searcher {
    let means = Means {
        store: services.store.clone(),
        keys: services.keys.clone(),
        policies: services.policies.clone(),
        clock: services.clock.clone(),
        wall: services.wall.clone(),
        entropy: services.entropy.clone(),
    };
    Searcher::start(means, turns)
}

/// The store that the configuration names.
async fn open_store(config: &Config) -> Result<Store, StartError> {
    let refused = |(key, why)| StartError::of("database")(format!("{key}: {why}"));
    let Some(address) = config.database.address().map_err(refused)? else {
        return Store::open(&config.data_folder).map_err(StartError::of("database"));
    };
    let connecting = Store::connect(address, config.database.connections_limit, &config.data_folder);
    connecting.await.map_err(StartError::of("database"))
}

fn api_router(
    config: &Config,
    services: &Arc<Services>,
    sessions: &Registry,
    public_url: &str,
    rates: Arc<Rates>,
) -> axum::Router {
    let webhook = config.webhook.clone();
    api::router(ApiState {
        store: services.store.clone(),
        keys: services.keys.clone(),
        entropy: services.entropy.clone(),
        clock: services.wall.clone(),
        sessions: Arc::new(sessions.clone()),
        faces: Arc::new(doors::Faces(services.clone())),
        photos: Arc::new(doors::Photos(services.clone())),
        public_url: public_url.to_owned(),
        policies: services.policies.names(),
        packs: Arc::new(services.policies.clone()),
        allow_http_webhooks: config.webhook.allow_http,
        webhook_guard: Arc::new(move |url| {
            address_guard::check_url(url.as_str(), &webhook).map(drop).map_err(|error| error.to_string())
        }),
        sheets: Arc::new(Semaphore::new(api::ledger::SHEETS_LIMIT)),
        face_searches: Arc::new(Semaphore::new(api::face_searches::SEARCHES_LIMIT)),
        limits: api::Limits {
            json_bytes: config.limits.body_bytes_limit,
            photo_bytes: config.limits.photo_bytes_limit,
            token_ms: config.token_lifetime_ms,
            ..api::Limits::default()
        },
        rates,
        passwords: Default::default(),
        deliver: services.deliver.clone(),
        keep_photos_ms: config.evidence.retention_ms(),
        board: Default::default(),
        allow_localhost_origins: config.web.allow_localhost_origins,
    })
}

async fn serve(port: listener::Port, routes: axum::Router, mut stopping: watch::Receiver<bool>) -> std::io::Result<()> {
    axum::serve(port, routes.into_make_service_with_connect_info::<listener::Peer>())
        .with_graceful_shutdown(async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        })
        .await
}

async fn bind_metrics(config: &Config) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let Some(listen) = config.metrics.listen else { return Ok(None) };
    let failed = || format!("metrics.listen {listen}");
    let listener = TcpListener::bind(listen).await.map_err(StartError::of(failed()))?;
    let address = listener.local_addr().map_err(StartError::of(failed()))?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "metrics are not on loopback: whoever reaches this address can read them");
    }
    Ok(Some((listener, address)))
}

fn load_certificate(config: &Config) -> Result<Option<tls::Certificate>, StartError> {
    let (Some(certificate), Some(key)) = (&config.tls.certificate_file, &config.tls.key_file) else {
        return Ok(None);
    };
    tls::Certificate::load(certificate, key).map(Some).map_err(StartError::of("tls"))
}

/// Notes whose address a request has, for limits and for whoever asks.
async fn note_address(
    State(trusted): State<Arc<[Network]>>,
    ConnectInfo(listener::Peer(peer)): ConnectInfo<listener::Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = client_address(request.headers(), peer.ip(), &trusted);
    request.extensions_mut().insert(address);
    next.run(request).await
}

/// Counts requests of the API, by the route and not by the path, which names things.
async fn measure(State(telemetry): State<Arc<Telemetry>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answering = Stopwatch::start();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    telemetry.requests.count(method.as_str(), route, response.status().as_u16(), answering.elapsed());
    response
}

/// A request on a connection that was open before: what it begins would not be ended here.
async fn refuse_while_stopping(
    State(stopping): State<watch::Receiver<bool>>,
    request: Request,
    next: Next,
) -> Response {
    if *stopping.borrow() {
        return Problem::too_busy("the server is stopping").into_response();
    }
    next.run(request).await
}

/// Opening a session that takes too long, because the database stands still, say: a learner waits for it, and their platform
/// does better to come again. Should it be opened all the same, the next opening ends it.
async fn refuse_late_opening(State(wall): State<Clock>, request: Request, next: Next) -> Response {
    let is_opening = request.method() == Method::POST
        && request.extensions().get::<MatchedPath>().is_some_and(|route| route.as_str().ends_with("/sessions"));
    if !is_opening {
        return next.run(request).await;
    }
    tokio::select! {
        response = next.run(request) => response,
        () = wall.sleep_ms(OPENING_LIMIT_MS) => {
            tracing::warn!(limit_ms = OPENING_LIMIT_MS, "a session was not opened in time: the database is too slow");
            Problem::too_busy("the database is too slow now").into_response()
        }
    }
}

fn private_folder(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // A power cut right after the first start must not lose the folder with all that is durable in it.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(std::path::Path::new(".")))?.sync_all()
}

fn start_vision(config: &Config) -> Result<VisionPool, StartError> {
    let default = VisionConfig::default();
    let workers = if config.vision.workers == 0 { default.workers } else { config.vision.workers };
    let (queue, wanted) = (config.vision.queue_limit, config.vision.wanted());
    let vision = VisionConfig { models: config.models_folder.clone(), workers, queue, wanted, ..default };
    let pool = VisionPool::start(vision).map_err(StartError::of("face models"))?;
    tracing::info!(workers, "photos are looked at with {}", pool.running());
    Ok(pool)
}

/// The packs that are built in and those that are configured.
///
/// # Errors
/// When a pack cannot be read, or a server cannot keep its schedule; the message names the file.
pub fn read_policies(config: &Config) -> Result<Policies, StartError> {
    let read = |path: &PathBuf| {
        let what = || format!("policy {}", path.display());
        let text = std::fs::read_to_string(path).map_err(StartError::of(what()))?;
        let policy = Policy::from_toml(&text).map_err(StartError::of(what()))?;
        policy.check_schedule().map_err(StartError::of(what()))?;
        Ok(policy)
    };
    let configured = config.policies.iter().map(read).collect::<Result<_, _>>()?;
    Policies::new(configured).map_err(StartError::of("policies"))
}

/// These, and those under which sessions were opened.
async fn known_policies(config: &Config, store: &Store) -> Result<Policies, StartError> {
    let mut policies = read_policies(config)?;
    for (label, text) in store.policy_texts().await.map_err(StartError::of("kept policies"))? {
        // One text that cannot be read must not keep the server from starting; its open sessions are logged as they
        // cannot be taken up.
        if let Err(error) = policies.keep(&label, &text) {
            tracing::error!(label, %error, "a kept policy pack cannot be read");
        }
    }
    Ok(policies)
}
