//! From the names of addresses to addresses.

use crate::cli::Failure;
use std::fmt::Display;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};

/// All addresses that are to be listened on.
pub(super) fn resolve_all(flag: &str, addresses: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    addresses.iter().map(|address| resolve(flag, address)).collect()
}

/// One address to listen on: a name such as `localhost` often has two, of which the machine may not have the second.
fn resolve(flag: &str, address: &str) -> Result<SocketAddr, Failure> {
    let malformed = || Failure::Usage(format!("{flag}: {address:?} is not of the form HOST:PORT"));
    let unknown = |why: &dyn Display| Failure::Run(format!("{flag}: {address:?} has no address: {why}"));
    if address.starts_with(':') {
        return Err(malformed());
    }
    let addresses: Vec<_> = match address.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) if error.kind() == ErrorKind::InvalidInput => return Err(malformed()),
        Err(error) => return Err(unknown(&error)),
    };
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.copied().ok_or_else(|| unknown(&"the name stands for none"))
}
