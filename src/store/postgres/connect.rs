//! How PostgreSQL is reached: address, user and TLS, out of one URL.

use std::path::Path;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long it may take to reach one address, unless the URL says.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that answers nothing for so long is gone: the connection is given up, and another is tried.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// A silent connection is asked for a sign of life after this long, and then as often as it takes.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Why a URL or what belongs to it cannot be used. The URL is not repeated: it holds a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no URL of PostgreSQL, or has a parameter that means nothing.
    #[error("{0}")]
    Url(String),
    /// The certificates cannot be read.
    #[error("{path}: {why}")]
    Certificates {
        /// the file
        path: String,
        /// what is wrong
        why: String,
    },
}

impl AddressError {
    /// Whether the certificates are to blame, and not the URL.
    pub fn is_of_certificates(&self) -> bool {
        matches!(self, Self::Certificates { .. })
    }
}

/// Where PostgreSQL is, and how it is reached.
#[derive(Clone)]
pub struct Address {
    /// for the clients
    pub(in crate::store) config: tokio_postgres::Config,
    /// used wherever the URL does not say `sslmode=disable`
    pub(in crate::store) tls: MakeRustlsConnect,
}

impl Address {
    /// Reads a URL, `postgres://user:password@host:port/database?sslmode=require`. Who answers in TLS must have a
    /// certificate of somebody in `ca_file`, or, without it, of somebody whom the system trusts.
    ///
    /// # Errors
    /// When the URL or the file cannot be used.
    pub fn parse(url: &str, ca_file: Option<&Path>) -> Result<Self, AddressError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(AddressError::Url("does not begin with postgres://".to_owned()));
        }
        let mut config: tokio_postgres::Config =
            url.parse().map_err(|error| AddressError::Url(super::in_words(&error)))?;
        for (missing, what) in [
            (config.get_hosts().is_empty(), "names no host"),
            (config.get_user().is_none(), "names no user"),
            (config.get_dbname().is_none(), "names no database"),
        ] {
            if missing {
                return Err(AddressError::Url(what.to_owned()));
            }
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE_LIMIT);
        }
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE).keepalives_retries(2);
        if config.get_application_name().is_none() {
            config.application_name("invigil");
        }
        let roots = if config.get_ssl_mode() == SslMode::Disable { RootCertStore::empty() } else { roots(ca_file)? };
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AddressError::Url(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config, tls: MakeRustlsConnect::new(tls) })
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, AddressError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        // A certificate of the system's that cannot be read vouches for nobody; the others do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let unusable = |why: String| AddressError::Certificates { path: path.display().to_string(), why };
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("holds no certificate".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_work_is_refused_without_repeating_it() {
        for (url, said) in [
            ("mysql://u:secret@h/d", "postgres://"),
            ("postgres://h/d", "no user"),
            ("postgres://u:secret@h", "no database"),
            ("postgres://u:secret@h/d?sslmode=perhaps", "sslmode"),
            ("postgres://u:secret@h:port/d", "port"),
        ] {
            let refused = Address::parse(url, None).err().unwrap().to_string();
            assert!(refused.contains(said) && !refused.contains("secret"), "{url}: {refused}");
        }
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("ca.pem");
        std::fs::write(&empty, "").unwrap();
        let refused = Address::parse("postgres://u@h/d?sslmode=require", Some(&empty)).err().unwrap();
        assert!(refused.to_string().contains("no certificate"), "{refused}");
    }

    #[test]
    fn a_url_may_say_how_long_to_wait() {
        let address = Address::parse("postgres://u@h/d?connect_timeout=2&sslmode=disable", None).unwrap();
        assert_eq!(address.config.get_connect_timeout(), Some(&Duration::from_secs(2)));
        let address = Address::parse("postgresql://u@a,b/d?sslmode=disable", None).unwrap();
        assert_eq!(address.config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
    }
}
