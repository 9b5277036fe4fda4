//! A data folder with enrolled learners, and sessions opened as a platform opens them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::Place;
use super::load::Ticket;
use crate::auth::api_key::ApiKey;
use crate::auth::keys::{DataKey, Keys};
use crate::clock::{Clock, Entropy};
use crate::store::Store;
use crate::store::enrolled_photos::seal_template;
use crate::store::populate::{CALM_PACK, Pupil, School};
use crate::store::postgres::{Address, CONNECTIONS_LEAST};
use crate::vision::people::People;
use crate::vision::{Asker, Turn, Urgency, VisionConfig, VisionPool};

/// Requests that are under way at the same time.
const REQUESTS: usize = 32;
/// A lesson that no benchmark sees the end of: a hundred hours.
const DURATION_MS: i64 = 360_000_000;

/// What nodes share besides their sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    /// how many they are beside the first
    pub(super) further_nodes: usize,
    /// where records and journal are, if not in the data folder
    pub(super) database_url: Option<String>,
    /// needed by several nodes
    pub(super) redis_url: Option<String>,
}

/// A data folder, or one for each of several nodes.
pub(super) struct Ground {
    folder: tempfile::TempDir,
    key: ApiKey,
    pupils: usize,
}

/// A session as the platform that opened it knows it.
#[derive(Clone, Debug)]
pub(super) struct Platform {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Ground {
    /// A new one, with `pupils` learners.
    pub(super) async fn prepare(place: &Place, pupils: usize, shared: &Shared) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&place.folder)?;
        let folder = tempfile::Builder::new().prefix("invigil-bench-").tempdir_in(&place.folder)?;
        let models = place.models.canonicalize();
        let models = models.with_context(|| format!("{}; run `make models`", place.models.display()))?;
        std::fs::write(folder.path().join("pack.toml"), CALM_PACK)?;
        let ground = Self { folder, key: ApiKey::generate(&Entropy::system()), pupils };
        for node in 0..=shared.further_nodes {
            std::fs::create_dir(ground.data_of(node))?;
            std::fs::write(ground.config(node), ground.settings(node, &models, shared))?;
        }
        ground.populate(&models, shared).await?;
        // What one node makes at its first start, each of them must have.
        for node in 1..=shared.further_nodes {
            for file in std::fs::read_dir(ground.data())? {
                let file = file?;
                std::fs::copy(file.path(), ground.data_of(node).join(file.file_name()))?;
            }
        }
        Ok(ground)
    }

    /// Limits that keep one client from taking the server for itself would stop this one.
    fn settings(&self, node: usize, models: &Path, shared: &Shared) -> String {
        let (data, pack) = (self.data_of(node), self.folder.path().join("pack.toml"));
        let mut settings = format!(
            "listen = \"127.0.0.1:0\"\ndata_folder = {data:?}\nmodels_folder = {models:?}\npolicies = [{pack:?}]\n\
             token_lifetime_ms = 86400000\nvision.workers = 1\nlimits.events_per_second = 10000\n\
             limits.events_burst = 1000000\nlimits.requests_per_second = 0\nlimits.openings_per_minute = 0\n\
             limits.address_requests_per_second = 0\nlimits.handshakes_per_second = 0\n"
        );
        for (key, url) in [("database.url", &shared.database_url), ("redis.url", &shared.redis_url)] {
            if let Some(url) = url {
                settings += &format!("{key} = {url:?}\n");
            }
        }
        if shared.redis_url.is_some() {
            settings += &format!("evidence.url = \"file://{}\"\n", self.folder.path().join("photos").display());
        }
        settings
    }

    async fn populate(&self, models: &Path, shared: &Shared) -> anyhow::Result<()> {
        let (data, entropy) = (self.data(), Entropy::system());
        let keys = Keys::open_or_create(&data, &entropy)?;
        let template = template(models).await?;
        let school = School {
            platform: "platform".into(),
            key: self.key.hash(),
            project: "course".into(),
            lesson: "lesson".into(),
            duration_ms: DURATION_MS,
            policy: "calm".into(),
            pupils: (0..self.pupils).map(|number| pupil(&keys, &entropy, number, &template)).collect(),
            now_ms: Clock::system().now_ms(),
        };
        let store = match &shared.database_url {
            Some(url) => Store::connect(Address::parse(url, None)?, CONNECTIONS_LEAST, &data).await?,
            None => Store::open(&data)?,
        };
        Ok(store.populate(school).await?)
    }

    /// A node's configuration; the only one, or the first, has the number 0.
    pub(super) fn config(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("invigil-{node}.toml"))
    }

    /// The data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.data_of(0)
    }

    fn data_of(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("data-{node}"))
    }

    /// The platform's back end, as a client of the server at `address`.
    pub(super) fn platform(&self, address: SocketAddr) -> anyhow::Result<Platform> {
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Platform { http, base: format!("http://{address}/api/v1"), key: self.key.expose().to_owned() })
    }

    /// Opens a session for each of these learners, at each of the servers in turn, as [`super::load::Fleet`] connects.
    pub(super) async fn open_sessions(
        &self,
        servers: &[SocketAddr],
        pupils: std::ops::Range<usize>,
    ) -> anyhow::Result<Vec<Ticket>> {
        ensure!(pupils.end <= self.pupils, "there are {} learners", self.pupils);
        let platforms = servers.iter().map(|server| self.platform(*server)).collect::<anyhow::Result<Vec<_>>>()?;
        futures_util::stream::iter(pupils)
            .map(|number| platforms[number % platforms.len()].open_session(number))
            .buffered(REQUESTS)
            .try_collect()
            .await
    }
}

