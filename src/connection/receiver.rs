//! Receiving with an absolute deadline, on a socket that only knows relative ones.

use crate::clock;
use crate::socket::Socket;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The granularity of the timeout that is set on a socket. A deadline that moves with every message then mostly asks for
/// the timeout that is set already, and a message costs no second system call; a deadline is late by hardly more than this.
const GRANULARITY: Duration = Duration::from_millis(8);

/// What a recv came back with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// This many bytes, at least one.
    Bytes(usize),
    /// The deadline passed; or nothing waited, where nobody was to wait.
    Nothing,
    /// End of stream, or a reset: nothing will come any more.
    End,
}

/// The read side of a socket.
pub(crate) struct Receiver {
    socket: Arc<Socket>,
    /// The timeout that is set on the socket; it is per recv, and starts anew with each.
    timeout: Option<Duration>,
}

impl Receiver {
    pub(crate) fn new(socket: Arc<Socket>) -> Self {
        Self { socket, timeout: None }
    }

    /// Receives what there is, waiting until `deadline` at most.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], deadline: Instant) -> Received {
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Received::Nothing;
            }
            if self.set_timeout(round_up(stage(left))).is_err() {
                return Received::End;
            }
            match outcome(self.socket.recv(buffer)) {
                // A debugger or SIGSTOP interrupts a recv that has a timeout: it is asked again.
                None | Some(Received::Nothing) => {}
                Some(received) => return received,
            }
        }
    }

    /// Receives what waits already.
    pub(crate) fn receive_waiting(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            if let Some(received) = outcome(self.socket.recv_waiting(buffer)) {
                return received;
            }
        }
    }

    fn set_timeout(&mut self, wanted: Duration) -> io::Result<()> {
        if self.timeout != Some(wanted) {
            self.socket.set_patience(wanted)?;
            self.timeout = Some(wanted);
        }
        Ok(())
    }
}

/// What came of a recv; `None` when it was interrupted.
fn outcome(received: io::Result<usize>) -> Option<Received> {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    match received {
        Ok(0) => Some(Received::End),
        Ok(n) => Some(Received::Bytes(n)),
        Err(error) if error.kind() == Interrupted => None,
        Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => Some(Received::Nothing),
        Err(_) => Some(Received::End),
    }
}

/// How much of a wait to ask for at once. The kernel's timeouts come late by up to an eighth of their length, seconds where
/// they are long, so a long wait is one that ends early even then, and a short one behind it.
fn stage(left: Duration) -> Duration {
    if left > Duration::from_secs(1) { left * 8 / 9 } else { left }
}

fn round_up(time: Duration) -> Duration {
    let step = GRANULARITY.as_nanos();
    let steps = time.as_nanos().div_ceil(step);
    u32::try_from(steps).map_or(time, |steps| GRANULARITY.saturating_mul(steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stage_of_a_wait_comes_too_late() {
        let mut left = Duration::from_secs(60);
        let mut stages = 0;
        while left > Duration::from_secs(1) {
            let late = stage(left) * 9 / 8;
            assert!(late <= left);
            left -= stage(left);
            stages += 1;
        }
        assert_eq!(stages, 2, "each costs a wake-up");
        assert_eq!(stage(left), left);
    }

    #[test]
    fn timeouts_are_rounded_up_to_the_granularity() {
        assert_eq!(round_up(Duration::from_nanos(1)), GRANULARITY);
        assert_eq!(round_up(GRANULARITY), GRANULARITY);
        assert_eq!(round_up(Duration::from_nanos(24_999_000_001)), Duration::from_secs(25));
        assert!(round_up(Duration::from_secs(1 << 40)) >= Duration::from_secs(1 << 40));
    }
}
