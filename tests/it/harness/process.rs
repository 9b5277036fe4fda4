//! The server as a process of its own: the real binary, which can be traced, killed and started again where it was.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use invigil::policy::Policy;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use super::{Api, database_of, models, quick_pack};

/// Any port of an address from which nobody dials out, so that no outgoing connection takes the port while the server
/// is dead.
const ANY_PORT: &str = "127.0.0.2:0";

/// A data folder and what the server in it is told.
pub struct Home {
    folder: tempfile::TempDir,
    config: PathBuf,
    pack: PathBuf,
    /// the face models
    pub models: PathBuf,
}

/// A server that serves.
pub struct Process {
    child: Child,
    /// where it listens
    pub address: SocketAddr,
    /// where its metrics are, if they are served
    pub metrics: Option<SocketAddr>,
    log: Log,
}

/// What a server writes to its standard error, line by line, and who reads it.
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// changes with every line
    grown: watch::Receiver<()>,
    reader: Option<JoinHandle<()>>,
}

impl Home {
    /// A new one, in which learners may live by the pack `QUICK`.
    pub fn new(heartbeat_ms: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (config, pack) = (folder.path().join("invigil.toml"), quick_pack(folder.path(), heartbeat_ms));
        std::fs::write(&config, format!("policies = [{pack:?}]\nvision.workers = 1\nvision.provider = \"cpu\"\n"))
            .unwrap();
        Self { folder, config, pack, models: models() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Adds to the server's configuration.
    pub fn configure(&self, toml: &str) {
        let before = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, format!("{before}{toml}")).unwrap();
    }

    /// The server's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The pack `QUICK`, as the server reads it.
    pub fn policy(&self) -> Policy {
        Policy::from_toml(&std::fs::read_to_string(&self.pack).unwrap()).unwrap()
    }

    /// The command that serves, behind `wrapper` (program and arguments) if there is one.
    pub fn command(&self, wrapper: &[&str], listen: Option<SocketAddr>) -> Command {
        let line = [wrapper, &[env!("CARGO_BIN_EXE_invigil"), "serve"]].concat();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).arg("--config").arg(&self.config);
        command.arg("--data-folder").arg(self.folder.path().join("data")).arg("--models-folder").arg(&self.models);
        command.args(["--log-format", "json", "--listen"]);
        command.arg(listen.map_or(ANY_PORT.to_owned(), |listen| listen.to_string()));
        command.envs(database_of(&self.data()).map(|url| ("INVIGIL_DATABASE__URL", url)));
        command
    }

    /// The operator of the server that listens at `address`.
    pub fn operator(&self, address: SocketAddr) -> Api {
        let key = std::fs::read_to_string(self.folder.path().join("data/operator.key")).unwrap();
        Api::new(&format!("http://{address}"), key.trim())
    }
}

impl Process {
    /// Starts a server; returns once it says that it serves, or what it said instead.
    pub async fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (serving, served) = oneshot::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (grows, grown) = watch::channel(());
        let reader = std::thread::spawn({
            let lines = lines.clone();
            move || read_log(stderr, &lines, serving, &grows)
        });
        let log = Log { lines, grown, reader: Some(reader) };
        match served.await {
            Ok((address, metrics)) => Ok(Self { child, address, metrics, log }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(log.all().join("\n"))
            }
        }
    }

    /// Returns once the server has said something with `words` in it, `times` times in all.
    pub fn said(&self, words: &'static str, times: usize) -> impl Future<Output = ()> + 'static {
        let (lines, mut grown) = (self.log.lines.clone(), self.log.grown.clone());
        async move {
            let said = |_: &()| lines.lock().unwrap().iter().filter(|line| line.contains(words)).count() >= times;
            grown.wait_for(said).await.unwrap_or_else(|_| panic!("the server ended without saying {words:?}"));
        }
    }

    /// Everything that it has said so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().clone()
    }

    /// Sends it SIGTERM.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Lets it stand still: connections stay, and nothing answers.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Returns once it has written a line with this message.
    pub async fn says(&mut self, message: &str) {
        let lines = self.log.lines.clone();
        let said =
            |_: &()| {
                lines.lock().unwrap().iter().any(|line| {
                    serde_json::from_str::<Value>(line).is_ok_and(|line| line["fields"]["message"] == message)
                })
            };
        self.log.grown.wait_for(said).await.unwrap_or_else(|_| panic!("it ended without {message:?}"));
    }

    /// Waits until it has ended by itself. Returns whether it was content, and everything that it wrote.
    pub async fn ended(mut self) -> (bool, Vec<String>) {
        // The end of its output is the end of the process.
        while self.log.grown.changed().await.is_ok() {}
        let status = self.child.wait().unwrap();
        let log = Log { lines: self.log.lines.clone(), grown: self.log.grown.clone(), reader: self.log.reader.take() };
        (status.success(), log.all())
    }

    /// Ends it by SIGKILL. Returns the errors that it had complained of.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.errors()
    }

    /// Ends the server that runs behind a wrapper by SIGKILL, and lets the wrapper end by itself. Returns the errors
    /// that it had complained of.
    pub fn kill_wrapped(mut self) -> Vec<String> {
        assert!(self.kill_children(), "nothing runs behind the wrapper");
        self.errors()
    }

    fn errors(&mut self) -> Vec<String> {
        self.child.wait().unwrap();
        let log = Log { lines: self.log.lines.clone(), grown: self.log.grown.clone(), reader: self.log.reader.take() };
        log.all().into_iter().filter(|line| line.contains(r#""level":"ERROR""#)).collect()
    }

    fn kill_children(&self) -> bool {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let children: Vec<&str> = children.split_whitespace().collect();
        !children.is_empty() && Command::new("kill").arg("-KILL").args(children).status().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill_children();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Log {
    /// Everything, once the process has ended.
    fn all(self) -> Vec<String> {
        if let Some(reader) = self.reader {
            reader.join().unwrap();
        }
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

fn read_log(
    stderr: impl BufRead,
    lines: &Mutex<Vec<String>>,
    serving: oneshot::Sender<(SocketAddr, Option<SocketAddr>)>,
    grows: &watch::Sender<()>,
) {
    let mut serving = Some(serving);
    for line in stderr.lines().map_while(Result::ok) {
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if said["fields"]["message"] == "serving"
            && let Some(serving) = serving.take()
        {
            let address = said["fields"]["address"].as_str().unwrap().parse().unwrap();
            let metrics = said["fields"]["metrics"].as_str().map(|metrics| metrics.parse().unwrap());
            let _ = serving.send((address, metrics));
        }
        lines.lock().unwrap().push(line);
        grows.send_replace(());
    }
}
