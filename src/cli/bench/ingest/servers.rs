//! The servers that are measured, each a process of its own: ours, the bare echo, and Node.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::accounts;
use super::ground::Ground;

/// The version of `ws` that the peer runs on.
const WS_PACKAGE: &str = "ws@8.23.0";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// This binary's `serve`, everything on
    Invigil,
    /// The same libraries and buffers, sending back what they get
    Echo,
    /// Node with `ws`: parses and acknowledges, stores nothing
    Node,
    /// This binary's `serve` with records and journal in PostgreSQL, on one node or several
    Postgres,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Invigil => "invigil",
            Self::Echo => "bare axum echo",
            Self::Node => "Node ws",
            Self::Postgres => "invigil over PostgreSQL",
        }
    }
}

/// A server that serves. It is killed when it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts our server over `ground`; sessions that are open there are taken up before it answers.
    pub(super) fn invigil(ground: &Ground) -> anyhow::Result<Self> {
        Self::node_of(ground, 0)
    }

    /// Starts one of the nodes that are to share `ground`.
    pub(super) fn node_of(ground: &Ground, node: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg("--config").arg(ground.config(node)).args(["--log-format", "json"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        Self::ready(child, Complains::OnStderr)
    }

    /// Starts the bare echo.
    pub(super) fn echo() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.args(["bench", "echo"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        Self::ready(child, Complains::Elsewhere)
    }

    /// Starts Node's server; fetches `ws` into `cache` first, if it is not there.
    pub(super) fn node(cache: &Path) -> anyhow::Result<Self> {
        fetch_ws(cache)?;
        let script = PathBuf::from("benches/peers/node_ws.mjs");
        ensure!(script.exists(), "{} is not here: start the benchmark in the repository", script.display());
        let mut command = Command::new("node");
        command.arg(script).arg(cache).stdin(Stdio::null()).stdout(Stdio::piped());
        Self::ready(command.spawn().context("node")?, Complains::Elsewhere)
    }

    fn ready(mut child: Child, complains: Complains) -> anyhow::Result<Self> {
        let output: Box<dyn Read + Send> = match complains {
            Complains::OnStderr => Box::new(child.stderr.take().context("no standard error")?),
            Complains::Elsewhere => Box::new(child.stdout.take().context("no standard output")?),
        };
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let (serving, served) = mpsc::channel();
        let told = complaints.clone();
        std::thread::spawn(move || read_output(BufReader::new(output), &serving, &told));
        let address = served.recv();
        let Ok(address) = address else {
            // It has closed its output, so it has ended or is about to.
            let status = child.wait()?;
            let told = complaints.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            anyhow::bail!("a server did not start ({status}): {}", told.join("\n"));
        };
        Ok(Self { child, address, complaints })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time since its start, µs.
    pub(super) fn cpu_us(&self) -> anyhow::Result<u64> {
        accounts::cpu_us(self.pid())
    }

    /// Resident memory, bytes.
    pub(super) fn resident_bytes(&self) -> anyhow::Result<u64> {
        accounts::resident_bytes(self.pid())
    }

    /// Errors and warnings in its log so far.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Ends it as an operator would, and waits: everything is on disk then.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.pid().to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "the server cannot be told to stop");
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}: {}", self.complaints().join("\n"));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, or ended now: either way it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a server says what is wrong.
enum Complains {
    OnStderr,
    Elsewhere,
}

/// Reads what a server says to its end: the address as soon as it is there, and what it complains of.
fn read_output(output: BufReader<Box<dyn Read + Send>>, serving: &mpsc::Sender<SocketAddr>, told: &Mutex<Vec<String>>) {
    for line in output.lines().map_while(Result::ok) {
        let address = match serde_json::from_str::<Value>(&line) {
            Ok(entry) => {
                let fields = &entry["fields"];
                let serves = fields["message"] == "serving";
                serves.then(|| fields["address"].as_str().and_then(|address| address.parse().ok())).flatten()
            }
            Err(_) => line.parse().ok(),
        };
        if let Some(address) = address {
            let _ = serving.send(address);
        } else if !line.contains(r#""level":"INFO""#) {
            told.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(line);
        }
    }
}

fn fetch_ws(cache: &Path) -> anyhow::Result<()> {
    if cache.join("node_modules/ws/package.json").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(cache)?;
    // Without a file of its own here, npm would install into a folder above.
    std::fs::write(cache.join("package.json"), "{}\n")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts", "--prefix"]);
    let status = npm.arg(cache).arg(WS_PACKAGE).stdout(Stdio::null()).status().context("npm, which fetches ws")?;
    ensure!(status.success(), "npm could not fetch {WS_PACKAGE}: {status}");
    Ok(())
}
