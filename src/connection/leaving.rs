//! Last words: how a client is told that it does not come in, and how a closing connection waits to be heard.

use super::receiver::{Received, Receiver};
use super::{Greeting, Shared};
use crate::auth::Refusal;
use crate::clock;
use crate::outbound::{Outbound, Waiting};
use crate::printable::Printable;
use crate::protocol::close::CloseReason;
use crate::protocol::format::Format;
use crate::protocol::wire::Bytes;
use crate::record::Claim;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// How often a reader looks again until when it has to wait.
const GLANCE: Duration = Duration::from_secs(1);
/// How much is read and dropped as fast as it comes: more than most have under way. Beyond that a flood waits on its own
/// side rather than take this one's time; who first writes all of something larger may see a reset instead of the reason.
const AT_ONCE_BYTES: usize = 4 << 20;
/// How long to wait before each further read.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers a client that does not come in, and sees to it that the answer is read. Runs on the handshake's thread.
pub(crate) fn refuse(
    receiver: &mut Receiver,
    outbound: &Arc<Outbound>,
    refusal: &Refusal,
    claim: &Claim,
    greeting: &Greeting,
    shared: &Shared,
) {
    log::debug!("refused with {}: {}", refusal.status, Printable(&refusal.message));
    let reason = refusal.close_reason();
    let status = (!matches!(greeting.format, Format::Lines)).then_some(refusal.status);
    shared.refused(claim, status, &reason);
    let answer = match greeting.refuse_by_close {
        true => [&*greeting.first.concat(), &*greeting.format.close(&reason)].concat(),
        false => refusal.response().to_bytes(),
    };
    answer_and_leave(receiver, outbound, answer.into(), reason);
}

/// Writes the last bytes of a connection that never was, and waits for the peer to have read them.
pub(crate) fn answer_and_leave(receiver: &mut Receiver, outbound: &Arc<Outbound>, answer: Bytes, reason: CloseReason) {
    outbound.close_with(reason.clone(), answer);
    leave(receiver, outbound, reason);
}

/// Closes the connection, unless bytes wait and speak against that: its peer was not silent, this machine was slow. Each
/// time that it looks, what waits is used up, so this comes to an end.
pub(crate) fn close_unless_bytes_wait(
    receiver: &mut Receiver,
    outbound: &Arc<Outbound>,
    reason: CloseReason,
    bytes_count: bool,
    buffer: &mut [u8],
) -> Received {
    if bytes_count {
        let received = receiver.receive_waiting(buffer);
        if received != Received::Nothing {
            return received;
        }
    }
    outbound.close(reason, Waiting::Drop);
    Received::Nothing
}

/// Waits for the peer of a connection that is closing, and lets go of the socket; says which reason won.
pub(crate) fn leave(receiver: &mut Receiver, outbound: &Arc<Outbound>, reason: CloseReason) -> CloseReason {
    if outbound.is_ending() {
        discard(receiver, outbound);
    }
    outbound.finish(reason).0
}

/// Reads and drops what still comes, until the peer closes too or the linger is over: a socket closed with unread data
/// would send a reset, which overtakes the answer.
#[inline(never)]
pub(super) fn discard(receiver: &mut Receiver, outbound: &Outbound) {
    let mut sink = [0; 1024];
    let mut dropped = 0;
    while !outbound.is_dead() {
        let (now, until) = (clock::now(), outbound.gives_up_at());
        if until.is_some_and(|until| now >= until) {
            return;
        }
        let glance = now + GLANCE;
        match receiver.receive(&mut sink, until.map_or(glance, |until| until.min(glance))) {
            Received::Bytes(n) => dropped += n,
            Received::Nothing => {}
            Received::End => return,
        }
        if dropped > AT_ONCE_BYTES {
            sleep(PAUSE);
        }
    }
}
