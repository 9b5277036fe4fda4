//! `invigil bench echo`: a bare WebSocket server on the same libraries and buffers as ours, which sends back what it gets.
//!
//! The yardstick of `invigil bench ingest`: what reading and writing a message costs before anything is done with it.
//! Hidden, because nobody but that benchmark wants it.

use std::net::SocketAddr;
use std::process::ExitCode;

use axum::Router;
use axum::extract::WebSocketUpgrade;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::gateway::{BUFFER_BYTES, wire};

/// Echoes what it gets.
#[derive(Debug, clap::Args)]
pub struct EchoArgs {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

impl EchoArgs {
    /// Serves until it is killed; says on standard output where.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        crate::cli::runtime()?.block_on(async {
            use axum::serve::ListenerExt as _;
            let listener = TcpListener::bind(self.listen).await?;
            crate::cli::say(listener.local_addr()?)?;
            let listener = listener.tap_io(|stream| {
                // As the server does: without it, the yardstick would be slow and cheap.
                let _ = stream.set_nodelay(true);
            });
            axum::serve(listener, Router::new().route(wire::STREAM_PATH, get(echo))).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

async fn echo(upgrade: WebSocketUpgrade) -> axum::response::Response {
    upgrade.read_buffer_size(BUFFER_BYTES).write_buffer_size(0).on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}
