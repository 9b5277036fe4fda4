//! HAProxy with the file of deploy/, in front of nodes that a test names.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use invigil::clock::Clock;
use tempfile::TempDir;

/// An address from which nobody dials out, so that no outgoing connection takes the port between finding and binding it.
const HOST: &str = "127.0.0.4";
/// How often a free port is looked for: somebody else's test may have found the same.
const ATTEMPTS: u32 = 5;
/// How often it is asked whether it answers, ms.
const ASK_EVERY_MS: i64 = 20;

/// The proxy; killed when it is dropped.
pub struct HaProxy {
    child: Child,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl HaProxy {
    /// In front of three nodes, with the certificate and key of `pem`.
    pub async fn start(nodes: [SocketAddr; 3], pem: &str) -> Self {
        for _ in 0..ATTEMPTS {
            if let Some(started) = Self::try_start(nodes, pem).await {
                return started;
            }
        }
        panic!("HAProxy does not start; `make test-setup` installs it");
    }

    async fn try_start(nodes: [SocketAddr; 3], pem: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let certificates = folder.path().join("certificates");
        std::fs::create_dir(&certificates).unwrap();
        std::fs::write(certificates.join("site.pem"), pem).unwrap();
        let address = TcpListener::bind((HOST, 0)).unwrap().local_addr().unwrap();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy/haproxy.cfg");
        let mut command = Command::new("haproxy");
        // In the foreground, one process: what we kill is all there is.
        command.arg("-db").arg("-f").arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("INVIGIL_BIND", address.to_string()).env("INVIGIL_CERTIFICATES", &certificates);
        command.env("INVIGIL_ADMIN_SOCKET", folder.path().join("admin.sock"));
        for (number, node) in (1..).zip(nodes) {
            command.env(format!("INVIGIL_NODE_{number}"), node.to_string());
        }
        let child = command.spawn().expect("HAProxy is installed by `make test-setup`");
        let mut this = Self { child, address, _folder: folder };
        loop {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Some(this);
            }
            if this.child.try_wait().unwrap().is_some() {
                return None;
            }
            Clock::system().sleep_ms(ASK_EVERY_MS).await;
        }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
