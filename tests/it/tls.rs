//! TLS on the server's own port: a real client with a certificate authority of its own, and certificates that change.

use std::path::Path;
use std::sync::Arc;

use invigil::clock::Clock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::harness::{START_MS, Stage};
use crate::metrics::scrape;

/// As the server: it looks at its files so often.
const LOOK_EVERY_MS: i64 = 10_000;

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
        self.issue_for("localhost", folder)
    }

    /// The same for another name or address.
    pub fn issue_for(&self, name: &str, folder: &Path) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
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

    /// Lets the server look at its files until it has counted one more of `result`.
    async fn until_reloaded(&self, result: &str) {
        let series = format!("invigil_tls_reloads_total{{result=\"{result}\"}}");
        let before = scrape(&self.stage).await[&series];
        while scrape(&self.stage).await[&series] == before {
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

    let second = ready.authority.issue(ready.folder.path());
    ready.until_reloaded("loaded").await;
    assert_eq!(shown(&ready.connect().await), second);
    assert!(is_answered(&mut older).await, "an open connection stays");

    // The key of another certificate; no PEM at all; no file at all.
    let key_file = ready.folder.path().join("key.pem");
    std::fs::write(&key_file, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    ready.until_reloaded("refused").await;
    assert_eq!(shown(&ready.connect().await), second);
    std::fs::write(&key_file, "nonsense").unwrap();
    ready.until_reloaded("refused").await;
    std::fs::remove_file(&key_file).unwrap();
    ready.until_reloaded("refused").await;
    assert_eq!(shown(&ready.connect().await), second);

    let third = ready.authority.issue(ready.folder.path());
    ready.until_reloaded("loaded").await;
    assert_eq!(shown(&ready.connect().await), third);
    stop.send(true).unwrap();
    for task in load {
        assert!(task.await.unwrap() > 0);
    }
}
