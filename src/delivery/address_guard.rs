//! Where webhooks may go: platforms choose the address, so this server must not be made to call its own network.
//!
//! Addresses are judged when a connection is made, after the name was resolved, so that a name cannot be checked as
//! one address and called as another. Whoever is allowed to call private addresses switches the judgement off.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::Webhook;

/// Why an address is refused as a webhook's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It cannot be parsed.
    #[error("not a URL")]
    Malformed,
    /// It is neither `https:` nor, where that is allowed, `http:`.
    #[error("webhooks go over https, not {0}")]
    Scheme(String),
    /// It carries a user or a password.
    #[error("the URL names a user or a password")]
    Credentials,
    /// It names an address that is not the public Internet's.
    #[error(transparent)]
    Address(#[from] AddressRefused),
}

/// An address that webhooks may not go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("address {address} is refused: {why}")]
pub struct AddressRefused {
    /// the address
    pub address: IpAddr,
    /// what it is
    pub why: &'static str,
}

/// Reads a webhook's URL, judging what can be judged without resolving its name. For the API when a platform names
/// it, and before each attempt: a literal address is never resolved, so nothing else would judge it.
///
/// # Errors
/// When webhooks may not go there.
pub fn check_url(text: &str, config: &Webhook) -> Result<Url, UrlError> {
    let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
    match url.scheme() {
        "https" => {}
        "http" if config.allow_http => {}
        other => return Err(UrlError::Scheme(other.to_owned())),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    let host = url.host_str().ok_or(UrlError::Malformed)?;
    // The parser has brought every spelling of an address (0x7f.1, 2130706433, ::ffff:127.0.0.1) into the usual one.
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        check_address(address, config)?;
    }
    Ok(url)
}

fn check_address(address: IpAddr, config: &Webhook) -> Result<(), AddressRefused> {
    match refusal(address) {
        Some(why) if !config.allow_private_addresses => Err(AddressRefused { address, why }),
        _ => Ok(()),
    }
}

