//! A platform's receiver of webhooks, which takes whatever comes.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use tokio::sync::mpsc;

/// A webhook as it came.
pub struct Hook {
    pub headers: HeaderMap,
    pub body: String,
}

/// Its address, and what it receives.
pub async fn receiver() -> (String, mpsc::UnboundedReceiver<Hook>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    let take = async |State(sender): State<mpsc::UnboundedSender<Hook>>, headers: HeaderMap, body: String| {
        // An error means that the test has heard enough.
        let _ = sender.send(Hook { headers, body });
    };
    let router = axum::Router::new().route("/", post(take)).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}
