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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Nodes that say their number and then what they are told.
    async fn nodes(count: u8) -> (Vec<SocketAddr>, Vec<JoinHandle<()>>) {
        let (mut addresses, mut running) = (Vec::new(), Vec::new());
        for number in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            running.push(tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        stream.write_all(&[number]).await.unwrap();
                        let (mut from, mut to) = stream.split();
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                    });
                }
            }));
        }
        (addresses, running)
    }

    async fn start(addresses: Vec<Option<SocketAddr>>) -> (Front, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Front::start(listener, addresses.len(), 0, move |node| addresses[node]), address)
    }

    /// A connection, and who took it.
    async fn connect(front: SocketAddr) -> (TcpStream, u8) {
        let mut stream = TcpStream::connect(front).await.unwrap();
        let node = stream.read_u8().await.unwrap();
        (stream, node)
    }

    #[tokio::test]
    async fn connections_go_round_and_pass_on_what_is_said_until_either_ends_them() {
        let (addresses, _running) = nodes(3).await;
        let (front, at) = start(addresses.into_iter().map(Some).collect()).await;
        let mut taken = Vec::new();
        for _ in 0..4 {
            let (mut stream, node) = connect(at).await;
            taken.push(node);
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "hello");
        }
        assert_eq!(taken, [1, 2, 0, 1]);
        assert_eq!((front.connections(), front.newest()), (4, 1));
    }

    #[tokio::test]
    async fn who_is_not_there_is_passed_over_and_when_nobody_is_the_connection_ends() {
        let (addresses, running) = nodes(3).await;
        let (front, at) = start(vec![Some(addresses[0]), None, Some(addresses[2])]).await;
        assert_eq!(connect(at).await.1, 2, "the one after the first has no address");
        running[2].abort();
        // The listener is closed when the task is gone.
        while !running[2].is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!([connect(at).await.1, connect(at).await.1], [0, 0]);
        running[0].abort();
        while !running[0].is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(TcpStream::connect(at).await.unwrap().read_u8().await.is_err());
        assert_eq!(front.connections(), 3);
        drop(front);
        while TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
