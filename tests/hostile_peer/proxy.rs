//! A bad network between clients and the server: a TCP proxy that delays, dribbles, stalls and cuts what passes. TCP
//! loses no bytes by itself; what people call loss arrives as one of these.

use crate::dice::Dice;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// What becomes of the bytes of a connection, in each direction by itself.
#[derive(Clone, Copy)]
pub struct Weather {
    /// As many bytes as go on at once, at most; how many they are is drawn.
    pub piece: usize,
    /// How long a piece waits at most; how long is drawn, so connections overtake each other.
    pub delay: Duration,
    /// One piece in fifty waits so long instead.
    pub stall: Duration,
    /// After how many bytes the connection is cut, at most, mostly within a frame: by a reset, or as if both had closed.
    pub cut_after: Option<usize>,
}

/// Everybody who connects to it is connected to the server, in this weather.
pub struct Proxy {
    pub address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    /// It takes connections until the server is gone.
    pub fn start(server: SocketAddr, weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, cuts) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let counter = Arc::clone(&cuts);
        spawn(move || {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { return };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (dice, counter) = (Dice(dice.roll()), Arc::clone(&counter));
                    spawn(move || carry(from, to, weather, dice, &counter));
                }
            }
        });
        Self { address, cuts }
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Carries what comes from one end to the other until one of them ends, or the weather ends both.
fn carry(mut from: TcpStream, mut to: TcpStream, weather: Weather, mut dice: Dice, cuts: &AtomicUsize) {
    let mut left = weather.cut_after.map(|most| dice.below(most) + 1);
    let mut buffer = vec![0; weather.piece];
    loop {
        let wanted = dice.below(weather.piece) + 1;
        let wanted = left.map_or(wanted, |left| left.min(wanted));
        let Ok(length @ 1..) = from.read(&mut buffer[..wanted]) else { break };
        sleep(match dice.below(50) {
            0 => weather.stall,
            _ => weather.delay.mul_f64(dice.below(1_000) as f64 / 1_000.0),
        });
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        left = left.map(|left| left - length);
        if left == Some(0) {
            cuts.fetch_add(1, Ordering::Relaxed);
            cut(&from, &to, dice.below(2) == 0);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn cut(from: &TcpStream, to: &TcpStream, by_reset: bool) {
    for stream in [from, to] {
        if by_reset {
            // The reset goes out when the last clone is dropped, which this wakes.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        let _ = stream.shutdown(Shutdown::Both);
    }
}
