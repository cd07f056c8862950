//! A chat server on tokio and tokio-tungstenite that speaks as much of heartwire's protocol as its load asks for:
//! `tokio-peer [ADDRESS]`. It is there to be compared with, so it is written for speed as well as its libraries allow.
//!
//! One task serves one connection, both ways: a task for each way was no faster here, with one message in flight and
//! with many. Messages pass from task to task through a bounded queue for each connection, as text that is encoded once.

mod connection;
mod frames;
mod hub;

use hub::Hub;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};

/// The kernel cuts it to what it allows.
const BACKLOG: u32 = 4_096;
/// How long to wait when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let address: SocketAddr = address.parse().map_err(|error| io::Error::other(format!("{address}: {error}")))?;
    permit_many_connections()?;
    let listener = listen(address)?;
    eprintln!("listening on {}", listener.local_addr()?);
    let hub = Arc::new(Hub::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection::run(stream, Arc::clone(&hub)))),
            Err(error) => {
                eprintln!("no connection was accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn permit_many_connections() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
