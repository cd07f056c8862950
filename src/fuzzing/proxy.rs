//! Who is behind a proxy: the PROXY header in whatever pieces, and `X-Forwarded-For` by whomever it was written.

use crate::config::Network;
use crate::proxy::{ProxyHeader, forwarded_client, parse_v2};
use ::http::{HeaderMap, HeaderValue};
use std::net::IpAddr;

/// The longest header that is accepted.
const MAX_BYTES: usize = 16 + 4_096;
const PEERS: [&str; 6] = ["10.0.0.1", "192.0.2.9", "::ffff:10.0.0.1", "fd00::1", "2001:db8::9", "127.0.0.1"];

/// The bytes are a PROXY header and what follows it; and, behind their first, which chooses the peer, lines of
/// `X-Forwarded-For`.
pub fn proxy(input: &[u8]) {
    header(input);
    if let Some((peer, lines)) = input.split_first() {
        forwarded(PEERS[usize::from(*peer) % PEERS.len()].parse().unwrap(), lines);
    }
}

fn header(bytes: &[u8]) {
    let whole = parse_v2(bytes);
    let needed = match whole {
        Ok(ProxyHeader::Done { client, length }) => {
            assert!((16..=MAX_BYTES.min(bytes.len())).contains(&length));
            assert!(client.is_none() || (bytes[12] == 0x21 && matches!(bytes[13], 0x11 | 0x21)));
            assert_eq!(parse_v2(&bytes[..length]), whole, "what follows makes a difference");
            length
        }
        Ok(ProxyHeader::Incomplete) => {
            assert!(bytes.len() < MAX_BYTES, "still incomplete");
            bytes.len()
        }
        Err(_) => (0..=bytes.len()).find(|length| parse_v2(&bytes[..*length]).is_err()).unwrap(),
    };
    // Until the byte that decides, more of it must come; whoever is told so gives it again with what came.
    for length in 0..needed {
        assert_eq!(parse_v2(&bytes[..length]), Ok(ProxyHeader::Incomplete));
    }
}

fn forwarded(peer: IpAddr, lines: &[u8]) {
    let trusted: Vec<Network> = ["10.0.0.0/8", "fd00::/8"].iter().map(|network| network.parse().unwrap()).collect();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(8) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", value);
        }
    }
    let client = |headers: &HeaderMap| forwarded_client(peer, headers, &trusted);
    let found = client(&headers);
    assert_eq!(found, found.to_canonical());
    if !is_trusted(peer.to_canonical()) {
        return assert_eq!(found, peer.to_canonical(), "somebody else's word was believed");
    }
    // What a client writes stands before what its proxy appends, and that is who it is.
    for appended in ["192.0.2.1", "2001:db8::1", "10.0.0.2, 192.0.2.1, 10.0.0.3", "192.0.2.1,fd00::7"] {
        let mut headers = headers.clone();
        headers.append("x-forwarded-for", HeaderValue::from_static(appended));
        let expected: IpAddr = if appended.contains("db8") { "2001:db8::1" } else { "192.0.2.1" }.parse().unwrap();
        assert_eq!(client(&headers), expected, "a client passes for another");
    }
    headers.append("x-forwarded-for", HeaderValue::from_static("10.9.9.9"));
    let behind_another = client(&headers);
    assert!(behind_another == found || found == peer.to_canonical(), "{found} and {behind_another}");
}