/// Why an address is not the public Internet's, if it is not: the special-purpose registries of IANA.
pub fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("this network"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("shared address space of a carrier"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] => Some("protocol assignments"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("documentation"),
        [192, 88, 99, _] => Some("6to4 relay"),
        [198, 18..=19, ..] => Some("benchmarking"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved or broadcast"),
        _ => None,
    }
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        // An IPv4 address in another form is what that address is.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            refusal_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0, 0, 0, 0, 0, 0, ..] => Some("IPv4-compatible"),
        [0x64, 0xff9b, 1, ..] => Some("NAT64 of a local network"),
        [0xfc00..=0xfdff, ..] => Some("unique local"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("documentation"),
        [0x2001, 2, 0, ..] => Some("benchmarking"),
        // Teredo carries IPv4 addresses inside; the rest of the block is not for hosts.
        [0x2001, 0..=0x1ff, ..] => Some("protocol assignments"),
        [0x2002, ..] => Some("6to4"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("not global unicast"),
    }
}

/// Resolves names as the system does, and keeps only addresses that webhooks may go to.
#[derive(Debug, Clone)]
pub(super) struct GuardedResolver {
    config: Webhook,
}

impl GuardedResolver {
    pub(super) fn new(config: Webhook) -> Self {
        Self { config }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let config = self.config.clone();
        Box::pin(async move {
            // The port is the URL's; reqwest puts it in place of this one.
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(allowed(found, &config)?)
        })
    }
}

fn allowed(found: Vec<SocketAddr>, config: &Webhook) -> Result<Addrs, AddressRefused> {
    let (mut kept, mut refused) = (Vec::new(), None);
    for address in found {
        match check_address(address.ip(), config) {
            Ok(()) => kept.push(address),
            Err(why) => refused = Some(why),
        }
    }
    match refused {
        Some(why) if kept.is_empty() => Err(why),
        _ => Ok(Box::new(kept.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Webhook = Webhook { allow_private_addresses: false, allow_http: false, keep_days: 0 };

    #[test]
    fn the_first_and_last_address_of_every_block_are_refused_and_their_neighbours_are_not() {
        // (block, first, last, neighbours outside that must be allowed)
        let table: &[(&str, &str, &str, &[&str])] = &[
            ("0.0.0.0/8", "0.0.0.0", "0.255.255.255", &["1.0.0.0"]),
            ("10.0.0.0/8", "10.0.0.0", "10.255.255.255", &["9.255.255.255", "11.0.0.0"]),
            ("100.64.0.0/10", "100.64.0.0", "100.127.255.255", &["100.63.255.255", "100.128.0.0"]),
            ("127.0.0.0/8", "127.0.0.0", "127.255.255.255", &["126.255.255.255", "128.0.0.0"]),
            ("169.254.0.0/16", "169.254.0.0", "169.254.169.254", &["169.253.255.255", "169.255.0.0"]),
            ("172.16.0.0/12", "172.16.0.0", "172.31.255.255", &["172.15.255.255", "172.32.0.0"]),
            ("192.0.0.0/24", "192.0.0.0", "192.0.0.255", &["191.255.255.255", "192.0.1.0"]),
            ("192.0.2.0/24", "192.0.2.0", "192.0.2.255", &["192.0.1.255", "192.0.3.0"]),
            ("192.88.99.0/24", "192.88.99.0", "192.88.99.255", &["192.88.98.255", "192.88.100.0"]),
            ("192.168.0.0/16", "192.168.0.0", "192.168.255.255", &["192.167.255.255", "192.169.0.0"]),
            ("198.18.0.0/15", "198.18.0.0", "198.19.255.255", &["198.17.255.255", "198.20.0.0"]),
            ("198.51.100.0/24", "198.51.100.0", "198.51.100.255", &["198.51.99.255", "198.51.101.0"]),
            ("203.0.113.0/24", "203.0.113.0", "203.0.113.255", &["203.0.112.255", "203.0.114.0"]),
            ("224.0.0.0/4", "224.0.0.0", "239.255.255.255", &["223.255.255.255"]),
            ("240.0.0.0/4", "240.0.0.0", "255.255.255.255", &[]),
            ("::/128", "::", "::", &[]),
            ("::1/128", "::1", "::1", &[]),
            ("IPv4-compatible", "::2", "::8.8.8.8", &[]),
            ("IPv4-mapped", "::ffff:10.0.0.1", "::ffff:127.0.0.1", &["::ffff:8.8.8.8"]),
            ("IPv4-translated", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8", &[]),
            ("NAT64", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", &["64:ff9b::8.8.8.8"]),
            ("NAT64, local", "64:ff9b:1::", "64:ff9b:1:ffff::8.8.8.8", &[]),
            ("discard", "100::", "100::1", &[]),
            ("Teredo", "2001::", "2001:0:ffff::1", &[]),
            ("benchmarking", "2001:2::", "2001:2:0:ffff::1", &[]),
            ("ORCHID", "2001:10::", "2001:2f:ffff::1", &["2001:200::1"]),
            ("2001:db8::/32", "2001:db8::", "2001:db8:ffff::1", &["2001:db7::1", "2001:db9::1"]),
            ("6to4", "2002::", "2002:7f00:1::1", &["2003::1"]),
            ("3fff::/20", "3fff::", "3fff:fff::1", &["3fff:1000::1", "2606:4700::1"]),
            ("unassigned", "4000::1", "5f00::1", &[]),
            ("fc00::/7", "fc00::", "fdff:ffff::1", &[]),
            ("fe80::/10", "fe80::", "febf:ffff::1", &[]),
            ("fec0::/10", "fec0::", "feff:ffff::1", &[]),
            ("ff00::/8", "ff00::", "ffff:ffff::1", &[]),
        ];
        for (block, first, last, outside) in table {
            for address in [first, last] {
                assert!(refusal(address.parse().unwrap()).is_some(), "{address} of {block}");
            }
            for address in *outside {
                assert_eq!(refusal(address.parse().unwrap()), None, "{address} beside {block}");
            }
        }
    }

    #[test]
    fn urls_that_are_refused_and_urls_that_are_not() {
        for text in [
            "https://127.0.0.1/",
            "https://127.0.0.1./",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://%31%32%37.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:7f00:1]:8443/",
            "https://169.254.169.254/latest/meta-data",
        ] {
            assert!(matches!(check_url(text, &STRICT), Err(UrlError::Address(_))), "{text}");
        }
        assert_eq!(check_url("http://hooks.example/", &STRICT), Err(UrlError::Scheme("http".into())));
        assert_eq!(check_url("file:///etc/passwd", &STRICT), Err(UrlError::Scheme("file".into())));
        assert_eq!(check_url("https://me:pass@hooks.example/", &STRICT), Err(UrlError::Credentials));
        assert_eq!(check_url("hooks.example", &STRICT), Err(UrlError::Malformed));
        assert!(check_url("https://hooks.example:8443/a?b=c", &STRICT).is_ok());
        assert!(check_url("https://8.8.8.8/", &STRICT).is_ok());

        let open = Webhook { allow_private_addresses: true, allow_http: true, keep_days: 0 };
        assert!(check_url("http://127.0.0.1:9000/", &open).is_ok());
    }

    #[test]
    fn a_name_keeps_its_public_addresses_only() {
        let found = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let kept = allowed(found(&["10.0.0.1:0", "8.8.8.8:0"]), &STRICT).unwrap();
        assert_eq!(kept.collect::<Vec<_>>(), found(&["8.8.8.8:0"]));
        let refused = allowed(found(&["10.0.0.1:0", "[::1]:0"]), &STRICT).err().unwrap();
        assert_eq!(refused.to_string(), "address ::1 is refused: loopback");
    }
}
