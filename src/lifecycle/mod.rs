//! A server from its start to its end: puts the parts together, takes up what was open, and stops without losing
//! anything.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

mod doors;
mod guards;
mod reporting;

pub use guards::watch_machine_clock;

use crate::actor::{Registry, Services};
use crate::api::{self, ApiState, forgetting};
use crate::auth::api_key::ensure_operator_key;
use crate::auth::keys::Keys;
use crate::clock::{Clock, Entropy};
use crate::cluster::Presence;
use crate::config::Config;
use crate::delivery::{Delivery, address_guard};
use crate::findings::{self, Detectors, Inbox, Reporter};
use crate::gateway::peer::TrustedProxies;
use crate::gateway::{self, Gateway};
use crate::policy::{Policies, Policy};
use crate::report::Reporting;
use crate::store::evidence::{Evidence, PHOTOS_FOLDER};
use crate::store::{Store, Writing};
use crate::vision::{VisionConfig, VisionPool};

/// How long a stopping server waits for connections to say goodbye, ms.
const GOODBYE_LIMIT_MS: i64 = 5_000;

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
    delivery: Delivery,
    reporting: Option<Reporting>,
    findings: Reporter,
    detectors: Detectors,
    serving: JoinHandle<std::io::Result<()>>,
    store: Store,
    wall: Clock,
    /// keeps every other process out of the data folder
    _lock: std::fs::File,
}

impl Server {
    /// Starts a server: keys, store, models, sessions, delivery, and at last the listener.
    ///
    /// # Errors
    /// [`StartError`] names the part that failed.
    pub async fn start(setup: ServerConfig) -> Result<Self, StartError> {
        let folder = setup.config.data_folder.clone();
        private_folder(&folder).map_err(StartError::of(format!("data_folder {}", folder.display())))?;
        let lock = guards::take(&folder).map_err(StartError::of(format!("data_folder {}", folder.display())))?;
        let listen = setup.config.listen;
        let listener = TcpListener::bind(listen).await.map_err(StartError::of(format!("listen {listen}")))?;
        let address = listener.local_addr().map_err(StartError::of("listen"))?;
        let public_url = setup.config.public_url_of(address);
        let (services, inbox) = start_services(&setup, &public_url).await?;
        let photos = doors::Photos(services.clone());
        forgetting::resume(&services.store, &photos, services.wall.now_ms())
            .await
            .map_err(StartError::of("forgotten learners"))?;
        let (store, wall, entropy) = (&services.store, &services.wall, &services.entropy);
        let operator_key =
            ensure_operator_key(&folder, store, wall, entropy).await.map_err(StartError::of("operator key"))?;
        let detectors = Detectors::start(store.clone(), services.clock.clone(), wall.clone(), entropy.clone(), inbox);
        let detectors = detectors.await.map_err(StartError::of("risk detectors"))?;
        let sessions = Registry::new(services.clone());
        let recovered = sessions.recover().await.map_err(StartError::of("open sessions"))?;
        let (webhook, deliver) = (setup.config.webhook.clone(), services.deliver.clone());
        let delivery =
            Delivery::start(store.clone(), services.keys.clone(), wall.clone(), entropy.clone(), webhook, deliver)
                .map_err(StartError::of("webhooks"))?;
        let reporting = reporting::start(&setup.config, &services).await?;
        let (stopping, stop_seen) = watch::channel(false);
        let lifetime_ms = setup.config.token_lifetime_ms;
        let proxies = TrustedProxies::parse(setup.config.trusted_proxies.iter().map(String::as_str))
            .map_err(StartError::of("trusted_proxies"))?;
        let gateway = Gateway::new(services.clone(), sessions.clone(), lifetime_ms, proxies, stop_seen.clone());
        let api = api_router(&setup.config, &services, &sessions, &public_url);
        let routes = api.merge(gateway::router(gateway.clone()));
        let (store, wall) = (services.store.clone(), services.wall.clone());
        Ok(Self {
            address,
            public_url,
            operator_key: operator_key.expose().to_owned(),
            operator_key_file: folder.join("operator.key"),
            recovered,
            stopping,
            sessions,
            gateway,
            delivery,
            reporting,
            findings: services.findings.clone(),
            detectors,
            serving: tokio::spawn(serve(listener, routes, stop_seen)),
            store,
            wall,
            _lock: lock,
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

    /// Attempts at reports that were recorded so far, as a signal; none while reporting is off.
    pub fn reports_recorded(&self) -> Option<watch::Receiver<u64>> {
        self.reporting.as_ref().map(Reporting::recorded)
    }

    /// Stops: clients are told to reconnect, sessions rest in the journal, deliveries under way end.
    pub async fn stop(self) {
        let _ = self.stopping.send(true);
        let (serving, gateway) = (self.serving, self.gateway);
        let abort = serving.abort_handle();
        // The listener is done with a WebSocket once it is upgraded; the gateway knows when the last has said goodbye.
        let goodbyes = async {
            let _ = serving.await;
            gateway.drained().await;
        };
        tokio::select! {
            () = goodbyes => {}
            () = self.wall.sleep_ms(GOODBYE_LIMIT_MS) => abort.abort(),
        }
        self.sessions.stop().await;
        self.detectors.shutdown().await;
        self.delivery.shutdown().await;
        if let Some(reporting) = self.reporting {
            reporting.shutdown().await;
        }
    }
}

/// Keys, store, photos, models, packs: what sessions, gateway and API share.
async fn start_services(setup: &ServerConfig, public_url: &str) -> Result<(Arc<Services>, Inbox), StartError> {
    let ServerConfig { config, clock, wall, entropy } = setup;
    let folder = &config.data_folder;
    let keys = Keys::open_or_create(folder, entropy).map_err(StartError::of("keys"))?;
    let store = Store::open(folder).map_err(StartError::of("database"))?;
    guards::check_keys(folder, &keys).map_err(StartError::of("keys"))?;
    let clock = guards::session_clock(clock, &store).await.map_err(StartError::of("database"))?;
    let evidence = Evidence::open(&folder.join(PHOTOS_FOLDER)).map_err(StartError::of("photos"))?;
    evidence.remove_drafts().map_err(StartError::of("photos"))?;
    let policies = known_policies(config, &store).await?;
    let (findings, inbox) = findings::channel();
    let services = Services {
        store,
        evidence,
        keys: Arc::new(keys),
        vision: start_vision(config)?,
        presence: Presence::default(),
        findings,
        policies,
        clock,
        wall: wall.clone(),
        entropy: entropy.clone(),
        limits: config.limits.clone(),
        deliver: Arc::new(Notify::new()),
        source: public_url.to_owned(),
    };
    Ok((Arc::new(services), inbox))
}

fn api_router(config: &Config, services: &Arc<Services>, sessions: &Registry, public_url: &str) -> axum::Router {
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
        limits: api::Limits {
            json_bytes: config.limits.body_bytes_limit,
            photo_bytes: config.limits.photo_bytes_limit,
            token_ms: config.token_lifetime_ms,
            ..api::Limits::default()
        },
    })
}

async fn serve(
    listener: TcpListener,
    routes: axum::Router,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    use axum::serve::ListenerExt as _;
    // Acknowledgements are small and awaited: they must not wait for more to send.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        })
        .await
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
    let vision = VisionConfig { models: config.models_folder.clone(), workers, queue: config.vision.queue_limit };
    VisionPool::start(vision).map_err(StartError::of("face models"))
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
