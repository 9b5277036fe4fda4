//! Several nodes for the demo: processes of this program behind one address, with PostgreSQL, Redis and a folder for
//! photos in common. Any of them can be killed, and started again.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::run::{DemoError, DemoOptions};
use crate::clock::Stopwatch;
use crate::engines::{Postgres, Redis};
use crate::front::Front;

/// What a node says on its standard output, one word and one value a line: where it listens, first of all.
pub const SERVING: &str = "serving ";
/// How many sessions live there, whenever that has changed.
pub const SESSIONS: &str = "sessions ";

/// The nodes and what they share. Cheap to clone; all ends with the last clone.
#[derive(Clone)]
pub struct Nodes(Arc<Inner>);

struct Inner {
    nodes: Arc<[Node]>,
    public_url: String,
    operator_key: String,
    /// since learners began
    since_start: Mutex<Stopwatch>,
    happened: Mutex<Vec<Happening>>,
    _front: Front,
    /// dropped after the nodes
    _postgres: Postgres,
    _redis: Redis,
}

struct Node {
    /// its command line
    arguments: Vec<String>,
    state: Arc<Mutex<State>>,
    /// held while it is killed or started
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    address: Option<SocketAddr>,
    sessions: usize,
}

/// A node as it can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// it serves
    pub lives: bool,
    /// sessions that live there
    pub sessions: usize,
}

/// Something that was done to a node.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Happening {
    /// since learners began, s
    pub at_s: f64,
    /// which node, from 1
    pub node: usize,
    /// what
    pub what: &'static str,
    /// sessions that lived there
    pub sessions: usize,
}

impl Nodes {
    /// Starts the engines and `count` nodes whose sessions run by a clock that was started at `origin_ms`. Their files go
    /// to `folder`; sessions are judged by the packs in the files `policies`.
    ///
    /// # Errors
    /// When an engine is not installed, or a node does not start.
    pub async fn start(
        count: usize,
        origin_ms: i64,
        folder: &Path,
        policies: &[PathBuf],
        options: &DemoOptions,
    ) -> Result<Self, DemoError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| DemoError::Io("a port", error))?;
        let address = listener.local_addr().map_err(|error| DemoError::Io("a port", error))?;
        let started = tokio::task::spawn_blocking(|| {
            let postgres = Postgres::start(&std::env::temp_dir())?;
            Ok::<_, anyhow::Error>((postgres, Redis::start()?))
        });
        let started = started.await.unwrap_or_else(|error| Err(error.into()));
        let (postgres, redis) = started.map_err(|error| DemoError::Engine(format!("{error:#}")))?;
        let mut nodes = Vec::with_capacity(count);
        for number in 0..count {
            let path = folder.join(format!("node-{}.toml", number + 1));
            let urls = [format!("http://{address}"), postgres.url(), redis.url()];
            std::fs::write(&path, settings(number, folder, policies, options, &urls))
                .map_err(|error| DemoError::Io("configuration", error))?;
            let arguments = [
                "demo-node".to_owned(),
                format!("--config={}", path.display()),
                format!("--speed={}", options.speed),
                format!("--origin-ms={origin_ms}"),
            ];
            let (state, changing) = (Arc::default(), tokio::sync::Mutex::default());
            nodes.push(Node { arguments: arguments.into(), state, changing });
        }
        let nodes: Arc<[Node]> = nodes.into();
        // One after the other: the first makes the keys that all share.
        for node in nodes.iter() {
            node.launch().await?;
        }
        let key = std::fs::read_to_string(data_folder(folder, 0).join("operator.key"));
        let operator_key = key.map_err(|error| DemoError::Io("operator key", error))?.trim().to_owned();
        let those = nodes.clone();
        let front = Front::start(listener, count, 0, move |number| those[number].state().address);
        Ok(Self(Arc::new(Inner {
            nodes,
            public_url: format!("http://{address}"),
            operator_key,
            since_start: Mutex::new(Stopwatch::start()),
            happened: Mutex::default(),
            _front: front,
            _postgres: postgres,
            _redis: redis,
        })))
    }

    /// Where clients find them: `http://host:port`.
    pub fn public_url(&self) -> &str {
        &self.0.public_url
    }

    /// The operator's key.
    pub fn operator_key(&self) -> &str {
        &self.0.operator_key
    }

    /// Learners begin: what happens is told from now on by its time.
    pub fn begin(&self) {
        *self.0.since_start.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
    }

    /// How they stand.
    pub fn seen(&self) -> Vec<NodeSeen> {
        self.0.nodes.iter().map(Node::seen).collect()
    }

    /// What was done to them so far.
    pub fn happened(&self) -> Vec<Happening> {
        self.0.happened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Kills a node (counted from 0) by SIGKILL, or starts it again if it is dead. A number that no node has does nothing.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn kill_or_start(&self, number: usize) -> Result<(), DemoError> {
        let Some(node) = self.0.nodes.get(number) else { return Ok(()) };
        let _alone = node.changing.lock().await;
        let before = std::mem::take(&mut *node.state());
        let what = match before.child {
            Some(mut child) => {
                child.kill().and_then(|()| child.wait()).map_err(|error| DemoError::Io("kill", error))?;
                "killed"
            }
            None => {
                node.launch().await?;
                "started again"
            }
        };
        let at_s = self.0.since_start.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_secs_f64();
        let happening = Happening { at_s, node: number + 1, what, sessions: before.sessions };
        self.0.happened.lock().unwrap_or_else(PoisonError::into_inner).push(happening);
        Ok(())
    }

    /// Ends all nodes gently; returns when the last has ended.
    pub async fn stop(self) {
        let children = self.0.nodes.iter().filter_map(|node| std::mem::take(&mut *node.state()).child);
        let mut children: Vec<Child> = children.collect();
        // The end of its input is what a node stops for.
        children.iter_mut().for_each(|child| drop(child.stdin.take()));
        let ended = tokio::task::spawn_blocking(move || {
            for mut child in children {
                let _ = child.wait();
            }
        });
        let _ = ended.await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for node in self.nodes.iter() {
            if let Some(mut child) = node.state().child.take() {
                let _ = child.kill().and_then(|()| child.wait());
            }
        }
    }
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> NodeSeen {
        let state = self.state();
        NodeSeen { lives: state.address.is_some(), sessions: state.sessions }
    }

    /// Returns once it serves.
    async fn launch(&self) -> Result<(), DemoError> {
        let failed = |error| DemoError::Io("a node", error);
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let ended = || failed(std::io::Error::other("it ended at once; why is said above"));
        let said = child.stdout.take().ok_or_else(ended)?;
        *self.state() = State { child: Some(child), ..State::default() };
        let (serving, serves) = oneshot::channel();
        let state = self.state.clone();
        std::thread::spawn(move || follow(said, &state, serving));
        serves.await.map_err(|_| ended())
    }
}

