//! Who is behind a proxy: `X-Forwarded-For`, and the binary header of the PROXY protocol.
//!
//! Both are believed only from configured proxies; from anyone else they are a claim that costs nothing.

use crate::config::Network;
use ::http::HeaderMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The client behind `peer`, by `X-Forwarded-For` as far as it was written by `trusted` proxies.
///
/// Each proxy appends the address it was reached from, so the list is read from its end: the first address that is not
/// a trusted proxy is the client, and what stands before it is whatever that client wrote. An entry that is no address
/// ends the walk at the one behind it. IPv4 addresses mapped into IPv6 come back as IPv4.
#[must_use]
pub(crate) fn forwarded_client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    // Cut as bytes: one byte that is no text must not hide the entries that a proxy wrote behind it.
    let values = headers.get_all("x-forwarded-for").into_iter().rev();
    let mut entries = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = peer.to_canonical();
    while is_trusted(client) {
        match entries.next().and_then(parse_entry) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// What a PROXY protocol header says, as far as it has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    /// So far it is one, but more of it must come.
    Incomplete,
    /// All of it is there.
    Done {
        /// The client's address; `None` when the proxy speaks for itself (LOCAL, as in its health checks), or the
        /// client has no TCP address: then the peer's own counts.
        client: Option<IpAddr>,
        /// How many bytes the header has; the client's own follow.
        length: usize,
    },
}

/// Why bytes are not a header of the PROXY protocol, version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidProxyHeader(&'static str);

impl fmt::Display for InvalidProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a PROXY protocol version 2 header: {}", self.0)
    }
}

impl std::error::Error for InvalidProxyHeader {}

/// The twelve bytes with which the header begins; no other protocol does.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
const FIXED_BYTES: usize = SIGNATURE.len() + 4;
/// The longest rest that is accepted: the addresses need 36 bytes, certificates and the like among the extensions more.
const MAX_REST_BYTES: usize = 4096;

/// Reads the binary header at the beginning of `bytes` ("The PROXY protocol, versions 1 & 2", §2.2, haproxy.org).
///
/// Extensions behind the addresses are skipped. What has not arrived completely can be passed again once there is more;
/// a complete header has at most 4,112 bytes.
///
/// # Errors
/// [`InvalidProxyHeader`] at the first byte that cannot belong to such a header. The connection must then be dropped:
/// the protocol forbids guessing whether a header is present.
pub(crate) fn parse_v2(bytes: &[u8]) -> Result<ProxyHeader, InvalidProxyHeader> {
    let arrived = bytes.len().min(SIGNATURE.len());
    if bytes[..arrived] != SIGNATURE[..arrived] {
        return Err(InvalidProxyHeader("it does not begin with the signature"));
    }
    let fixed = &bytes[arrived..];
    let is_proxied = match fixed.first() {
        None | Some(0x21) => true,
        Some(0x20) => false,
        Some(_) => return Err(InvalidProxyHeader("unknown version or command")),
    };
    let transport = fixed.get(1).copied().unwrap_or_default();
    // A LOCAL header's family is to be ignored, valid or not.
    if is_proxied && (transport >> 4 > 3 || transport & 0xf > 2) {
        return Err(InvalidProxyHeader("unknown address family or transport"));
    }
    let Some(&[high, low]) = fixed.get(2..4) else { return Ok(ProxyHeader::Incomplete) };
    let rest_length = usize::from(u16::from_be_bytes([high, low]));
    if rest_length > MAX_REST_BYTES {
        return Err(InvalidProxyHeader("it is too long"));
    }
    let length = FIXED_BYTES + rest_length;
    let needed = if is_proxied { address_bytes(transport) } else { 0 };
    if rest_length < needed {
        return Err(InvalidProxyHeader("it is too short for its addresses"));
    }
    match bytes.get(FIXED_BYTES..length) {
        Some(rest) => Ok(ProxyHeader::Done { client: source(&rest[..needed]), length }),
        None => Ok(ProxyHeader::Incomplete),
    }
}

/// What both endpoints take: two addresses and two ports. None for what is not TCP: it names no client we could use.
fn address_bytes(transport: u8) -> usize {
    match transport {
        0x11 => 12,
        0x21 => 36,
        _ => 0,
    }
}

/// The source, with which the addresses begin.
fn source(addresses: &[u8]) -> Option<IpAddr> {
    let address = match addresses.len() {
        12 => IpAddr::from(*addresses.first_chunk::<4>()?),
        36 => IpAddr::from(*addresses.first_chunk::<16>()?),
        _ => return None,
    };
    Some(address.to_canonical())
}

