//! Last words: how a client is told that it does not come in, and how a closing connection waits to be heard.

use super::receiver::{Received, Receiver};
use super::{Shared, Upgrade};
use crate::auth::Refusal;
use crate::outbound::Outbound;
use crate::printable::Printable;
use crate::protocol::close::CloseReason;
use crate::protocol::format::Format;
use crate::protocol::wire::{self, Bytes};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much later than the flusher a reader gives up, which happens only where the flusher is gone.
const FLUSHER_GRACE: Duration = Duration::from_secs(5);

/// Answers a client that does not come in, and sees to it that the answer is read. Runs on the client's own thread.
pub(crate) fn refuse(socket: &Arc<TcpStream>, refusal: &Refusal, upgrade: Option<&Upgrade>, shared: &Shared) {
    shared.metrics.refused.add(1);
    log::debug!("refused with {}: {}", refusal.status, Printable(&refusal.message));
    let answer = match upgrade.filter(|upgrade| upgrade.refuse_by_close) {
        Some(upgrade) => [&*upgrade.response, &*wire::close(&refusal.close_reason())].concat(),
        None => refusal.response().to_bytes(),
    };
    answer_and_leave(socket, answer.into(), refusal.close_reason(), shared);
}

/// Writes the last bytes of a connection that never was, and waits for the peer to have read them.
pub(crate) fn answer_and_leave(socket: &Arc<TcpStream>, answer: Bytes, reason: CloseReason, shared: &Shared) {
    let (flusher, metrics) = (Arc::clone(&shared.flusher), Arc::clone(&shared.metrics));
    let outbound = Arc::new(Outbound::new(Arc::clone(socket), Format::WebSocket, flusher, metrics));
    outbound.close_with(reason.clone(), answer);
    discard(&mut Receiver::new(Arc::clone(socket)), &outbound);
    outbound.finish(reason);
}

/// Reads and drops what still comes, until the peer closes too or the flusher loses patience: a socket closed with
/// unread data would send a reset, which overtakes the answer.
#[inline(never)]
pub(super) fn discard(receiver: &mut Receiver, outbound: &Outbound) {
    let mut sink = [0; 1024];
    let overdue = || outbound.gives_up_at().is_some_and(|deadline| Instant::now() >= deadline + FLUSHER_GRACE);
    while !outbound.is_dead() && !overdue() {
        if receiver.receive(&mut sink, Instant::now() + Duration::from_secs(1)) == Received::End {
            return;
        }
    }
}
