//! One address before several nodes, for the demo and the benchmarks: what a proxy of TCP does for an installation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes connections on, each to the next node that takes it, until it is dropped.
#[derive(Debug)]
pub struct Front {
    passed: Arc<Passed>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Passed {
    connections: AtomicU64,
    /// the node that took the newest of them
    newest: AtomicUsize,
}

impl Front {
    /// Takes connections from `listener` for `count` nodes, whose addresses `address_of` tells as far as they have any; the
    /// first connection goes to the node after `start`.
    pub fn start(
        listener: TcpListener,
        count: usize,
        start: usize,
        address_of: impl Fn(usize) -> Option<SocketAddr> + Clone + Send + Sync + 'static,
    ) -> Self {
        let passed = Arc::new(Passed { connections: AtomicU64::new(0), newest: AtomicUsize::new(start) });
        let seen = passed.clone();
        let accepting = tokio::spawn(async move {
            let next = Arc::new(AtomicUsize::new(start + 1));
            while let Ok((client, _)) = listener.accept().await {
                let (next, seen, address_of) = (next.clone(), seen.clone(), address_of.clone());
                tokio::spawn(async move {
                    for _ in 0..count {
                        let node = next.fetch_add(1, Ordering::Relaxed) % count;
                        let Some(address) = address_of(node) else { continue };
                        if let Ok(server) = TcpStream::connect(address).await {
                            seen.newest.store(node, Ordering::Relaxed);
                            seen.connections.fetch_add(1, Ordering::Relaxed);
                            return pass(client, server).await;
                        }
                    }
                });
            }
        });
        Self { passed, accepting }
    }

    /// Connections that a node has taken so far.
    pub fn connections(&self) -> u64 {
        self.passed.connections.load(Ordering::Relaxed)
    }

    /// The node that took the newest connection.
    pub fn newest(&self) -> usize {
        self.passed.newest.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream) {
    // Small messages are passed on at once, and however a connection ends, it has ended.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
