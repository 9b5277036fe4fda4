//! deploy/haproxy/haproxy.cfg at work: TLS, WebSockets, whose address a node is told, and who gets no learners.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use reqwest::{Certificate, Client};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::harness::Stage;
use crate::harness::haproxy::HaProxy;
use crate::tls::Authority;

/// What stands for a node: it says whether it is ready, and answers with what it was asked.
struct Node {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    ready: AtomicBool,
    asked: AtomicU32,
}

impl Node {
    async fn start(ready: bool) -> Self {
        let shared = Arc::new(Shared { ready: ready.into(), asked: 0.into() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = axum::Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, shared, serving }
    }

    fn asked(&self) -> u32 {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> (StatusCode, String) {
    if request.uri().path() == "/readyz" {
        let ready = shared.ready.load(Ordering::Relaxed);
        return (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "readiness".into());
    }
    shared.asked.fetch_add(1, Ordering::Relaxed);
    let forwarded: Vec<&str> =
        request.headers().get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap()).collect();
    (StatusCode::OK, serde_json::json!({"path": request.uri().path(), "forwarded": forwarded}).to_string())
}

struct Front {
    proxy: HaProxy,
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Front {
    async fn of(nodes: [SocketAddr; 3]) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.issue_for("localhost", folder.path());
        authority.write(folder.path());
        let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let proxy = HaProxy::start(nodes, &format!("{}{}", read("cert.pem"), read("key.pem"))).await;
        Self { proxy, authority, folder }
    }

    /// A client of the whole world's, who speaks from this address.
    fn client(&self, from: &str) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = Certificate::from_pem(&std::fs::read(self.folder.path().join("ca.pem")).unwrap()).unwrap();
        let from: IpAddr = from.parse().unwrap();
        let builder = Client::builder().tls_certs_only([ca]).resolve("localhost", self.proxy.address);
        builder.local_address(from).build().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.proxy.address.port())
    }
}

/// An address where nobody is.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.5:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_node_is_told_who_asks_and_nobody_chooses_that() {
    let node = Node::start(true).await;
    let front = Front::of([node.address, nobody().await, nobody().await]).await;
    let client = front.client("127.0.0.9");
    for path in ["/api/v1/openapi.json", "/v1/stream"] {
        let request = client.get(front.url(path)).header("x-forwarded-for", "203.0.113.7");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().contains_key("strict-transport-security"));
        let told: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(told, serde_json::json!({"path": path, "forwarded": ["127.0.0.9"]}));
    }
    let asked = node.asked();
    let readiness = client.get(front.url("/readyz")).send().await.unwrap();
    assert_eq!((readiness.status(), node.asked()), (StatusCode::NOT_FOUND, asked), "that is for who runs the nodes");
}

#[tokio::test]
async fn nobody_is_led_to_a_node_that_is_not_ready() {
    let (first, second) = (Node::start(true).await, Node::start(false).await);
    let front = Front::of([first.address, second.address, nobody().await]).await;
    let client = front.client("127.0.0.9");
    let ask = async |times| {
        for _ in 0..times {
            for path in ["/api/v1/sessions", "/v1/stream"] {
                assert_eq!(client.get(front.url(path)).send().await.unwrap().status(), StatusCode::OK);
            }
        }
    };
    // It begins with all of them, and learns who is ready.
    loop {
        let before = (first.asked(), second.asked());
        ask(4).await;
        if (first.asked(), second.asked()) == (before.0 + 8, before.1) {
            break;
        }
    }
    second.shared.ready.store(true, Ordering::Relaxed);
    first.shared.ready.store(false, Ordering::Relaxed);
    loop {
        let before = (first.asked(), second.asked());
        // In between there may be nobody for a moment, and that is said too.
        let mut answered = 0;
        for _ in 0..8 {
            let status = client.get(front.url("/api/v1/sessions")).send().await.unwrap().status();
            assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{status}");
            answered += u32::from(status == StatusCode::OK);
        }
        if answered == 8 && (first.asked(), second.asked()) == (before.0, before.1 + 8) {
            break;
        }
    }
}

#[tokio::test]
async fn a_page_reaches_a_real_node_through_tls() {
    let stage = Stage::start().await;
    let address = stage.server.as_ref().unwrap().address;
    let front = Front::of([address, nobody().await, nobody().await]).await;
    let document = front.client("127.0.0.9").get(front.url("/api/v1/openapi.json")).send().await.unwrap();
    assert_eq!(document.status(), StatusCode::OK);

    let tcp = TcpStream::connect(front.proxy.address).await.unwrap();
    let tls = front.authority.connector().connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    let mut request = "wss://localhost/v1/stream".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "invigil.v1".parse().unwrap());
    let (mut stream, answer) = tokio_tungstenite::client_async(request, tls).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let challenge: Value = serde_json::from_str(stream.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(challenge["type"], "challenge");
}
