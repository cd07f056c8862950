//! An echo server on `Protocol::Raw`: a protocol of one's own, with heartwire's threads, deadlines and outbound queues.
//!
//! `cargo run --release --example echo -- 127.0.0.1:9001`, then `websocat ws://127.0.0.1:9001/`. What a client sends comes back.
#![allow(clippy::print_stdout)]

use heartwire::config::Rate;
use heartwire::{Account, Config, Connection, Frame, Handler, Identity, Protocol, Refusal, Request, Server};
use std::time::Duration;

struct Echo;

impl Handler for Echo {
    fn authenticate(&self, _: &Request) -> Result<Identity, Refusal> {
        // Nobody addresses anybody here, so one account serves for all.
        let account = Account::new("echo").map_err(|error| Refusal::unauthorized(error.to_string()))?;
        Ok(Identity::new(account))
    }

    fn frame(&self, connection: &Connection, frame: Frame<'_>) {
        // A connection that is closing gets no echo; there is nobody else to tell.
        let _ = connection.send_raw(frame);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    config.listen = vec![std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:9001").parse()?];
    config.protocol = Protocol::Raw;
    config.path = "/".into();
    config.max_per_account = None;
    config.max_message_bytes = 16 << 20;
    config.max_fragments = None;
    config.message_rate = None;
    config.control_rate = Some(Rate { per_second: 1_000, burst: 10_000 });
    config.queue_bytes = 64 << 20;
    config.queue_messages = 65_536;
    config.assembly_deadline = Duration::from_secs(60);
    let server = Server::bind(config, Echo)?;
    println!("echoing on ws://{}/", server.local_addrs()[0]);
    Ok(server.wait()?)
}
