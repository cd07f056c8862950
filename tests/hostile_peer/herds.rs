//! Everybody comes back at once: a server that was killed, and its clients.

use crate::process::{Process, heartwire, serve_command};
use crate::scene::Watch;
use crate::suite::{Figures, Row, Size};
use crate::support::account;
use heartwire::client::{Client, Event, Options};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[Row { name: "reconnect_herd", threat: "reconnect herd", run: reconnect_herd }];

const BACK_WITHIN: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

/// The server is killed, and started again. Its clients are the real ones, with their defaults, as are the server's limits
/// but the one for each address. There are no honest clients besides: these are honest, and nobody keeps a connection.
fn reconnect_herd(size: Size) -> Figures {
    // How long it takes whoever looks after the server to start it again.
    let (count, down) = size.of((200, Duration::from_millis(100)), (5_000, Duration::from_secs(1)));
    let mut first = Process::start(serve_command(&["--max-per-address", "0"]));
    let address = first.address();
    let clients: Vec<Client> = (0..count).map(|n| connect(address, n)).collect();
    for client in &clients {
        assert!(matches!(client.recv(), Some(Event::Online { .. })));
    }
    first.signal(Signal::KILL);
    first.end();
    sleep(down);
    let mut second = Process::start(heartwire(&["serve", "--listen", &address.to_string(), "--max-per-address", "0"]));
    assert_eq!(second.address(), address);
    let (watch, begun) = (Watch::begin(second.id()), Instant::now());
    let came_back = returns(&clients, begun);
    let strain = watch.end();
    let nth = |percent: usize| came_back[(count * percent).div_ceil(100) - 1];
    assert!(came_back.len() * 100 >= count * 99, "{} of {count} came back", came_back.len());
    let send = |client: &Client| client.send(&[account("client1")], &"hello").ok();
    assert!(clients.iter().take(10).filter_map(send).sum::<u64>() > 0, "messages pass again");
    drop(clients);
    second.stop();
    let (back, last) = (came_back.len(), came_back[came_back.len() - 1]);
    Figures::default()
        .with(&format!(
            "{back} of {count} clients back: half after {:.1?}, 99% after {:.1?}, the last after {last:.1?}",
            nth(50),
            nth(99)
        ))
        .with(&format!("{} at once at most in any second", most_in_a_second(&came_back)))
        .with(&strain)
}

fn connect(address: SocketAddr, n: usize) -> Client {
    Client::connect(&format!("ws://{address}/ws"), &account(&format!("client{n}")), Options::default()).unwrap()
}

/// When each of those who were back in time was back, the first one first.
fn returns(clients: &[Client], begun: Instant) -> Vec<Duration> {
    let mut missing: Vec<&Client> = clients.iter().collect();
    let mut returns = Vec::new();
    while !missing.is_empty() && begun.elapsed() < BACK_WITHIN {
        missing.retain(|client| {
            while let Some(event) = client.recv_timeout(Duration::ZERO) {
                match event {
                    Event::Online { .. } => {
                        returns.push(begun.elapsed());
                        return false;
                    }
                    Event::Closed(why) => panic!("it does not come back: {why}"),
                    _ => {}
                }
            }
            true
        });
        sleep(GLANCE);
    }
    returns
}

fn most_in_a_second(returns: &[Duration]) -> usize {
    let since =
        |from: &Duration| returns.iter().filter(|at| *at >= from && **at < *from + Duration::from_secs(1)).count();
    returns.iter().map(since).max().unwrap_or(0)
}
