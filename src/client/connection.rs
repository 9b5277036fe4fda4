//! One connection: from the TCP handshake to the welcome, and why it came to an end.

use std::io;

use axum::http::HeaderValue;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use super::{Credentials, Ending, Trust};
use crate::clock::Clock;
use crate::gateway::wire::{self, Control, ErrorCode, ErrorMessage, Hello, ServerMessage, Welcome};

/// A client that hears nothing for so long takes the connection for dead.
pub(super) const SILENCE_LIMIT_MS: i64 = 30_000;
/// Thousands of clients share a benchmark's machine: the library's own buffers take 128 KiB each.
const BUFFER_BYTES: usize = 4 * 1024;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What follows after a connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Another one, not before that time when one is given.
    Reconnect { after_ms: Option<i64> },
    /// Another one, once there is a token.
    Token,
    /// None.
    End(Ending),
}

impl Next {
    pub(super) const RECONNECT: Self = Self::Reconnect { after_ms: None };

    /// After an error that the server gave: its code says whether coming back can help.
    pub(super) fn after_error(error: &ErrorMessage) -> Option<Self> {
        error.code.close_code()?;
        Some(match error.code {
            ErrorCode::HelloTimeout | ErrorCode::TooManyEvents | ErrorCode::Overloaded => {
                Self::Reconnect { after_ms: error.retry_after_ms }
            }
            ErrorCode::TokenExpired | ErrorCode::TokenUnknown => Self::Token,
            code => Self::End(Ending::Refused(code)),
        })
    }

    /// After a close without an error before it, as when the error was lost on the way.
    fn after_close(code: u16) -> Self {
        match code {
            wire::close::NORMAL => Self::End(Ending::Closed),
            4400 => Self::End(Ending::Refused(ErrorCode::BadMessage)),
            4401 => Self::Token,
            4403 => Self::End(Ending::Refused(ErrorCode::OriginRefused)),
            4409 => Self::End(Ending::Refused(ErrorCode::Superseded)),
            4410 => Self::End(Ending::Refused(ErrorCode::SessionClosed)),
            _ => Self::RECONNECT,
        }
    }

    /// After something that is no text message of the server.
    pub(super) fn after_frame(frame: Option<tungstenite::Result<Message>>) -> Option<Self> {
        match frame {
            None | Some(Err(_)) => Some(Self::RECONNECT),
            Some(Ok(Message::Close(close))) => {
                Some(close.map_or(Self::RECONNECT, |frame| Self::after_close(frame.code.into())))
            }
            Some(Ok(_)) => None,
        }
    }
}

/// Who connects, and to where.
pub(super) struct Caller<'a> {
    pub(super) url: &'a str,
    pub(super) credentials: &'a Credentials,
    pub(super) trust: &'a Trust,
    pub(super) acknowledged: u64,
    pub(super) clock: &'a Clock,
    /// what the clock showed when the client's own began
    pub(super) origin_ms: i64,
}

impl Caller<'_> {
    /// Connects and shakes hands.
    pub(super) async fn call(self) -> Result<(Socket, Welcome), Next> {
        let mut socket = tokio::select! {
            connected = self.connect() => connected.map_err(|error| {
                tracing::debug!(%error, url = self.url, "no connection");
                Next::RECONNECT
            })?,
            () = self.clock.sleep_ms(SILENCE_LIMIT_MS) => return Err(Next::RECONNECT),
        };
        loop {
            let reply = match self.hear(&mut socket).await? {
                ServerMessage::Challenge { nonce, .. } => self.hello(&nonce)?,
                ServerMessage::Ping { id } => Control::Pong { id, ct: self.ct() },
                ServerMessage::Welcome(welcome) => return Ok((socket, welcome)),
                ServerMessage::Error(error) => return Err(Next::after_error(&error).unwrap_or(Next::RECONNECT)),
                _ => continue,
            };
            socket.send(Message::text(reply.to_text())).await.map_err(|_| Next::RECONNECT)?;
        }
    }

    async fn connect(&self) -> tungstenite::Result<Socket> {
        let mut request = self.url.into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(wire::SUBPROTOCOL));
        let config = WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(BUFFER_BYTES);
        let connector = match request.uri().scheme_str() {
            Some("wss") => Connector::Rustls(self.trust.config().map_err(io::Error::other)?),
            _ => Connector::Plain,
        };
        Ok(connect_async_tls_with_config(request, Some(config), true, Some(connector)).await?.0)
    }

    /// The next message of the server, unless it stays silent.
    async fn hear(&self, socket: &mut Socket) -> Result<ServerMessage, Next> {
        loop {
            let frame = tokio::select! {
                frame = socket.next() => frame,
                () = self.clock.sleep_ms(SILENCE_LIMIT_MS) => return Err(Next::RECONNECT),
            };
            if let Some(Ok(Message::Text(text))) = &frame {
                return ServerMessage::parse(text).map_err(|_| Next::RECONNECT);
            }
            if let Some(next) = Next::after_frame(frame) {
                return Err(next);
            }
        }
    }

    fn hello(&self, nonce: &str) -> Result<Control, Next> {
        let Credentials { session, token, key, device } = self.credentials;
        let signature = key.sign_hello(nonce, session, token).map_err(|_| Next::RECONNECT)?;
        Ok(Control::Hello(Hello {
            session: session.clone(),
            token: token.clone(),
            key: key.public(),
            signature,
            ct: self.ct(),
            acknowledged: self.acknowledged,
            device: device.clone(),
        }))
    }

    fn ct(&self) -> i64 {
        self.clock.now_ms() - self.origin_ms
    }
}
