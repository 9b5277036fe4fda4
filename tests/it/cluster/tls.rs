//! Redis over TLS, with a password: the server must be vouched for.

use invigil::clock::Clock;
use invigil::cluster::redis::{Claim, Redis, RedisAddress};

use super::{SHORT, join};
use crate::harness::servers::daemon::free_address;
use crate::harness::servers::redis::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_must_be_vouched_for_when_it_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let address = free_address();
    let own = rcgen::generate_simple_self_signed([address.ip().to_string()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let (certificate, key) = (write("own.pem", own.cert.pem()), write("own.key", own.signing_key.serialize_pem()));
    let strangers = write("other.pem", other.cert.pem());
    let _server = RedisServer::with_tls(address, &certificate, &key, "open-sesame");
    let connect = async |scheme: &str, password: &str, ca| {
        let url = format!("{scheme}://:{password}@{address}");
        Redis::connect(RedisAddress::parse(&url, ca).unwrap(), Clock::scaled(1)).await
    };
    let node = join(&connect("rediss", "open-sesame", Some(&*certificate)).await.unwrap(), SHORT).await;
    assert_eq!(node.claim("s1").await.unwrap(), Claim::Owned);
    for (scheme, password, ca) in [
        ("rediss", "open-sesame", Some(&*strangers)),
        ("rediss", "open-sesame", None),
        ("rediss", "wrong", Some(&*certificate)),
        ("redis", "open-sesame", None),
    ] {
        let refused = connect(scheme, password, ca).await.err().map(|away| away.to_string());
        let refused = refused.unwrap_or_else(|| panic!("{scheme} {password} {ca:?} was let in"));
        assert!(!refused.contains("open-sesame"), "{refused}");
    }
}
