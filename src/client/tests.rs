//! The client against a scripted server that says only what the script says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt as _, StreamExt as _};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::*;
use crate::gateway::wire::{
    self, ClientMessage, Closed, Control, ErrorMessage, Hello, PauseReason, PhotoHeader, Welcome,
};

type Socket = WebSocketStream<TcpStream>;

struct Script {
    listener: TcpListener,
}

impl Script {
    async fn start() -> (Self, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}{}", listener.local_addr().unwrap(), wire::STREAM_PATH);
        let key = Arc::new(ClientKey::generate().unwrap());
        let credentials = Credentials { session: "s1".into(), token: "ivt_1".into(), key, device: None };
        let client = Client::connect(url, credentials, Clock::scaled(20), Entropy::seeded(1));
        (Self { listener }, client)
    }

    /// Takes the next connection up to the client's hello, which must be signed.
    async fn hello(&self) -> (Socket, Hello) {
        let (stream, _) = self.listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let upgrade = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), wire::STREAM_PATH);
            let asked = request.headers()["sec-websocket-protocol"].clone();
            assert_eq!(asked, wire::SUBPROTOCOL);
            response.headers_mut().insert("sec-websocket-protocol", asked);
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, upgrade).await.unwrap();
        say(&mut socket, ServerMessage::Challenge { nonce: "bm9uY2U".into(), server: "script".into() }).await;
        let Control::Hello(hello) = control(&mut socket).await else { panic!("no hello") };
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let text = wire::hello_text("bm9uY2U", &hello.session, &hello.token);
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decode(&hello.key));
        key.verify(text.as_bytes(), &decode(&hello.signature)).unwrap();
        (socket, hello)
    }

    async fn welcome(&self, acknowledged: u64, pause: Option<PauseReason>) -> (Socket, Hello) {
        let (mut socket, hello) = self.hello().await;
        say(&mut socket, ServerMessage::Ping { id: 7 }).await;
        assert!(matches!(control(&mut socket).await, Control::Pong { id: 7, .. }));
        let welcome = Welcome {
            session: hello.session.clone(),
            acknowledged,
            duration_ms: 400_000,
            furthest_ms: 0,
            position_ms: 0,
            heartbeat_ms: 5_000,
            pause,
        };
        say(&mut socket, ServerMessage::Welcome(welcome)).await;
        (socket, hello)
    }
}

async fn say(socket: &mut Socket, message: ServerMessage) {
    socket.send(Message::text(message.to_text())).await.unwrap();
}

