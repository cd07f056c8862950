//! What cannot be caused from outside: the failure of the core.

use super::*;
use crate::handler::Anonymous;
use crate::protocol::message::Account;
use crate::router::{Push, SendError};
use std::net::TcpStream;
use tungstenite::client;

#[test]
fn a_router_that_panics_fails_the_server_and_tells_every_connection() {
    let config = Config { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..Config::default() };
    let server = Server::bind(config, Anonymous).unwrap();
    let address = server.local_addrs()[0];
    let mut clients: Vec<_> = (0..5)
        .map(|n| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            client(format!("ws://{address}/ws?user_id=u{n}"), stream).unwrap().0
        })
        .collect();
    clients.iter_mut().for_each(|client| assert!(client.read().unwrap().is_text()));

    server.shared.router.panic_on_purpose();

    assert_eq!(server.wait().unwrap_err().to_string(), "the router panicked: on purpose");
    for client in &mut clients {
        let close = client.read().unwrap();
        assert!(matches!(close, tungstenite::Message::Close(Some(frame)) if u16::from(frame.code) == 1011));
    }
    let push = Push::new("notice", "nobody gets this").unwrap();
    let alice = Account::new("u1").unwrap();
    assert_eq!(server.handle().send(alice, &push), Err(SendError::Stopped));
    let late = client(format!("ws://{address}/ws?user_id=late"), TcpStream::connect(address).unwrap());
    assert!(late.is_err_and(|error| error.to_string().contains("503")), "nobody comes in any more");
    server.shutdown(Duration::ZERO).unwrap();
}
