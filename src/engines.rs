//! PostgreSQL and Redis, started for the demo or a benchmark from the machine's own programs: in a temporary folder, on a
//! free port of the loopback, and gone with whoever started them, however that ends. Unlike those of the tests they make
//! durable what they acknowledge.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// Starts a server and waits for the end of its input, which is our end. What a shell starts in the background
/// ignores QUIT if it does not know better; for who does, it is the quicker end.
const HOLD: &str = r#""$@" >&2 & exec 2>&-; read -r _; kill -QUIT $!; kill -TERM $!; wait"#;
const USERS: &str = "/etc/passwd";

/// A PostgreSQL server.
pub struct Postgres {
    /// stopped before the folder goes
    _daemon: Daemon,
    _folder: TempDir,
    address: SocketAddr,
}

impl Postgres {
    /// Starts one with its files in `parent`.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not start.
    pub fn start(parent: &Path) -> anyhow::Result<Self> {
        let (folder, user) = (folder(parent)?, instead_of_root()?);
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
        }
        let data = folder.path().join("data").display().to_string();
        let mut initialise = Command::new(postgres_program("initdb")?);
        initialise.args(["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let output = run_as(&mut initialise, user).current_dir("/").output().context("initdb")?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let address = free_address()?;
        let mut line = Command::new("sh");
        line.args(["-c", HOLD, "sh"]).arg(postgres_program("postgres")?);
        line.args(["-D", &data, "-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
        // No checkpoint for its size falls into one round and not into the other.
        for setting in ["unix_socket_directories=", "shared_buffers=256MB", "max_wal_size=4GB", "lc_messages=C"] {
            line.args(["-c", setting]);
        }
        let daemon = Daemon::start(run_as(&mut line, user), "database system is ready to accept connections")?;
        Ok(Self { _daemon: daemon, _folder: folder, address })
    }

    /// A database on it that is empty as long as nobody has used it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }
}

/// A Redis server that keeps nothing on disk.
pub struct Redis {
    _daemon: Daemon,
    address: SocketAddr,
}

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    /// When Redis is not installed, or does not start.
    pub fn start() -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut line = Command::new("sh");
        line.args(["-c", HOLD, "sh"]).arg(Self::program()?);
        line.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
        line.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        Ok(Self { _daemon: Daemon::start(&mut line, "Ready to accept connections")?, address })
    }

    /// Where its program is.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn program() -> anyhow::Result<PathBuf> {
        on_path("redis-server")
            .context("redis-server is not installed, and several nodes need it (Debian: redis-server)")
    }

    /// Where the program is with which its makers measure it.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn benchmark_program() -> anyhow::Result<PathBuf> {
        on_path("redis-benchmark").context("redis-benchmark is not installed (Debian: redis-tools)")
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The same as an address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A shell that holds a server, and reads what it says.
struct Daemon {
    shell: Child,
}

impl Daemon {
    /// Returns once it has said `ready`.
    fn start(line: &mut Command, ready: &'static str) -> anyhow::Result<Self> {
        line.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut shell = line.spawn().context("sh")?;
        let output = shell.stderr.take().context("no standard error")?;
        let daemon = Self { shell };
        let (saying, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens any more once it is ready; it is read all the same, so that it does not stand still.
                let _ = saying.send(line);
            }
        });
        let mut lines = Vec::new();
        for line in said {
            if line.contains(ready) {
                return Ok(daemon);
            }
            lines.push(line);
        }
        anyhow::bail!("a server did not start: {}", lines.join("\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn folder(parent: &Path) -> anyhow::Result<TempDir> {
    fs::create_dir_all(parent)?;
    Ok(tempfile::Builder::new().prefix("invigil-engine-").tempdir_in(parent.canonicalize()?)?)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// `nobody`, where we run as root, as whom PostgreSQL refuses to run: user and group.
fn instead_of_root() -> anyhow::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string(USERS).context(USERS)?;
    let nobody = users.lines().find(|line| line.starts_with("nobody:")).context("there is no user `nobody`")?;
    let mut ids = nobody.split(':').skip(2).map_while(|id| id.parse().ok());
    Ok(Some(ids.next().zip(ids.next()).with_context(|| format!("{USERS}: {nobody}"))?))
}

fn run_as(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    match user {
        Some((user, group)) => command.uid(user).gid(group),
        None => command,
    }
}

/// A program of the newest PostgreSQL that Debian's packages have installed, or else of the one on the path.
fn postgres_program(name: &str) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    let debian = newest.map(|version| format!("/usr/lib/postgresql/{version}/bin/{name}").into());
    debian
        .filter(|program: &PathBuf| program.is_file())
        .or_else(|| on_path(name))
        .with_context(|| format!("{name} is not installed (Debian: postgresql); or name a database that runs already"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}
