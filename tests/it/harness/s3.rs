//! An S3-compatible store in this process: s3s, which checks signatures and digests and honours If-None-Match, over a
//! temporary folder. Its connections, and what goes wrong on them, are ours.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use invigil::config::{Config, EvidenceSettings, Secret};
use invigil::store::evidence::{EvidenceId, relative_path};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Any port of an address from which nobody dials out, so that no outgoing connection takes the port while the store is
/// away.
const ANY_PORT: &str = "127.0.0.3:0";
/// Where it is.
pub const HOST: &str = "127.0.0.3";
const REGION: &str = "cn-test-1";
pub const BUCKET: &str = "evidence";
pub const PREFIX: &str = "photos/of-tests";
pub const KEY_ID: &str = "AKIDOFTESTS";
pub const SECRET: &str = "5ec2e75ec2e75ec2e7";
/// The largest body that is taken.
const BODY_BYTES_LIMIT: usize = 16 << 20;

/// What goes wrong with the next requests that write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Answers so without doing anything.
    Answers(StatusCode),
    /// Carries it out and hangs up without an answer.
    LosesTheAnswer,
    /// Carries it out and never answers.
    Hangs,
    /// A bit of the body is another than was sent.
    FlipsABit,
    /// Makes room under the name first: a store that does not honour If-None-Match.
    Replaces,
}

/// The store; stopped when it is dropped.
pub struct S3 {
    folder: TempDir,
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
    tls: Option<TlsAcceptor>,
}

struct Shared {
    service: S3Service,
    folder: PathBuf,
    /// how often, and what
    trouble: Mutex<Option<(usize, Trouble)>>,
    /// method, path and headers of every request
    seen: Mutex<Vec<(Method, String, HeaderMap)>>,
}

impl S3 {
    /// A store with one empty bucket.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same, which speaks TLS with `cert.pem` and `key.pem` of this folder: a certificate for [`HOST`].
    pub async fn start_with_tls(folder: &Path) -> Self {
        let certificates = CertificateDer::pem_file_iter(folder.join("cert.pem")).unwrap();
        let certificates = certificates.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(certificates, key).unwrap();
        Self::start_with(Some(Arc::new(config).into())).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let shared = Shared {
            service: builder.build(),
            folder: folder.path().to_owned(),
            trouble: Mutex::default(),
            seen: Mutex::default(),
        };
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(shared);
        let serving = Some(tokio::spawn(serve(listener, tls.clone(), shared.clone())));
        Self { folder, address, shared, serving, tls }
    }

    /// The settings of whoever may use it.
    pub fn settings(&self) -> EvidenceSettings {
        EvidenceSettings {
            url: Some(format!("s3://{BUCKET}/{PREFIX}")),
            endpoint: Some(self.endpoint()),
            region: REGION.into(),
            access_key_id: Some(KEY_ID.into()),
            secret_access_key: Some(Secret::new(SECRET)),
            allow_http: true,
            ..Config::default().evidence
        }
    }

    /// The same as a part of a configuration file.
    pub fn toml(&self) -> String {
        format!(
            "[evidence]\nurl = \"s3://{BUCKET}/{PREFIX}\"\nendpoint = \"{}\"\nregion = \"{REGION}\"\n\
             access_key_id = \"{KEY_ID}\"\nsecret_access_key = \"{SECRET}\"\nallow_http = true\n",
            self.endpoint()
        )
    }

    fn endpoint(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Goes away: nobody can connect, and open connections end.
    pub async fn stop(&mut self) {
        let serving = self.serving.take().expect("it runs");
        serving.abort();
        let _ = serving.await;
    }

    /// Comes back to the address where it was.
    pub async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serving = Some(tokio::spawn(serve(listener, self.tls.clone(), self.shared.clone())));
    }

    /// The next `times` requests that write meet this.
    pub fn give_trouble(&self, times: usize, trouble: Trouble) {
        *self.shared.trouble.lock().unwrap() = Some((times, trouble));
    }

    /// What came with the requests of this method so far.
    pub fn seen(&self, method: &Method) -> Vec<HeaderMap> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|(seen, ..)| seen == method).map(|(.., headers)| headers.clone()).collect()
    }

    /// The folder that holds what lies below the prefix.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join(BUCKET).join(PREFIX)
    }

    /// The names of all photos that it holds.
    pub fn photos(&self) -> Vec<String> {
        let folders = std::fs::read_dir(self.files()).into_iter().flatten().flatten();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
        files.map(|file| file.file_name().into_string().unwrap()).collect()
    }

    /// The file of a photo.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files().join(relative_path(&EvidenceId::parse(name).unwrap()))
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Dropped with this task, and with them all connections.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), shared.clone());
        connections.spawn(async move {
            match tls {
                Some(tls) => converse(tls.accept(socket).await?, shared).await,
                None => converse(socket, shared).await,
            }
            Ok::<_, std::io::Error>(())
        });
    }
}

async fn converse(socket: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(shared.clone(), request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

/// An error ends the connection without an answer.
async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<s3s::Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    shared.seen.lock().unwrap().push((head.method.clone(), head.uri.path().to_owned(), head.headers.clone()));
    // s3s-fs makes a bucket of whatever is written to; no real store does.
    if head.uri.path().trim_start_matches('/').split('/').next() != Some(BUCKET) {
        let said = s3s::Body::from("<Error><Code>NoSuchBucket</Code></Error>".to_owned());
        return Ok(Response::builder().status(StatusCode::NOT_FOUND).body(said).unwrap());
    }
    let mut body = to_bytes(Body::new(body), BODY_BYTES_LIMIT).await.map_err(std::io::Error::other)?;
    let trouble = if head.method == Method::PUT { shared.next_trouble() } else { None };
    match trouble {
        Some(Trouble::Answers(status)) => {
            let said = format!("<Error><Code>SlowDown</Code><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>");
            return Ok(Response::builder().status(status).body(s3s::Body::from(said)).unwrap());
        }
        Some(Trouble::FlipsABit) => {
            let mut bytes = body.to_vec();
            bytes[0] ^= 1;
            body = Bytes::from(bytes);
        }
        Some(Trouble::Replaces) => {
            let _ = std::fs::remove_file(shared.folder.join(head.uri.path().trim_start_matches('/')));
        }
        Some(Trouble::LosesTheAnswer | Trouble::Hangs) | None => {}
    }
    let answered = shared.service.call(Request::from_parts(head, s3s::Body::from(body))).await;
    match trouble {
        Some(Trouble::LosesTheAnswer) => Err(std::io::Error::other("the answer is lost")),
        Some(Trouble::Hangs) => std::future::pending().await,
        _ => answered.map_err(|error| std::io::Error::other(format!("{error:?}"))),
    }
}

impl Shared {
    fn next_trouble(&self) -> Option<Trouble> {
        let mut trouble = self.trouble.lock().unwrap();
        let (times, what) = (*trouble)?;
        *trouble = (times > 1).then_some((times - 1, what));
        Some(what)
    }
}
