//! A terminal for any WebSocket server: one thread sleeps in `recv` and prints, while another sends what is typed.
//!
//! `cargo run --example duplex -- 'ws://127.0.0.1:8080/ws?user_id=alice'`; the end of the input closes.
#![allow(clippy::print_stdout)]

use heartwire::CloseKind;
use heartwire::duplex::{Message, Options, connect};
use std::io::BufRead;
use std::thread;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("which address? ws://host[:port]/path")?;
    let (sender, mut receiver) = connect(&url, &Options::default())?;
    let printer = thread::spawn(move || {
        loop {
            match receiver.recv() {
                Ok(Message::Text(text)) => println!("{text}"),
                Ok(Message::Binary(bytes)) => println!("{} bytes", bytes.len()),
                Err(closed) => return println!("{closed}"),
            }
        }
    });
    for line in std::io::stdin().lock().lines() {
        sender.text(&line?)?;
    }
    sender.close(CloseKind::Normal);
    printer.join().map_err(|_| "the printer panicked")?;
    Ok(())
}