/// An address with or without a port; an IPv6 address also in brackets, and all of it in quotes (RFC 7239 §6).
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let entry = entry.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap_or(entry);
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = entry.parse::<IpAddr>().ok();
    let address = address.or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(|| bracketed().map(IpAddr::from)).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(peer: &str, forwarded: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(value).unwrap());
        }
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        forwarded_client(address(peer), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        assert_eq!(client("192.0.2.9", &[b"192.0.2.1"]), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &[b"192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("::ffff:10.0.0.1", &[b"192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.9", &[b"192.0.2.1"]), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_client_is_the_last_entry_that_is_no_proxy() {
        assert_eq!(client("10.0.0.1", &[b"6.6.6.6, 192.0.2.1, 10.0.0.3,10.0.0.2"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &[b"6.6.6.6", b"192.0.2.1, fd00::3", b"10.0.0.2"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all are ours: the first of them");
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        for wrong in ["unknown", "_hidden", "", "1.2.3", "1.2.3.4:99999", "[::1", "\"1.2.3.4", "a 1.2.3.4"] {
            assert_eq!(client("10.0.0.1", &[format!("6.6.6.6, {wrong}, 10.0.0.2").as_bytes()]), "10.0.0.2", "{wrong}");
            assert_eq!(client("10.0.0.1", &[format!("6.6.6.6, {wrong}").as_bytes()]), "10.0.0.1", "{wrong}");
        }
    }

    #[test]
    fn a_byte_that_is_no_text_does_not_hide_what_the_proxy_wrote() {
        assert_eq!(client("10.0.0.1", &[b"\xff\xfe, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &[b"6.6.6.6, \xff"]), "10.0.0.1");
    }

    #[test]
    fn entries_come_in_many_forms() {
        for entry in ["192.0.2.1", " 192.0.2.1:567 ", "\"192.0.2.1:567\"", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:5"] {
            assert_eq!(client("10.0.0.1", &[entry.as_bytes()]), "192.0.2.1", "{entry}");
        }
        for entry in ["2001:db8::1", "[2001:DB8::1]", "[2001:db8::1]:567", "\"[2001:db8::1]:567\"", "\"[2001:db8::1]\""]
        {
            assert_eq!(client("10.0.0.1", &[entry.as_bytes()]), "2001:db8::1", "{entry}");
        }
    }

    fn header(version_and_command: u8, transport: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version_and_command, transport], &length, rest].concat()
    }

    fn addresses(source: &str) -> Vec<u8> {
        match address(source) {
            IpAddr::V4(v4) => [&v4.octets()[..], &Ipv4Addr::LOCALHOST.octets(), &[0, 1, 0, 2]].concat(),
            IpAddr::V6(v6) => [&v6.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0, 1, 0, 2]].concat(),
        }
    }

    #[test]
    fn a_proxied_client_is_named() {
        let done = |source: &str| {
            Ok(ProxyHeader::Done { client: Some(address(source)), length: 16 + addresses(source).len() })
        };
        assert_eq!(parse_v2(&header(0x21, 0x11, &addresses("192.0.2.1"))), done("192.0.2.1"));
        assert_eq!(parse_v2(&header(0x21, 0x21, &addresses("2001:db8::1"))), done("2001:db8::1"));
        let mapped = parse_v2(&header(0x21, 0x21, &addresses("::ffff:192.0.2.1")));
        assert_eq!(mapped, Ok(ProxyHeader::Done { client: Some(address("192.0.2.1")), length: 52 }));
    }

    #[test]
    fn extensions_are_skipped_and_what_follows_is_not_touched() {
        let mut bytes = header(0x21, 0x11, &[&addresses("192.0.2.1")[..], &[4, 0, 3, 1, 2, 3]].concat());
        bytes.extend(b"GET / HTTP/1.1\r\n");
        assert_eq!(parse_v2(&bytes), Ok(ProxyHeader::Done { client: Some(address("192.0.2.1")), length: 34 }));
    }

    #[test]
    fn local_and_unknown_clients_are_the_peer_itself() {
        for (command, transport, rest) in
            [(0x20, 0x00, 0), (0x20, 0x11, 12), (0x20, 0xff, 3), (0x21, 0x00, 0), (0x21, 0x31, 216), (0x21, 0x12, 12)]
        {
            let bytes = header(command, transport, &vec![1; rest]);
            assert_eq!(parse_v2(&bytes), Ok(ProxyHeader::Done { client: None, length: 16 + rest }), "{transport:x}");
        }
    }

    #[test]
    fn a_header_that_dribbles_in_is_incomplete_to_its_last_byte() {
        let bytes = header(0x21, 0x21, &addresses("2001:db8::1"));
        for length in 0..bytes.len() {
            assert_eq!(parse_v2(&bytes[..length]), Ok(ProxyHeader::Incomplete), "{length}");
        }
    }

    #[test]
    fn the_first_wrong_byte_is_enough() {
        assert!(parse_v2(b"G").is_err());
        assert!(parse_v2(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").is_err(), "version 1");
        let bytes = header(0x21, 0x11, &addresses("192.0.2.1"));
        for (at, wrong) in
            (0..12).map(|at| (at, 0xff)).chain([(12, 0x11), (12, 0x22), (12, 0x30), (13, 0x41), (13, 0x13)])
        {
            let mut bytes = bytes[..=at].to_vec();
            bytes[at] = wrong;
            assert!(parse_v2(&bytes).is_err(), "{wrong:x} at {at}");
        }
    }

    #[test]
    fn lengths_are_bounded_on_both_sides() {
        assert!(parse_v2(&header(0x21, 0x11, &[0; 11])).is_err());
        assert!(parse_v2(&header(0x21, 0x21, &[0; 35])).is_err());
        assert!(parse_v2(&header(0x21, 0x11, &[0; 4096])).is_ok());
        assert!(parse_v2(&header(0x21, 0x11, &[0; 4097])[..16]).is_err(), "before the rest arrives");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), entry in any::<String>()) {
            let _ = parse_v2(&bytes);
            let _ = parse_v2(&[SIGNATURE, &bytes].concat());
            let _ = parse_v2(&[SIGNATURE, &[0x21], &bytes].concat());
            let _ = (parse_entry(&bytes), parse_entry(entry.as_bytes()));
        }
    }
}
