//! Who is connected and how it goes; who was, and why that ended; who was not let in.
//!
//! Each connection's thread keeps its own entry up to date. Whoever looks takes copies, under locks that are held for no
//! longer than that, and does not ask the router: a look costs no message anything.

mod connection;
mod ends;
mod explain;
mod open;
mod pulse;
mod statistics;

pub use connection::{ConnectionId, ConnectionInfo, Dialect};
pub use ends::{ClosedConnection, EndFilter, ReasonFilter, RefusedAttempt};
pub use explain::Explanation;
pub use open::OpenConnection;
pub(crate) use open::{Entry, Vitals};
pub(crate) use pulse::Pulse;
pub use statistics::Statistics;

use crate::clock;
use crate::outbound::Sent;
use crate::protocol::close::CloseReason;
use crate::protocol::message::Account;
use crate::threads::lock;
use crate::threads::sync::Mutex;
use ends::Ring;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// How many refused attempts are kept. They cost a stranger nothing, and must push out nothing but each other.
const REFUSED: usize = 1_000;

/// The records of one server.
pub(crate) struct Records {
    /// By their serial numbers: the oldest first.
    open: Mutex<BTreeMap<u64, Arc<Entry>>>,
    closed: Ring<ClosedConnection>,
    refused: Ring<RefusedAttempt>,
}

impl Records {
    /// Records that keep so many closed connections.
    pub(crate) fn new(closed: usize) -> Self {
        Self { open: Mutex::default(), closed: Ring::new(closed), refused: Ring::new(REFUSED) }
    }

    /// A connection is being registered. It is listed until the answer is dropped.
    #[inline(never)]
    pub(crate) fn opened(self: &Arc<Self>, entry: &Arc<Entry>) -> Listed {
        lock(&self.open).insert(entry.serial, Arc::clone(entry));
        Listed { records: Arc::clone(self), entry: Arc::clone(entry) }
    }

    /// Somebody was refused, with this status where HTTP was spoken.
    pub(crate) fn refused(&self, claim: &Claim, status: Option<u16>, reason: &CloseReason) {
        self.refused.push(RefusedAttempt {
            at: SystemTime::now(),
            account: claim.account.clone(),
            address: claim.address,
            status,
            reason: reason.shortened(),
        });
    }

    /// The connections that are there and wanted, the oldest first. The others are not looked at.
    pub(crate) fn look(&self, wanted: impl Fn(&ConnectionInfo) -> bool) -> Vec<OpenConnection> {
        let entries: Vec<_> = lock(&self.open).values().cloned().collect();
        let now = clock::now();
        entries.iter().filter(|entry| wanted(&entry.info)).map(|entry| entry.look(now)).collect()
    }

    /// Closed connections, each with its number, the newest first.
    pub(crate) fn find_closed(&self, filter: &EndFilter) -> Vec<(u64, ClosedConnection)> {
        self.closed.find(filter)
    }

    /// Refused attempts, likewise.
    pub(crate) fn find_refused(&self, filter: &EndFilter) -> Vec<(u64, RefusedAttempt)> {
        self.refused.find(filter)
    }
}

/// Whoever asks to be let in, as far as it is known yet.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) address: SocketAddr,
    /// The account that it says it is. Nothing proves it.
    pub(crate) account: Option<Account>,
}

impl Claim {
    /// One of whom only the address is known.
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self { address, account: None }
    }
}

/// A connection's place in the list of those that are there.
pub(crate) struct Listed {
    records: Arc<Records>,
    entry: Arc<Entry>,
}

impl Listed {
    /// It `ended` then, and has taken leave: it is listed among the closed ones from now on.
    pub(crate) fn close(self, reason: &CloseReason, sent: Sent, ended: Instant) -> ClosedConnection {
        let closed = self.entry.closed(reason, sent, ended);
        self.records.closed.push(closed.clone());
        closed
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.records.open).remove(&self.entry.serial);
    }
}
