//! Redis, started for a test: one server, or a cluster of three. They keep nothing on disk.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::daemon::{Daemon, free_address};

const READY: &str = "Ready to accept connections";
/// Attempts to find a port on which nobody else of this process listens.
const ATTEMPTS: usize = 5;

/// One server.
pub struct RedisServer {
    /// none while it is down
    daemon: Option<Daemon>,
    folder: TempDir,
    address: SocketAddr,
    /// where it speaks with the others of its cluster
    bus: Option<SocketAddr>,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::on_some_port(false)
    }

    /// One at this address that speaks TLS only, with this certificate and its key, and wants a password.
    pub fn with_tls(address: SocketAddr, certificate: &Path, key: &Path, password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (host, port, place) =
            (address.ip().to_string(), address.port().to_string(), folder.path().display().to_string());
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let mut line = vec!["redis-server", "--bind", &host, "--port", "0", "--tls-port", &port, "--dir", &place];
        line.extend(["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"]);
        line.extend(["--save", "", "--appendonly", "no", "--daemonize", "no", "--requirepass", password]);
        let daemon = Daemon::start(&line.into_iter().map(str::to_owned).collect::<Vec<_>>(), None, READY);
        Self { daemon: Some(daemon.unwrap()), folder, address, bus: None }
    }

    fn on_some_port(in_cluster: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let (address, bus) = (free_address(), in_cluster.then(free_address));
            match launch(folder.path(), address, bus) {
                Ok(daemon) => return Self { daemon: Some(daemon), folder, address, bus },
                Err(why) => said = why,
            }
        }
        panic!("Redis does not start: {said}")
    }

    /// Where it listens: the same for as long as it lives.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Freezes it: it takes connections, and answers nothing.
    pub fn pause(&self) {
        self.daemon.as_ref().unwrap().pause();
    }

    pub fn resume(&self) {
        self.daemon.as_ref().unwrap().resume();
    }

    pub fn kill(&mut self) {
        self.daemon.take().into_iter().for_each(Daemon::kill);
    }

    /// Dies, and comes back with nothing, at the same address.
    pub fn restart_empty(&mut self) {
        self.kill();
        self.daemon = Some(launch(self.folder.path(), self.address, self.bus).expect("its address is its own"));
    }

    /// What it answers to one command.
    pub fn ask(&self, command: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        client.arg("-h").arg(self.address.ip().to_string()).arg("-p").arg(self.address.port().to_string());
        let output = client.args(command).output().expect("redis-cli is installed");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

fn launch(folder: &Path, address: SocketAddr, bus: Option<SocketAddr>) -> Result<Daemon, String> {
    let (host, port, folder) = (address.ip().to_string(), address.port().to_string(), folder.display().to_string());
    let mut line = vec!["redis-server", "--bind", &host, "--port", &port, "--dir", &folder];
    line.extend(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
    let bus_port = bus.map(|bus| bus.port().to_string());
    if let Some(bus_port) = &bus_port {
        line.extend(["--cluster-enabled", "yes", "--cluster-port", bus_port, "--cluster-announce-ip", &host]);
    }
    Daemon::start(&line.into_iter().map(str::to_owned).collect::<Vec<_>>(), None, READY)
}

/// Three servers that share the slots.
pub struct RedisCluster {
    pub servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Returns once all three serve all slots.
    pub fn start() -> Self {
        let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::on_some_port(true)).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(servers.iter().map(|server| server.address.to_string()));
        let created = create.arg("--cluster-yes").output().expect("redis-cli is installed");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        for server in &servers {
            // Each finds out for itself, and has no way to say so but to be asked.
            while !server.ask(&["cluster", "info"]).contains("cluster_state:ok") {
                std::thread::yield_now();
            }
        }
        Self { servers }
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.servers.iter().map(|server| server.address.to_string()).collect();
        format!("redis://{}", hosts.join(","))
    }
}
