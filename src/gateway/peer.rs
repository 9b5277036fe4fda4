//! Where a connection comes from: the peer itself, or what a trusted proxy says of it.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;

/// Addresses in `X-Forwarded-For` that are looked at: a request passes a few proxies.
const FORWARDED_LIMIT: usize = 16;

/// The proxies whose `X-Forwarded-For` is believed. Anybody else could write anything into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<(IpAddr, u32)>);

impl TrustedProxies {
    /// Reads addresses (`10.0.0.1`) and networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// Says which is neither.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let read = |text: &str| {
            let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
            let address: IpAddr = address.trim().parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok()).filter(|bits| *bits <= most)?;
            Some((address, bits))
        };
        let wrong = |text: &str| format!("{text:?} is neither an address nor a network like 10.0.0.0/8");
        texts.into_iter().map(|text| read(text).ok_or_else(|| wrong(text))).collect::<Result<_, _>>().map(Self)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, bits)| match (*network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= *bits
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= *bits
            }
            _ => false,
        })
    }

    /// The address of the client behind `peer`. Each proxy adds at the end whom it heard, so the last address that is no
    /// trusted proxy is the client's.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let said = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',').rev());
        for address in said.take(FORWARDED_LIMIT) {
            if !self.trusts(client) {
                break;
            }
            let Ok(address) = address.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
        }
        client
    }
}

/// What stands for one subscriber: an IPv4 address, or the first half of an IPv6 address, of which devices change the
/// second by themselves.
pub fn subscriber(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &[&str], peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let proxies = TrustedProxies::parse(proxies.iter().copied()).unwrap();
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let forged = ["198.51.100.9, 203.0.113.7"];
        assert_eq!(client(&[], "10.0.0.1", &forged), "10.0.0.1");
        assert_eq!(client(&["10.0.0.2"], "10.0.0.1", &forged), "10.0.0.1");
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &forged), "203.0.113.7");
        assert_eq!(client(&["10.0.0.0/8"], "::ffff:10.9.9.9", &forged), "203.0.113.7");
        assert_eq!(client(&["10.0.0.0/8", "203.0.113.0/24"], "10.0.0.1", &forged), "198.51.100.9");
        assert_eq!(client(&["0.0.0.0/0"], "10.0.0.1", &["192.0.2.1", "10.0.0.3, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &["192.0.2.1, unknown"]), "10.0.0.1");
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client(&["fd00::/8"], "fd12::1", &["2001:db8::7"]), "2001:db8::7");
    }

    #[test]
    fn odd_networks_are_refused() {
        for odd in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "proxy.example", "10.0.0.0/-1"] {
            assert!(TrustedProxies::parse([odd]).unwrap_err().contains(odd), "{odd}");
        }
    }

    #[test]
    fn a_subscriber_of_ipv6_is_half_an_address() {
        let of = |address: &str| subscriber(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::9"), of("2001:db8:1:2:3:4:5:6"));
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
