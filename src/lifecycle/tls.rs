//! TLS on the server's own port: certificate and key from files, taken up again when they change.
//!
//! New files that cannot be used are refused and said; the server goes on with what it has. Connections that are open
//! keep what they began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{Context, SHA256};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use x509_cert::der::Decode as _;

use crate::clock::Clock;
use crate::telemetry::Telemetry;

/// How often the files are looked at, ms.
pub const LOOK_EVERY_MS: i64 = 10_000;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// the file
        path: PathBuf,
        /// what the system said
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{path}: {why}")]
    Pem {
        /// the file
        path: PathBuf,
        /// what is wrong with it
        why: String,
    },
    /// The two do not go together.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// A certificate with its key, ready to be served.
#[derive(Clone)]
pub struct Pair {
    config: Arc<ServerConfig>,
    /// the certificate's `notAfter`, s since the Unix epoch; none when it cannot be told, which hinders no client
    pub expires_at_s: Option<u64>,
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// When a file cannot be read, holds something else, or the key is another certificate's.
pub fn read(certificate_file: &Path, key_file: &Path) -> Result<Pair, TlsError> {
    Files::read(certificate_file, key_file)?.pair()
}

fn expires_at_s(certificate: &CertificateDer) -> Option<u64> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}

/// What the two files hold.
struct Files<'a> {
    certificate_file: &'a Path,
    key_file: &'a Path,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl<'a> Files<'a> {
    fn read(certificate_file: &'a Path, key_file: &'a Path) -> Result<Self, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source });
        Ok(Self { certificate_file, key_file, certificate: read(certificate_file)?, key: read(key_file)? })
    }

    fn digest(&self) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        context.update(&(self.certificate.len() as u64).to_be_bytes());
        context.update(&self.certificate);
        context.update(&self.key);
        context.finish().as_ref().to_vec()
    }

    fn pair(&self) -> Result<Pair, TlsError> {
        let wrong = |path: &Path, why: String| TlsError::Pem { path: path.to_owned(), why };
        let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(self.certificate_file, error.to_string()))?;
        let Some(own) = chain.first() else {
            return Err(wrong(self.certificate_file, "no certificate in PEM".into()));
        };
        let expires_at_s = expires_at_s(own);
        // The error is not repeated: it could hold a part of the key.
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| wrong(self.key_file, "no private key in PEM".into()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Pair { config: Arc::new(config), expires_at_s })
    }
}

/// The certificate in force. Cheap to clone.
#[derive(Clone)]
pub(super) struct Certificate(Arc<Inner>);

struct Inner {
    certificate_file: PathBuf,
    key_file: PathBuf,
    current: Mutex<Pair>,
    /// what the files held when they were loaded
    loaded: Vec<u8>,
}

impl Certificate {
    pub(super) fn load(certificate_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let files = Files::read(certificate_file, key_file)?;
        let (current, loaded) = (Mutex::new(files.pair()?), files.digest());
        let (certificate_file, key_file) = (certificate_file.to_owned(), key_file.to_owned());
        Ok(Self(Arc::new(Inner { certificate_file, key_file, current, loaded })))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current().config.into()
    }

    fn current(&self) -> Pair {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says in the metrics until when the certificate in force is good.
    pub(super) fn show_expiry(&self, telemetry: &Telemetry) {
        telemetry.tls_expiry.set(self.current().expires_at_s.unwrap_or(0) as f64);
    }

    /// Looks at the files for ever, and takes up what is new in them.
    pub(super) async fn follow(self, wall: Clock, telemetry: Arc<Telemetry>) {
        let mut seen = self.0.loaded.clone();
        loop {
            let this = self.clone();
            let before = seen.clone();
            let looked = tokio::task::spawn_blocking(move || this.look(&before)).await;
            if let Ok((now, outcome)) = looked {
                seen = now;
                match outcome {
                    Some(Ok(())) => {
                        self.show_expiry(&telemetry);
                        telemetry.tls_reloads.count("loaded");
                        tracing::info!("a new certificate is in force");
                    }
                    Some(Err(error)) => {
                        telemetry.tls_reloads.count("refused");
                        tracing::error!(%error, "the new certificate is refused; the one before stays in force");
                    }
                    None => {}
                }
            }
            wall.sleep_ms(LOOK_EVERY_MS).await;
        }
    }

    /// What the files hold now, by a digest, and what came of it if it differs from `before`.
    fn look(&self, before: &[u8]) -> (Vec<u8>, Option<Result<(), TlsError>>) {
        let files = match Files::read(&self.0.certificate_file, &self.0.key_file) {
            Ok(files) => files,
            Err(error) => {
                let now = error.to_string().into_bytes();
                let is_new = before != now;
                return (now, is_new.then_some(Err(error)));
            }
        };
        let now = files.digest();
        if before == now {
            return (now, None);
        }
        let taken = files.pair().map(|pair| {
            *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = pair;
        });
        (now, Some(taken))
    }
}