async fn heard(socket: &mut Socket) -> String {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn control(socket: &mut Socket) -> Control {
    let text = heard(socket).await;
    match ClientMessage::parse(&text) {
        Ok(ClientMessage::Control(control)) => control,
        other => panic!("{other:?}"),
    }
}

/// The `seq` and type of the next message, which must be an event.
async fn event(socket: &mut Socket) -> (u64, String) {
    let text = heard(socket).await;
    match ClientMessage::parse(&text) {
        Ok(ClientMessage::Event(event)) => (event.seq, event.kind.into_owned()),
        other => panic!("{other:?}"),
    }
}

fn closed() -> ServerMessage {
    let verdict = serde_json::value::to_raw_value(&serde_json::json!({"status": "valid"})).unwrap();
    ServerMessage::Closed(Closed { reason: "completed".into(), verdict })
}

fn capture() -> Capture {
    Capture {
        capture: "c1".into(),
        nonce: "n".into(),
        reason: "start".into(),
        frames: 3,
        frame_every_ms: 300,
        challenge: None,
        commit_within_ms: 20_000,
        send_within_ms: 60_000,
        bytes_limit: 524_288,
        pixels_limit: 4_000_000,
        committed: None,
    }
}

#[tokio::test]
async fn a_lost_connection_loses_no_event_and_no_token() {
    let (script, mut client) = Script::start().await;
    let handle = client.handle().clone();
    for count in 1..=3 {
        handle.send_event(Event::Windows { count }).await.unwrap();
    }
    let (mut socket, hello) = script.welcome(0, None).await;
    assert_eq!(hello.acknowledged, 0);
    for seq in 1..=3 {
        assert_eq!(event(&mut socket).await, (seq, "windows".to_owned()));
    }
    say(&mut socket, ServerMessage::Ack { seq: 2 }).await;
    say(&mut socket, ServerMessage::Renew { token: "ivt_2".into(), expires_in_ms: 900_000 }).await;
    handle.acknowledged().wait_for(|seq| *seq == 2).await.unwrap();
    assert!(matches!(client.next().await, Some(ServerMessage::Welcome(_))));
    assert!(matches!(client.next().await, Some(ServerMessage::Renew { .. })));
    drop(socket);
    handle.link().wait_for(|link| matches!(link, Link::Down { .. })).await.unwrap();
    let (mut socket, hello) = script.welcome(2, None).await;
    assert_eq!((hello.acknowledged, hello.token.as_str()), (2, "ivt_2"));
    assert_eq!(event(&mut socket).await.0, 3);
    handle.close(LeaveReason::Completed).await.unwrap();
    assert_eq!(control(&mut socket).await, Control::Close { reason: LeaveReason::Completed });
    say(&mut socket, closed()).await;
    assert!(matches!(client.next().await, Some(ServerMessage::Welcome(_))));
    let Some(ServerMessage::Closed(closed)) = client.next().await else { panic!("not closed") };
    assert_eq!(closed.verdict.get(), r#"{"status":"valid"}"#);
    assert!(client.next().await.is_none());
    assert_eq!(*handle.link().borrow(), Link::Ended(Ending::Closed));
    assert_eq!(handle.ready().await, Err(Ended));
}

#[tokio::test]
async fn a_photo_follows_its_commitment_across_connections() {
    let (script, mut client) = Script::start().await;
    let (mut socket, _) = script.welcome(0, None).await;
    say(&mut socket, ServerMessage::Capture(capture())).await;
    assert!(matches!(client.next().await, Some(ServerMessage::Welcome(_))));
    let Some(ServerMessage::Capture(asked)) = client.next().await else { panic!("no capture") };
    client.handle().send_photo(asked, b"jpeg".to_vec()).await.unwrap();
    assert_eq!(event(&mut socket).await, (1, "capture.submitted".to_owned()));
    drop(socket);
    let (mut socket, _) = script.welcome(0, None).await;
    assert_eq!(event(&mut socket).await.0, 1);
    say(&mut socket, ServerMessage::Capture(Capture { nonce: "m".into(), ..capture() })).await;
    say(&mut socket, ServerMessage::Ack { seq: 1 }).await;
    let Some(Ok(Message::Binary(frame))) = socket.next().await else { panic!("no photo") };
    let (header, photo) = PhotoHeader::parse(&frame).unwrap();
    assert_eq!((header.nonce.as_str(), photo), ("m", b"jpeg".as_slice()));
    say(&mut socket, ServerMessage::PhotoReceived { capture: "c1".into() }).await;
    assert!(matches!(client.next().await, Some(ServerMessage::Welcome(_))));
    assert!(matches!(client.next().await, Some(ServerMessage::PhotoReceived { .. })));
}

#[tokio::test]
async fn readiness_and_a_cut_cable() {
    let (script, client) = Script::start().await;
    let handle = client.handle();
    handle.ready().await.unwrap();
    let (mut socket, _) = script.welcome(0, Some(PauseReason::WrongAnswers)).await;
    assert_eq!(control(&mut socket).await, Control::Ready);
    say(&mut socket, ServerMessage::Play).await;
    handle.cut(2_000).await.unwrap();
    assert!(!matches!(socket.next().await, Some(Ok(Message::Close(_)))), "cut means without a word");
    handle.ready().await.unwrap();
    handle.send_event(Event::Windows { count: 1 }).await.unwrap();
    let (mut socket, _) = script.welcome(0, None).await;
    assert_eq!(event(&mut socket).await.0, 1, "the welcome says that nobody waits for the learner");
}

#[tokio::test]
async fn an_error_ends_waits_or_asks_for_a_token() {
    let (script, client) = Script::start().await;
    let handle = client.handle().clone();
    let error = |code, retry_after_ms| {
        ServerMessage::Error(ErrorMessage { code, field: None, detail: String::new(), retry_after_ms, capture: None })
    };
    let (mut socket, _) = script.hello().await;
    say(&mut socket, error(ErrorCode::Overloaded, Some(3_000))).await;
    let (mut socket, _) = script.hello().await;
    assert!(handle.ct_ms() >= 3_000);
    say(&mut socket, error(ErrorCode::TokenExpired, None)).await;
    handle.link().wait_for(|link| *link == Link::TokenNeeded).await.unwrap();
    handle.renew_token("ivt_9".into()).await.unwrap();
    let (mut socket, hello) = script.hello().await;
    assert_eq!(hello.token, "ivt_9");
    say(&mut socket, error(ErrorCode::Superseded, None)).await;
    let ended = Link::Ended(Ending::Refused(ErrorCode::Superseded));
    handle.link().wait_for(|link| *link == ended).await.unwrap();
}

#[tokio::test]
async fn over_tls_the_certificate_must_rest_on_a_root_that_is_trusted() {
    let names = || vec!["localhost".to_owned()];
    let (own, others) =
        (rcgen::generate_simple_self_signed(names()).unwrap(), rcgen::generate_simple_self_signed(names()).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}{}", listener.local_addr().unwrap().port(), wire::STREAM_PATH);
    let connect = |pem: String| {
        let key = Arc::new(ClientKey::generate().unwrap());
        let credentials = Credentials { session: "s1".into(), token: "ivt_1".into(), key, device: None };
        let trust = Trust::only(pem.as_bytes()).unwrap();
        Client::connect_trusting(url.as_str(), credentials, Clock::scaled(20), Entropy::seeded(1), trust)
    };

    let stranger = connect(others.cert.pem());
    let refused = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap_err().to_string();
    assert!(refused.contains("fatal alert"), "{refused}");
    drop(stranger);
    let _client = connect(own.cert.pem());
    let mut stream = loop {
        // The other one may have come again before it was dropped.
        if let Ok(stream) = acceptor.accept(listener.accept().await.unwrap().0).await {
            break stream;
        }
    };
    let mut begun = [0; 15];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut begun).await.unwrap();
    assert_eq!(&begun, b"GET /v1/stream ");
}

#[test]
fn roots_that_are_none_are_refused() {
    assert!(matches!(Trust::only(b"no roots"), Err(TrustError::Empty)));
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(Trust::only(broken), Err(TrustError::Unreadable(_))));
}
