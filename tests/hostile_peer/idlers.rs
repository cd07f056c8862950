//! Clients that say nothing and live by answering pings, all of them on one thread.

use crate::peer::{Addresses, Form, Heard, Peer};
use crate::support::eventually;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// How often they look whether they are wanted.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

pub struct Idlers {
    counts: Arc<Counts>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    welcome: AtomicUsize,
    dropped: AtomicUsize,
}

impl Idlers {
    /// So many connect, as the accounts 1, 2, …
    pub fn begin(address: SocketAddr, count: usize) -> Self {
        let (counts, is_over) = (Arc::<Counts>::default(), Arc::<AtomicBool>::default());
        let (counting, ended) = (Arc::clone(&counts), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let addresses = Addresses { http: address, lines: address, admin: address };
            let open = |n| Peer::open(addresses, Form::Native, n as u64 + 1);
            let mut peers: Vec<Peer> = (0..count).map(open).collect();
            while !ended.load(Ordering::Relaxed) {
                idle(&mut peers, &counting);
            }
        });
        eventually("the silent ones are connected", || counts.welcome.load(Ordering::Relaxed) == count);
        Self { counts, is_over, thread }
    }

    /// How many of them the server has dropped so far.
    pub fn dropped(&self) -> usize {
        assert!(!self.thread.is_finished(), "they have panicked");
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// They go.
    pub fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn idle(peers: &mut Vec<Peer>, counts: &Counts) {
    let readable: Vec<usize> = {
        let mut polled: Vec<_> = peers.iter().map(|peer| PollFd::new(peer.stream(), PollFlags::IN)).collect();
        poll(&mut polled, Some(&GLANCE)).unwrap();
        (0..polled.len()).filter(|place| !polled[*place].revents().is_empty()).collect()
    };
    // From behind: who takes the place of one that was dropped has been listened to.
    for place in readable.into_iter().rev() {
        for heard in peers[place].hear() {
            match heard {
                Heard::Welcome => {
                    counts.welcome.fetch_add(1, Ordering::Relaxed);
                }
                Heard::End => {
                    counts.dropped.fetch_add(1, Ordering::Relaxed);
                    peers.swap_remove(place);
                }
                _ => {}
            }
        }
    }
}
