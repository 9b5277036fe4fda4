//! TLS on the server's own port: a real client with a certificate authority of its own, and certificates that change.

use std::path::Path;
use std::sync::Arc;

use invigil::client::{Client, ClientKey, Credentials, Event, Link, Trust};
use invigil::clock::{Clock, Entropy};
use invigil::gateway::wire::ServerMessage;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::harness::{Api, START_MS, Stage, frame};
use crate::metrics::scrape;

/// As the server: it looks at its files so often.
const LOOK_EVERY_MS: i64 = 10_000;

const EXPIRY: &str = "invigil_tls_certificate_expiry_timestamp_seconds";

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Writes its own certificate into `folder`, for who trusts it.
    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("ca.pem"), self.issuer.pem()).unwrap();
    }

    /// Writes a new certificate for `localhost` and its key into `folder`; returns the certificate.
    fn issue(&self, folder: &Path) -> CertificateDer<'static> {
        self.sign("localhost", 2040, folder)
    }

    /// The same for another name or address.
    pub fn issue_for(&self, name: &str, folder: &Path) -> CertificateDer<'static> {
        self.sign(name, 2040, folder)
    }

    /// The same, good until New Year of this year.
    fn issue_until(&self, folder: &Path, year: i32) -> CertificateDer<'static> {
        self.sign("localhost", year, folder)
    }

    fn sign(&self, name: &str, until_year: i32, folder: &Path) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    pub fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config).into()
    }
}

struct Ready {
    stage: Stage,
    authority: Authority,
    certificate: CertificateDer<'static>,
    folder: tempfile::TempDir,
}

async fn ready() -> Ready {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let certificate = authority.issue(folder.path());
    let stage = Stage::start_with(Clock::manual(START_MS), Clock::manual(START_MS), |_, config| {
        config.tls.certificate_file = Some(folder.path().join("cert.pem"));
        config.tls.key_file = Some(folder.path().join("key.pem"));
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    Ready { stage, authority, certificate, folder }
}

impl Ready {
    async fn connect(&self) -> TlsStream<TcpStream> {
        connect(self.stage.server.as_ref().unwrap().address, &self.authority.connector()).await
    }

    /// Lets the server look at its files until it has counted so many of `result`.
    async fn until_reloaded(&self, result: &str, count: f64) {
        let series = format!("invigil_tls_reloads_total{{result=\"{result}\"}}");
        while scrape(&self.stage).await[&series] < count {
            // Not the other clock: handshakes that are under way would be out of time.
            self.stage.wall.advance_ms(LOOK_EVERY_MS);
        }
    }
}

async fn connect(address: std::net::SocketAddr, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(address).await.unwrap();
    connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn is_answered(stream: &mut TlsStream<TcpStream>) -> bool {
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        if stream.read_buf(&mut answer).await.unwrap() == 0 {
            return false;
        }
    }
    answer.starts_with(b"HTTP/1.1 200")
}

#[tokio::test]
async fn the_stream_and_the_api_are_served_in_tls_and_not_without() {
    let ready = ready().await;
    let server = ready.stage.server.as_ref().unwrap();
    assert_eq!(server.public_url, format!("https://{}", server.address));
    // Clients that never begin their handshake hold nobody up.
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut stream = ready.connect().await;
    assert_eq!(shown(&stream), ready.certificate);
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(is_answered(&mut stream).await);

    let mut request = "wss://localhost/v1/stream".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "invigil.v1".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, ready.connect().await).await.unwrap();
    use futures_util::StreamExt as _;
    let Some(Ok(Message::Text(challenge))) = socket.next().await else { panic!("no challenge") };
    assert!(challenge.contains(r#""type":"challenge""#));

    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    drop(silent);
}

/// The client of the demo and the tests, from the enrolment to the verdict.
#[tokio::test]
async fn our_own_client_learns_over_tls() {
    let ready = ready().await;
    let stage = &ready.stage;
    let server = stage.server.as_ref().unwrap();
    let root = ready.authority.issuer.pem();
    let http = reqwest::Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(root.as_bytes()).unwrap())
        .resolve("localhost", server.address);
    let url = format!("https://localhost:{}", server.address.port());
    let operator = Api::new(&url, &server.operator_key).through(http.build().unwrap());
    let course = operator.course(&[390_000], "default").await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let credentials = Credentials {
        session: opened.session.clone(),
        token: opened.token,
        key: Arc::new(ClientKey::generate().unwrap()),
        device: None,
    };
    let stream = format!("wss://localhost:{}/v1/stream", server.address.port());
    let (clock, trust) = (stage.clock.clone(), Trust::only(root.as_bytes()).unwrap());
    let mut client = Client::connect_trusting(stream, credentials, clock, Entropy::system(), trust);
    let handle = client.handle().clone();
    handle.link().wait_for(|link| *link == Link::Up).await.unwrap();
    handle.send_event(Event::Windows { count: 1 }).await.unwrap();
    handle.acknowledged().wait_for(|seq| *seq == 1).await.unwrap();
    course.platform.post(&format!("/sessions/{}/close", opened.session), json!({"reason": "revoked"})).await;
    loop {
        match client.next().await {
            Some(ServerMessage::Closed(closed)) => break assert!(closed.verdict.get().contains("revoked")),
            Some(_) => {}
            None => panic!("the client ended without a verdict"),
        }
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_under_load_and_a_bad_one_is_not() {
    let ready = ready().await;
    let address = ready.stage.server.as_ref().unwrap().address;
    let mut older = ready.connect().await;
    let (stop, stopped) = watch::channel(false);
    let load: Vec<_> = (0..3)
        .map(|_| {
            let (connector, stopped) = (ready.authority.connector(), stopped.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while !*stopped.borrow() {
                    assert!(is_answered(&mut connect(address, &connector).await).await);
                    count += 1;
                }
                count
            })
        })
        .collect();

    assert_eq!(scrape(&ready.stage).await[EXPIRY], 2_208_988_800.0);
    let second = ready.authority.issue_until(ready.folder.path(), 2041);
    ready.until_reloaded("loaded", 1.0).await;
    assert_eq!(scrape(&ready.stage).await[EXPIRY], 2_240_611_200.0);
    assert_eq!(shown(&ready.connect().await), second);
    assert!(is_answered(&mut older).await, "an open connection stays");

    // The key of another certificate; no PEM at all; no file at all.
    let key_file = ready.folder.path().join("key.pem");
    std::fs::write(&key_file, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    ready.until_reloaded("refused", 1.0).await;
    assert_eq!(shown(&ready.connect().await), second);
    std::fs::write(&key_file, "nonsense").unwrap();
    ready.until_reloaded("refused", 2.0).await;
    std::fs::remove_file(&key_file).unwrap();
    ready.until_reloaded("refused", 3.0).await;
    assert_eq!(shown(&ready.connect().await), second);

    let third = ready.authority.issue(ready.folder.path());
    ready.until_reloaded("loaded", 2.0).await;
    assert_eq!(shown(&ready.connect().await), third);
    stop.send(true).unwrap();
    for task in load {
        assert!(task.await.unwrap() > 0);
    }
}
