//! heartwire inside a program that is not async: a plain thread pushes the time to whoever is connected as `alice`.
//!
//! `cargo run --example embed`, then `websocat 'ws://127.0.0.1:8080/ws?user_id=alice'`.
#![allow(clippy::print_stdout)]

use heartwire::{Account, Anonymous, Config, Push, Server};
use std::time::{Duration, SystemTime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::bind(Config::default(), Anonymous)?;
    let (handle, alice) = (server.handle(), Account::new("alice")?);
    std::thread::spawn(move || {
        loop {
            let seconds = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
            let reached = Push::new("time", &seconds).map(|time| handle.send(alice.clone(), &time));
            println!("the time reached alice: {reached:?}");
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    println!("listening on ws://{}/ws", server.local_addrs()[0]);
    Ok(server.wait()?)
}
