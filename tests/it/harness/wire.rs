//! A bare WebSocket that speaks docs/protocol.md line by line, and can say wrong things.

use futures_util::{SinkExt as _, StreamExt as _};
use invigil::client::ClientKey;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::Opened;

/// What the server said.
#[derive(Debug)]
pub enum Heard {
    Message(Value),
    Close(u16),
    Gone,
}

/// A connection; `seen` holds every message in the order in which it came.
pub struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub seen: Vec<Value>,
    pub seq: u64,
}

impl Wire {
    /// Connects and reads the challenge.
    pub async fn connect(url: &str) -> (Self, String) {
        Self::try_connect(url, &[]).await.unwrap()
    }

    /// Connects with more headers, and reads the challenge; or what the server says instead.
    pub async fn try_connect(url: &str, headers: &[(&'static str, &str)]) -> Result<(Self, String), Error> {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "invigil.v1".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut wire = Self { socket, seen: Vec::new(), seq: 0 };
        let challenge = wire.expect("challenge").await;
        let nonce = challenge["nonce"].as_str().unwrap().to_owned();
        Ok((wire, nonce))
    }

    /// A hello that is in order.
    pub fn hello(opened: &Opened, key: &ClientKey, nonce: &str, ct: i64) -> Value {
        json!({"type": "hello", "session": opened.session, "token": opened.token, "key": key.public(),
            "signature": key.sign_hello(nonce, &opened.session, &opened.token).unwrap(), "ct": ct, "acknowledged": 0})
    }

    /// Connects, says hello and answers the ping; returns with the welcome.
    pub async fn enter(url: &str, opened: &Opened, key: &ClientKey, ct: i64) -> (Self, Value) {
        let (mut wire, nonce) = Self::connect(url).await;
        wire.send(Self::hello(opened, key, &nonce, ct)).await;
        let ping = wire.expect("ping").await;
        wire.send(json!({"type": "pong", "id": ping["id"], "ct": ct})).await;
        let welcome = wire.expect("welcome").await;
        (wire, welcome)
    }

    pub async fn send(&mut self, message: Value) {
        self.raw(Message::text(message.to_string())).await;
    }

    pub async fn raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends an event under the next `seq`.
    pub async fn event(&mut self, ct: i64, kind: &str, data: Value) {
        self.seq += 1;
        let seq = self.seq;
        self.send(json!({"seq": seq, "ct": ct, "type": kind, "data": data})).await;
    }

    /// Sends an event and waits until it is on disk.
    pub async fn kept(&mut self, ct: i64, kind: &str, data: Value) {
        self.event(ct, kind, data).await;
        self.acknowledged().await;
    }

    /// Waits until all events so far are on disk.
    pub async fn acknowledged(&mut self) {
        while self.expect("ack").await["seq"].as_u64().unwrap() < self.seq {}
    }

    pub async fn hear(&mut self) -> Heard {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    self.seen.push(message.clone());
                    return Heard::Message(message);
                }
                Some(Ok(Message::Close(frame))) => return Heard::Close(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Gone,
            }
        }
    }

    /// The next message of this type; those in between are only noted.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            match self.hear().await {
                Heard::Message(message) if message["type"] == kind => return message,
                Heard::Message(_) => {}
                end => panic!("waited for {kind}, but {end:?} after {:?}", self.seen),
            }
        }
    }

    /// The next error's code and field, and the close code that follows (none when the connection stays).
    pub async fn refusal(&mut self) -> (String, Option<String>) {
        let error = self.expect("error").await;
        (error["code"].as_str().unwrap().to_owned(), error["field"].as_str().map(str::to_owned))
    }

    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.hear().await {
                Heard::Close(code) => {
                    // Reading on sends our own close, for which the server waits.
                    while let Some(Ok(_)) = self.socket.next().await {}
                    return code;
                }
                Heard::Message(_) => {}
                Heard::Gone => panic!("gone without a close after {:?}", self.seen),
            }
        }
    }

    /// What of this type has come so far.
    pub fn seen_of(&self, kind: &str) -> Vec<&Value> {
        self.seen.iter().filter(|message| message["type"] == kind).collect()
    }

    /// Commits to a photo.
    pub async fn commit(&mut self, ct: i64, capture: &Value, photo: &[u8]) {
        self.kept(ct, "capture.submitted", json!({"capture": capture["capture"], "sha256": sha256(photo)})).await;
    }

    /// Sends a photo's bytes under the capture's nonce.
    pub async fn photo(&mut self, capture: &Value, photo: &[u8]) {
        let header = json!({"capture": capture["capture"], "nonce": capture["nonce"], "ct": 0}).to_string();
        self.raw(Message::binary(photo_frame(&header, photo))).await;
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

pub fn photo_frame(header: &str, photo: &[u8]) -> Vec<u8> {
    [&(header.len() as u32).to_be_bytes(), header.as_bytes(), photo].concat()
}

/// Where a player is.
pub fn at(pos_ms: i64) -> Value {
    json!({"playing": true, "pos_ms": pos_ms, "rate": 1.0})
}

/// A player that begins.
pub fn play(pos_ms: i64) -> Value {
    json!({"event": "play", "playing": true, "pos_ms": pos_ms, "rate": 1.0})
}
