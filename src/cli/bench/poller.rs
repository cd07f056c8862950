//! Which of many sockets are ready: `epoll` on Linux, `poll` elsewhere.

#[cfg(target_os = "linux")]
pub(super) use linux::Poller;
#[cfg(not(target_os = "linux"))]
pub(super) use portable::Poller;

/// A socket that can be read from, or written to, or has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) token: usize,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Ready;
    use rustix::buffer::spare_capacity;
    use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fd::OwnedFd;
    use rustix::io::Errno;
    use std::io;
    use std::net::TcpStream;
    use std::time::Duration;

    /// The most that one wait tells.
    const EVENTS: usize = 256;
    /// Of a longer wait a millisecond more or less does not matter.
    const COARSE: Duration = Duration::from_millis(20);
    const LONGEST: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

    /// Waits for many sockets at once.
    pub(in super::super) struct Poller {
        epoll: OwnedFd,
        events: Vec<Event>,
    }

    impl Poller {
        pub(in super::super) fn new() -> io::Result<Self> {
            Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
        }

        /// Waits for this socket too, until it is closed.
        pub(in super::super) fn add(&mut self, socket: &TcpStream, token: usize, writable: bool) -> io::Result<()> {
            Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token as u64), interest(writable))?)
        }

        /// Whether to wait until it can be written to, besides.
        pub(in super::super) fn modify(&mut self, socket: &TcpStream, token: usize, writable: bool) -> io::Result<()> {
            Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(token as u64), interest(writable))?)
        }

        /// A socket that is closed next needs no more than that.
        #[expect(clippy::unused_self, reason = "other systems need it")]
        pub(in super::super) fn remove(&mut self, _token: usize) {}

        /// Waits for any of them, and adds those that are ready.
        pub(in super::super) fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
            let mut within = Timespec::try_from(timeout).unwrap_or(LONGEST);
            if timeout < COARSE {
                // `epoll_wait` would round it up to milliseconds.
                match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&within)) {
                    Ok(0) | Err(Errno::INTR) => return Ok(()),
                    other => other?,
                };
                within = Timespec::default();
            }
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&within)) {
                Err(Errno::INTR) => return Ok(()),
                other => other?,
            };
            ready.extend(self.events.drain(..).map(|Event { flags, data }| Ready {
                token: data.u64() as usize,
                readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
                writable: flags.contains(EventFlags::OUT),
            }));
            Ok(())
        }
    }

    fn interest(writable: bool) -> EventFlags {
        if writable { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
    }
}

#[cfg(any(not(target_os = "linux"), test))]
mod portable {
    use super::Ready;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use std::collections::HashMap;
    use std::io;
    use std::net::TcpStream;
    use std::time::Duration;

    /// Waits for many sockets at once; it looks at each of them each time.
    pub(in super::super) struct Poller {
        sockets: HashMap<usize, (TcpStream, PollFlags)>,
    }

    impl Poller {
        pub(in super::super) fn new() -> io::Result<Self> {
            Ok(Self { sockets: HashMap::new() })
        }

        pub(in super::super) fn add(&mut self, socket: &TcpStream, token: usize, writable: bool) -> io::Result<()> {
            self.sockets.insert(token, (socket.try_clone()?, interest(writable)));
            Ok(())
        }

        pub(in super::super) fn modify(&mut self, _: &TcpStream, token: usize, writable: bool) -> io::Result<()> {
            self.sockets.entry(token).and_modify(|(_, flags)| *flags = interest(writable));
            Ok(())
        }

        pub(in super::super) fn remove(&mut self, token: usize) {
            self.sockets.remove(&token);
        }

        pub(in super::super) fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
            let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let (tokens, mut polled): (Vec<_>, Vec<_>) =
                self.sockets.iter().map(|(token, (socket, flags))| (*token, PollFd::new(socket, *flags))).unzip();
            match poll(&mut polled, Some(&timeout)) {
                Err(Errno::INTR) => return Ok(()),
                other => other?,
            };
            let found = tokens.into_iter().zip(&polled).filter(|(_, polled)| !polled.revents().is_empty());
            ready.extend(found.map(|(token, polled)| Ready {
                token,
                readable: polled.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
                writable: polled.revents().contains(PollFlags::OUT),
            }));
            Ok(())
        }
    }

    fn interest(writable: bool) -> PollFlags {
        if writable { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    /// What is ready within a time, as token, readable, writable.
    macro_rules! ready {
        ($poller:ident, $within:expr) => {{
            let mut ready = Vec::new();
            $poller.wait($within, &mut ready).unwrap();
            ready.sort_unstable_by_key(|ready| ready.token);
            ready.iter().map(|ready| (ready.token, ready.readable, ready.writable)).collect::<Vec<_>>()
        }};
    }

    /// Both ways are told apart by their types only.
    macro_rules! tells_which_sockets_are_ready {
        ($poller:ty) => {{
            let ((one, mut one_peer), (other, other_peer)) = (pair(), pair());
            let mut poller = <$poller>::new().unwrap();
            poller.add(&one, 7, false).unwrap();
            poller.add(&other, 8, true).unwrap();
            assert_eq!(ready!(poller, Duration::from_secs(10)), [(8, false, true)]);
            poller.modify(&other, 8, false).unwrap();
            for within in [Duration::ZERO, Duration::from_micros(10), Duration::from_millis(21)] {
                assert_eq!(ready!(poller, within), [], "within {within:?}");
            }
            one_peer.write_all(b"x").unwrap();
            drop(other_peer);
            // The end may come later than the byte.
            while ready!(poller, Duration::from_millis(1)) != [(7, true, false), (8, true, false)] {}
            poller.remove(8);
            drop(other);
            assert_eq!(ready!(poller, Duration::from_secs(10)), [(7, true, false)]);
        }};
    }

    #[test]
    fn it_tells_which_sockets_are_ready() {
        tells_which_sockets_are_ready!(Poller);
        tells_which_sockets_are_ready!(portable::Poller);
    }
}
