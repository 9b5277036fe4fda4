//! A network between a client and servers that the test can break: a TCP proxy on loopback, which is also what stands in
//! front of several nodes.
//!
//! What it does to connections holds for those that are there and for those that come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::daemon::free_address;

/// What happens to bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They go through at once.
    #[default]
    Pass,
    /// They go nowhere, and nobody is told: a half-open connection. They go on once the flow passes again.
    Hold,
    /// Each piece, of at most 16 KiB, is late by this much, and the next waits for it.
    Slow(Duration),
}

#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    requests: Flow,
    answers: Flow,
    /// connections from before the last cut are to end
    cuts: u64,
    /// connections from before the last freeze hold all bytes for ever
    freezes: u64,
}

/// Servers, of which each connection gets the next one that can be reached.
#[derive(Clone)]
struct Targets {
    addresses: Arc<[SocketAddr]>,
    next: Arc<AtomicUsize>,
}

/// A proxy in front of a server, or of several; ends with its holder.
pub struct Proxy {
    address: SocketAddr,
    targets: Targets,
    weather: watch::Sender<Weather>,
    /// bytes that clients have sent and the server was given
    requested: watch::Sender<u64>,
    listening: Option<JoinHandle<()>>,
}

impl Proxy {
    /// One in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        Self::over(&[target]).await
    }

    /// One in front of several: each connection goes to the next that can be reached.
    pub async fn over(targets: &[SocketAddr]) -> Self {
        let (weather, requested) = (watch::Sender::default(), watch::Sender::default());
        let targets = Targets { addresses: targets.into(), next: Arc::default() };
        let mut proxy = Self { address: free_address(), targets, weather, requested, listening: None };
        proxy.accept();
        proxy
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets bytes pass, hold or crawl, in each direction. With requests passing and answers held, a server does what it
    /// is asked and nobody hears of it.
    pub fn flow(&self, requests: Flow, answers: Flow) {
        self.weather.send_modify(|weather| (weather.requests, weather.answers) = (requests, answers));
    }

    /// Ends every connection that there is, abruptly.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Makes every connection that there is half-open: nothing goes through it any more, and nobody is told.
    pub fn freeze(&self) {
        self.weather.send_modify(|weather| weather.freezes += 1);
    }

    /// Refuses new connections; those that are there stay.
    pub async fn refuse(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            let _ = listening.await;
        }
    }

    /// Accepts connections again after [`Proxy::refuse`].
    pub fn accept(&mut self) {
        assert!(self.listening.is_none(), "it accepts already");
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(1024).unwrap();
        let (targets, weather, requested) = (self.targets.clone(), self.weather.clone(), self.requested.clone());
        self.listening = Some(tokio::spawn(serve(listener, targets, weather, requested)));
    }

    /// Returns once the server was given `bytes` more than now.
    pub fn requested(&self, bytes: u64) -> impl Future<Output = ()> + 'static {
        let mut requested = self.requested.subscribe();
        let goal = *requested.borrow() + bytes;
        async move {
            let _ = requested.wait_for(|requested| *requested >= goal).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
        self.cut();
    }
}

async fn serve(
    listener: TcpListener,
    targets: Targets,
    weather: watch::Sender<Weather>,
    requested: watch::Sender<u64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let (targets, weather, requested) = (targets.clone(), weather.subscribe(), requested.clone());
        tokio::spawn(async move {
            let cuts = weather.borrow().cuts;
            let mut cutting = weather.clone();
            tokio::select! {
                _ = cutting.wait_for(|weather| weather.cuts != cuts) => {}
                () = forward(client, targets, weather, requested) => {}
            }
        });
    }
}

async fn forward(
    client: TcpStream,
    targets: Targets,
    mut weather: watch::Receiver<Weather>,
    requested: watch::Sender<u64>,
) {
    // While requests are held, the server does not even hear that somebody has come.
    let _ = weather.wait_for(|weather| weather.requests != Flow::Hold).await;
    // Who is cut off hears it at once: what is unsent is thrown away.
    let _ = client.set_zero_linger();
    let Some(server) = targets.connect().await else { return };
    let _ = (server.set_zero_linger(), server.set_nodelay(true), client.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let freezes = weather.borrow().freezes;
    let frozen = |weather: &Weather| weather.freezes != freezes;
    let held = |weather: &Weather, flow| if frozen(weather) { Flow::Hold } else { flow };
    let count = |bytes| requested.send_modify(|all| *all += bytes);
    tokio::join!(
        pump(from_client, to_server, weather.clone(), |weather| held(weather, weather.requests), count),
        pump(from_server, to_client, weather.clone(), |weather| held(weather, weather.answers), |_| ()),
    );
}

impl Targets {
    async fn connect(&self) -> Option<TcpStream> {
        for _ in 0..self.addresses.len() {
            let next = self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len();
            if let Ok(server) = TcpStream::connect(self.addresses[next]).await {
                return Some(server);
            }
        }
        None
    }
}

/// Takes one direction's bytes over until it ends; then the other side is told so.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    flow: impl Fn(&Weather) -> Flow,
    count: impl Fn(u64),
) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut piece).await {
        let Ok(flow) = weather.wait_for(|weather| flow(weather) != Flow::Hold).await.map(|weather| flow(&weather))
        else {
            return;
        };
        if let Flow::Slow(delay) = flow {
            late(delay).await;
        }
        if to.write_all(&piece[..bytes]).await.is_err() {
            return;
        }
        count(bytes as u64);
    }
    let _ = to.shutdown().await;
}

#[expect(clippy::disallowed_methods, reason = "a slow network is made of time")]
async fn late(delay: Duration) {
    tokio::time::sleep(delay).await;
}