impl Platform {
    async fn open_session(&self, number: usize) -> anyhow::Result<Ticket> {
        let body = json!({"lesson": "lesson", "learner": learner_id(number)});
        let answer =
            self.http.post(format!("{}/sessions", self.base)).bearer_auth(&self.key).json(&body).send().await?;
        let opened: Value = checked(answer).await?.json().await?;
        let field = |name: &str| opened[name].as_str().map(str::to_owned).context("an answer without its fields");
        Ok(Ticket { session: field("session")?, token: field("token")? })
    }

    /// Closes a session; its verdict is on record then.
    pub(super) async fn close(&self, session: &str) -> anyhow::Result<()> {
        let url = format!("{}/sessions/{session}/close", self.base);
        let answer = self.http.post(url).bearer_auth(&self.key).json(&json!({"reason": "left"})).send().await?;
        checked(answer).await.map(drop)
    }

    /// The log of a session, byte for byte.
    pub(super) async fn log(&self, session: &str) -> anyhow::Result<Vec<u8>> {
        let url = format!("{}/sessions/{session}/log", self.base);
        Ok(checked(self.http.get(url).bearer_auth(&self.key).send().await?).await?.bytes().await?.to_vec())
    }

    /// The verdict of a closed session.
    pub(super) async fn verdict(&self, session: &str) -> anyhow::Result<Value> {
        let url = format!("{}/sessions/{session}/verdict", self.base);
        Ok(checked(self.http.get(url).bearer_auth(&self.key).send().await?).await?.json().await?)
    }
}

async fn checked(answer: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    let (status, url) = (answer.status(), answer.url().clone());
    if status.is_success() {
        return Ok(answer);
    }
    anyhow::bail!("{url}: {status}: {}", answer.text().await.unwrap_or_default())
}

fn learner_id(number: usize) -> String {
    // As long as the identifiers that the server makes.
    format!("00000000-0000-7000-8000-{number:012}")
}

fn pupil(keys: &Keys, entropy: &Entropy, number: usize, template: &[u8]) -> Pupil {
    let (id, key) = (learner_id(number), DataKey::generate(entropy));
    Pupil { data_key: keys.wrap(entropy, &id, &key), template: seal_template(&key, entropy, &id, 1, template), id }
}

/// One enrolled face, which all learners share: nobody is photographed here.
async fn template(models: &Path) -> anyhow::Result<Vec<u8>> {
    let people = People::embedded();
    let person = people.people.first().context("models/people.json is empty")?;
    let path = person.enrol_path(models);
    let photo = std::fs::read(&path).with_context(|| format!("{}; run `make models`", path.display()))?.into();
    let turn = Turn { urgency: Urgency::Later, deadline_ms: i64::MAX, asker: Asker::Node };
    let pool =
        VisionPool::start(VisionConfig { models: models.to_owned(), workers: 1, queue: 1, ..VisionConfig::default() })?;
    Ok(pool.enrol(turn, photo).await?.to_bytes())
}
