//! Whose signature on a server's certificate a client believes.

use std::sync::{Arc, LazyLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Root certificates, for `wss://`.
#[derive(Clone, Debug, Default)]
pub struct Trust(Roots);

#[derive(Clone, Debug, Default)]
enum Roots {
    /// Those that the machine trusts, read when the first connection needs them.
    #[default]
    System,
    Given(Arc<ClientConfig>),
}

/// Why root certificates cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrustError {
    /// The text is no PEM, or something in it is no certificate.
    #[error("no root certificates in PEM: {0}")]
    Unreadable(String),
    /// There is none.
    #[error("there is no root certificate")]
    Empty,
}

impl Trust {
    /// The roots that the machine trusts.
    pub fn system() -> Self {
        Self::default()
    }

    /// These roots (PEM) and no others.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn only(pem: &[u8]) -> Result<Self, TrustError> {
        let unreadable = |error: &dyn std::fmt::Display| TrustError::Unreadable(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        config(roots).map(|config| Self(Roots::Given(config)))
    }

    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        static SYSTEM: LazyLock<Result<Arc<ClientConfig>, TrustError>> = LazyLock::new(|| {
            let mut roots = RootCertStore::empty();
            // A machine has many, and some that nobody can read: the others do.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            config(roots)
        });
        match &self.0 {
            Roots::System => SYSTEM.clone(),
            Roots::Given(config) => Ok(config.clone()),
        }
    }
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, TrustError> {
    if roots.is_empty() {
        return Err(TrustError::Empty);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| TrustError::Unreadable(error.to_string()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
