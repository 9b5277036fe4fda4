//! What `redis.url` says: one server or a cluster, with or without TLS, and with which name and password.

use std::path::Path;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};

/// How long one attempt to reach one server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long one server may take to answer: longer than whoever asks waits, who has a limit of their own.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How often the client tries a command of a cluster anew when slots have moved or a server has failed. The caller's own
/// limit ends it sooner.
const CLUSTER_RETRIES: u32 = 8;
/// The longest pause between two of these, ms.
const CLUSTER_PAUSE_MS: u64 = 200;

/// Where Redis is, ready to be connected to.
#[derive(Clone, Debug)]
pub struct RedisAddress(pub(super) Client);

/// One server, or a cluster.
#[derive(Clone, Debug)]
pub(super) enum Client {
    Single(Box<redis::Client>),
    Cluster(Box<ClusterClient>),
}

/// What is wrong with `redis.url`. Says nothing of what stands in it: there may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

/// The parts of the URL, each as it was written.
struct Parts<'a> {
    scheme: &'a str,
    /// name and password with the `@`, or nothing
    user: &'a str,
    hosts: Vec<&'a str>,
    /// with the slash, or nothing
    path: &'a str,
    is_cluster: bool,
}

impl RedisAddress {
    /// Reads `redis://` or `rediss://` (TLS), name and password if any, one host with its port or several divided by
    /// commas, and the number of the database. Several hosts are a cluster, as is one with `?cluster=true`. `ca_file`
    /// vouches for the server in place of those whom the system trusts.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn parse(url: &str, ca_file: Option<&Path>) -> Result<Self, AddressError> {
        let parts = split(url.trim())?;
        let certificates = certificates(parts.scheme, ca_file)?;
        let urls = parts.hosts.iter().map(|host| format!("{}://{}{host}{}", parts.scheme, parts.user, parts.path));
        let mut servers = urls.map(|url| server(&url)).collect::<Result<Vec<_>, _>>()?;
        let refused = |error: redis::RedisError| AddressError(error.category().to_owned());
        if parts.is_cluster {
            if servers.iter().any(|server| server.redis_settings().db() != 0) {
                return Err(AddressError("a cluster has no databases but 0".into()));
            }
            let builder = ClusterClientBuilder::new(servers)
                .tcp_settings(tcp_settings())
                .connection_timeout(CONNECT_LIMIT)
                .response_timeout(ANSWER_LIMIT)
                .retries(CLUSTER_RETRIES)
                .max_retry_wait(CLUSTER_PAUSE_MS);
            let builder = certificates.into_iter().fold(builder, ClusterClientBuilder::certs);
            return builder.build().map(|client| Self(Client::Cluster(Box::new(client)))).map_err(refused);
        }
        let server = servers.remove(0);
        let client = match certificates {
            Some(certificates) => redis::Client::build_with_tls(server, certificates),
            None => redis::Client::open(server),
        };
        client.map(|client| Self(Client::Single(Box::new(client)))).map_err(refused)
    }
}

fn split(url: &str) -> Result<Parts<'_>, AddressError> {
    let wrong = |why: &str| AddressError(why.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("is not a URL"))?;
    if !matches!(scheme, "redis" | "rediss") {
        return Err(wrong("is neither redis:// nor rediss://"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A password may hold a slash or a comma only as %2F and %2C.
    let at = rest.rfind('@').map_or(0, |at| at + 1);
    let (user, rest) = rest.split_at(at);
    let (hosts, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    if hosts.iter().any(|host| host.is_empty()) {
        return Err(wrong("names no host"));
    }
    let is_cluster = match query {
        "" => hosts.len() > 1,
        "cluster=true" => true,
        "cluster=false" if hosts.len() == 1 => false,
        _ => return Err(wrong("has a query other than cluster=true")),
    };
    Ok(Parts { scheme, user, hosts, path, is_cluster })
}

fn server(url: &str) -> Result<ConnectionInfo, AddressError> {
    let server = url.into_connection_info().map_err(|error| AddressError(format!("is not read: {}", error.category())));
    Ok(server?.set_tcp_settings(tcp_settings()))
}

/// Commands are small and awaited: they must not wait for more to send.
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn certificates(scheme: &str, ca_file: Option<&Path>) -> Result<Option<TlsCertificates>, AddressError> {
    if scheme == "rediss" {
        // Fails where somebody has installed one before, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let Some(path) = ca_file else { return Ok(None) };
    if scheme != "rediss" {
        return Err(AddressError("is not rediss://, and there is a redis.ca_file".into()));
    }
    let pem =
        std::fs::read(path).map_err(|error| AddressError(format!("redis.ca_file {}: {error}", path.display())))?;
    Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(pem) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_cluster(url: &str) -> bool {
        matches!(RedisAddress::parse(url, None).unwrap_or_else(|why| panic!("{url}: {why}")).0, Client::Cluster(_))
    }

    #[test]
    fn one_host_is_a_server_and_several_are_a_cluster() {
        assert!(!is_cluster("redis://127.0.0.1:6379"));
        assert!(!is_cluster("redis://:secret@localhost/3"));
        assert!(!is_cluster("rediss://name:secret@redis.example:6380"));
        assert!(is_cluster("redis://10.0.0.1:6379,10.0.0.2:6379,10.0.0.3:6379"));
        assert!(is_cluster("rediss://:secret@redis.example:6379?cluster=true"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, named) in [
            ("127.0.0.1:6379", "not a URL"),
            ("http://:s3cret@a", "redis://"),
            ("redis://:s3cret@", "host"),
            ("redis://:s3cret@a:1,", "host"),
            ("redis://:s3cret@a:port", "not read"),
            ("redis://:s3cret@a:1/x", "not read"),
            ("redis://:s3cret@a?cluster=yes", "query"),
            ("redis://:s3cret@a:1,b:1/2", "databases"),
        ] {
            let why = RedisAddress::parse(url, None).expect_err(url).to_string();
            assert!(why.contains(named) && !why.contains("s3cret"), "{url}: {why}");
        }
        let shown = format!("{:?}", RedisAddress::parse("redis://:s3cret@a", None).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
        let plain = RedisAddress::parse("redis://a", Some(Path::new("ca.pem"))).unwrap_err();
        assert!(plain.to_string().contains("redis.ca_file"));
    }
}
