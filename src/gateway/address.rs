//! Where a request comes from: the peer's address, or what a proxy that is trusted says.
//!
//! Anybody can write `X-Forwarded-For`. It is believed only as far as it was written by proxies that the operator named:
//! read from the right, the first address that is no such proxy's is the client's.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

/// The header that proxies add the address of their peer to.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Addresses of that header that are looked at; nobody stands behind more proxies.
const FORWARDED_LIMIT: usize = 32;

/// Where a request comes from. The server puts it into the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// What limits count by: one address, or the /64 of IPv6 that its holder can choose from freely. None for loopback:
    /// that is this machine, or a proxy that nobody has named in `trusted_proxies`, and no one client.
    pub fn counted(self) -> Option<IpAddr> {
        match self.0 {
            address if address.is_loopback() => None,
            IpAddr::V4(_) => Some(self.0),
            IpAddr::V6(address) => {
                let prefix = u128::from(address) & (u128::MAX << 64);
                Some(IpAddr::V6(Ipv6Addr::from(prefix)))
            }
        }
    }

    /// What stands for one subscriber: an IPv4 address, or the first half of an IPv6 address, of which devices change
    /// the second by themselves.
    pub fn subscriber(self) -> String {
        match self.0.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        }
    }
}

/// Addresses with a common beginning, written as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address nor a network such as 10.0.0.0/8")]
pub struct NetworkError(String);

impl Network {
    /// Whether `address` is one of these. IPv4 in the clothes of IPv6 is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shared_bits = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (u32::from(own) ^ u32::from(other)).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (u128::from(own) ^ u128::from(other)).leading_zeros(),
            _ => return false,
        };
        shared_bits >= u32::from(self.prefix_bits)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let refused = || NetworkError(text.to_owned());
        let (address, prefix_bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| refused())?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| refused())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix_bits.unwrap_or(most);
        if prefix_bits > most {
            return Err(refused());
        }
        Ok(Self { address, prefix_bits })
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix_bits)
    }
}

/// The address of the client that `peer` speaks for. What is no address ends the search: the last proxy is the client.
pub fn client_address(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> ClientAddress {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    // Several headers count as one, in their order; a proxy that adds to the list adds to its end.
    let lists = headers.get_all(FORWARDED_FOR).into_iter().map(|value| value.to_str().unwrap_or_default());
    let lists: Vec<&str> = lists.collect();
    let mut forwarded = lists.iter().rev().flat_map(|list| list.rsplit(',')).take(FORWARDED_LIMIT);
    while is_trusted(client) {
        let Some(address) = forwarded.next().and_then(parse) else { break };
        client = address;
    }
    ClientAddress(client)
}

/// An address as proxies write it, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().or_else(|_| text.parse().map(|socket: std::net::SocketAddr| socket.ip()));
    parsed.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(forwarded: &[&str], peer: &str, trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for list in forwarded {
            headers.append(FORWARDED_FOR, list.parse().unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        client_address(&headers, peer.parse().unwrap(), &trusted).0.to_string()
    }

    #[test]
    fn a_subscriber_of_ipv6_is_half_an_address() {
        let of = |address: &str| ClientAddress(address.parse().unwrap()).subscriber();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::9"), of("2001:db8:1:2:3:4:5:6"));
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(seen(&["203.0.113.7"], "198.51.100.1", &[]), "198.51.100.1");
        assert_eq!(seen(&["203.0.113.7"], "198.51.100.1", &["10.0.0.0/8"]), "198.51.100.1");
    }

    #[test]
    fn a_proxy_is_believed_about_its_own_peer_alone() {
        let trusted = ["10.0.0.0/8", "::1"];
        assert_eq!(seen(&["203.0.113.7"], "10.1.2.3", &trusted), "203.0.113.7");
        assert_eq!(seen(&["1.1.1.1, 203.0.113.7"], "10.1.2.3", &trusted), "203.0.113.7", "the client wrote 1.1.1.1");
        assert_eq!(seen(&["203.0.113.7, 10.9.9.9"], "10.1.2.3", &trusted), "203.0.113.7", "two proxies");
        assert_eq!(seen(&["1.1.1.1", "203.0.113.7"], "10.1.2.3", &trusted), "203.0.113.7", "two headers");
        assert_eq!(seen(&["203.0.113.7:4711"], "::1", &trusted), "203.0.113.7");
        assert_eq!(seen(&["[2001:db8::7]:4711"], "::1", &trusted), "2001:db8::7");
        assert_eq!(seen(&["::ffff:203.0.113.7"], "::ffff:10.1.2.3", &trusted), "203.0.113.7");
    }

    #[test]
    fn without_a_word_the_proxy_itself_is_the_client() {
        for forwarded in [&[][..], &[""], &["unknown"], &["203.0.113.7, _hidden"]] {
            assert_eq!(seen(forwarded, "10.1.2.3", &["10.0.0.0/8"]), "10.1.2.3", "{forwarded:?}");
        }
        let endless = vec!["10.0.0.1"; 1_000].join(",");
        assert_eq!(seen(&[&endless], "10.1.2.3", &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn networks_are_read_and_hold_what_they_should() {
        let within =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(within("192.0.2.0/24", "192.0.2.255") && !within("192.0.2.0/24", "192.0.3.0"));
        assert!(within("0.0.0.0/0", "192.0.2.1") && !within("0.0.0.0/0", "2001:db8::1"));
        assert!(within("2001:db8::/32", "2001:db8:ffff::1") && !within("2001:db8::/32", "2001:db9::1"));
        assert!(within("192.0.2.1", "192.0.2.1") && !within("192.0.2.1", "192.0.2.2"));
        for wrong in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_count_by_what_one_client_holds() {
        let counted =
            |address: &str| ClientAddress(address.parse().unwrap()).counted().map(|address| address.to_string());
        assert_eq!(counted("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(counted("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
        assert_eq!(counted("127.0.0.1"), None);
        assert_eq!(counted("::1"), None);
    }
}
