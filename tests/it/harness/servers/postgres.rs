//! PostgreSQL, started for a test from the machine's own programs.
//!
//! Its databases are sorted in English, as a customer's may be, and belong to a user without special rights. It makes
//! nothing durable against a failing machine (`fsync = off`): tests kill processes, and what a process wrote outlives it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use tempfile::TempDir;

use super::daemon::{Daemon, Owner, free_address};

const SETTINGS: [&str; 7] = [
    "fsync=off",
    "shared_buffers=64MB",
    "max_connections=300",
    "dynamic_shared_memory_type=mmap",
    "unix_socket_directories=",
    "lc_messages=C",
    "log_min_messages=warning",
];
const READY: &str = "database system is ready to accept connections";
/// Attempts to find a port on which nobody else of this process listens.
const ATTEMPTS: usize = 5;

/// A server with databases in it.
pub struct Postgres {
    /// stopped before the folder goes
    daemon: Option<Daemon>,
    folder: TempDir,
    owner: Option<Owner>,
    address: SocketAddr,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes and starts one.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::instead_of_root();
        if let Some(owner) = owner {
            owner.take(folder.path());
        }
        initialise(folder.path(), owner);
        let mut server = Self { daemon: None, folder, owner, address: free_address(), databases: AtomicU32::new(0) };
        let mut attempts = (1..=ATTEMPTS).map(|_| {
            server.address = free_address();
            server.launch()
        });
        let daemon = attempts.find_map(Result::ok);
        server.daemon = daemon;
        server.daemon.as_ref().expect("PostgreSQL does not start");
        server.execute(&server.url("postgres", "postgres"), "CREATE ROLE invigil LOGIN");
        server
    }

    /// Where it listens: the same for as long as it lives.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new, empty database of its own: its URL.
    pub fn database(&self) -> String {
        self.create("template0")
    }

    /// A new database with what is in the one at `url`, to which nobody is connected: its URL.
    pub fn copy_of(&self, url: &str) -> String {
        self.create(url.rsplit('/').next().unwrap())
    }

    fn create(&self, template: &str) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let sql = format!("CREATE DATABASE {name} OWNER invigil TEMPLATE {template}");
        self.execute(&self.url("postgres", "postgres"), &sql);
        self.url("invigil", &name)
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}/{database}", self.address)
    }

    /// Runs statements in the database at `url`.
    pub fn execute(&self, url: &str, sql: &str) {
        // The client has a runtime of its own, which cannot be started within the test's.
        let run = || postgres::Client::connect(url, postgres::NoTls)?.batch_execute(sql);
        let done = std::thread::scope(|scope| scope.spawn(run).join().unwrap());
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Stops it as an administrator does who is in a hurry: connections are ended, nothing committed is lost.
    pub fn stop(&mut self) {
        self.daemon.take().expect("it runs").stop(Signal::INT);
    }

    /// Kills it with all its children at one moment, as when its machine fails.
    pub fn kill(&mut self) {
        self.daemon.take().expect("it runs").kill();
    }

    /// Starts it again after [`Postgres::stop`] or [`Postgres::kill`], at the same address.
    pub fn start_again(&mut self) {
        assert!(self.daemon.is_none(), "it runs already");
        self.daemon = Some(self.launch().unwrap_or_else(|log| panic!("PostgreSQL does not start again:\n{log}")));
    }

    /// Freezes it: connections stay, and nothing answers.
    pub fn pause(&self) {
        self.daemon.as_ref().expect("it runs").pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.daemon.as_ref().expect("it runs").resume();
    }

    fn launch(&self) -> Result<Daemon, String> {
        let mut line = vec![program("postgres").display().to_string(), "-D".into(), data(self.folder.path())];
        line.extend(["-p".into(), self.address.port().to_string(), "-h".into(), self.address.ip().to_string()]);
        line.extend(SETTINGS.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
        Daemon::start(&line, self.owner, READY)
    }
}

fn data(folder: &Path) -> String {
    folder.join("data").display().to_string()
}

fn initialise(folder: &Path, owner: Option<Owner>) {
    let mut command = Command::new(program("initdb"));
    command.args(["-D", &data(folder), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]);
    command.args(["--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]).current_dir(folder);
    if let Some(owner) = owner {
        owner.run(&mut command);
    }
    let output = command.output().unwrap_or_else(|error| panic!("initdb: {error}"));
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(folder.join("data/pg_hba.conf"), "host all all 127.0.0.0/8 trust\n").unwrap();
}

/// A program of the newest PostgreSQL that Debian's packages have installed, or else of the one on the path.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    let debian = newest.map(|version| Path::new("/usr/lib/postgresql").join(version.to_string()).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is not here: these tests need PostgreSQL (Debian: postgresql)"))
}
