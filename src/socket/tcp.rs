//! The real thing: system calls, and nothing else.

use crate::threads::{Wake, poll_timeout};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A connected socket. Its drop closes the descriptor; a connection that shall end is shut down, which wakes its reader.
pub(crate) struct Socket(TcpStream);

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl Socket {
    /// Hands over what the kernel takes now, at least one byte, in one system call that neither blocks nor raises a
    /// signal.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; otherwise the peer is gone, or the writing direction is shut.
    #[inline]
    pub(crate) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(sendmsg(&self.0, slices, &mut SendAncillaryBuffer::default(), flags)?)
    }

    /// How long [`Socket::recv`] waits from now on.
    #[inline]
    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(patience))
    }

    /// Receives what there is, zero bytes at the end of the stream; waits for it.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` when nothing came in time, `Interrupted`, or a reset.
    #[inline]
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }

    /// The same without waiting.
    #[inline]
    pub(crate) fn recv_waiting(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.0, buffer, RecvFlags::DONTWAIT)?.0)
    }

    /// Shuts one direction or both, from any thread: a reader that waits sees the end of the stream.
    ///
    /// # Errors
    /// Where the peer has already closed or reset, which a reader sees by itself.
    #[inline]
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// Waits for room until then. It may also return for nothing.
    pub(crate) fn wait_for_room(&self, until: Instant) {
        self.poll(PollFlags::OUT, until);
    }

    /// Waits until then for something to receive, or for room. It may also return for nothing.
    pub(crate) fn wait_for_bytes_or_room(&self, until: Instant) {
        self.poll(PollFlags::IN | PollFlags::OUT, until);
    }

    fn poll(&self, wanted: PollFlags, until: Instant) {
        // An interrupted or refused poll is one that returns for nothing.
        let _ = poll(&mut [PollFd::new(&self.0, wanted)], poll_timeout(Some(until), Instant::now()).as_ref());
    }
}

/// Where one thread sleeps for many sockets, and others wake it.
pub(crate) struct Sleeper(Wake);

impl Sleeper {
    pub(crate) fn new() -> io::Result<Self> {
        Wake::new().map(Self)
    }

    /// Ends the sleep of now, or else the next one, unless [`Sleeper::clear`] comes before it. From any thread.
    pub(crate) fn notify(&self) {
        self.0.notify();
    }

    /// Forgets all notifications so far.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }

    /// Sleeps until one of the sockets has room, somebody notifies, or the deadline comes. It may also return for nothing.
    pub(crate) fn sleep<'a>(&self, blocked: impl Iterator<Item = &'a Socket>, deadline: Option<Instant>, now: Instant) {
        let mut polled: Vec<_> = blocked.map(|socket| PollFd::new(&socket.0, PollFlags::OUT)).collect();
        polled.push(PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN));
        // An interrupted or refused poll is one that returns for nothing.
        let _ = poll(&mut polled, poll_timeout(deadline, now).as_ref());
    }
}

/// A connected socket and its peer, for tests; the kernel keeps about so many bytes for a peer that does not read.
#[cfg(test)]
pub(crate) fn pair(kernel_bytes: usize) -> (Socket, TcpStream) {
    use socket2::{Domain, SockRef, Type};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    peer.set_recv_buffer_size(kernel_bytes).unwrap();
    peer.connect(&listener.local_addr().unwrap().into()).unwrap();
    let socket = listener.accept().unwrap().0;
    SockRef::from(&socket).set_send_buffer_size(kernel_bytes).unwrap();
    (socket.into(), peer.into())
}