/// Reads what a node says until it ends.
fn follow(said: ChildStdout, state: &Mutex<State>, serving: oneshot::Sender<()>) {
    let state = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let mut serving = Some(serving);
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if let Some(address) = line.strip_prefix(SERVING).and_then(|address| address.parse().ok()) {
            state().address = Some(address);
            serving.take().map(|serving| serving.send(()));
        } else if let Some(sessions) = line.strip_prefix(SESSIONS).and_then(|sessions| sessions.parse().ok()) {
            state().sessions = sessions;
        }
    }
}

fn data_folder(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("node-{}", number + 1))
}

/// The configuration of one node.
fn settings(
    number: usize,
    folder: &Path,
    policies: &[PathBuf],
    options: &DemoOptions,
    [public_url, database, redis]: &[String; 3],
) -> String {
    let data = data_folder(folder, number);
    let mut toml = format!(
        "listen = \"127.0.0.1:0\"\npublic_url = \"{public_url}\"\ndata_folder = {data:?}\nmodels_folder = {:?}\n\
         policies = {policies:?}\nvision.workers = 1\ndatabase.url = \"{database}\"\nredis.url = \"{redis}\"\n\
         evidence.url = \"file://{}\"\nwebhook = {{allow_private_addresses = true, allow_http = true}}\n",
        options.models_folder,
        folder.join("photos").display()
    );
    if number > 0 {
        let file = |name| data_folder(folder, 0).join(name);
        let _ = writeln!(
            toml,
            "keys = {{master_file = {:?}, pepper_file = {:?}, operator_file = {:?}}}",
            file("master.key"),
            file("identity.pepper"),
            file("operator.key")
        );
    }
    toml
}
