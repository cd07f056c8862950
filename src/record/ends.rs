//! Connections that ended, and attempts that were refused: the last of each, the oldest forgotten first.

use super::{ConnectionInfo, Statistics};
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::message::{Account, HeartbeatTimes};
use crate::threads::lock;
use crate::threads::sync::Mutex;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClosedConnection {
    /// What was known of it from its beginning.
    pub info: Arc<ConnectionInfo>,
    /// What it did.
    pub statistics: Statistics,
    /// The deadlines that held for it at its end.
    pub heartbeat: HeartbeatTimes,
    /// Whether its page was hidden at its end, as far as its client said: `None` where it said nothing.
    pub background: Option<bool>,
    /// Why it ended, with at most as much text as a close frame carries.
    pub reason: CloseReason,
    /// When it ended.
    pub closed: SystemTime,
}

/// An attempt to connect that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedAttempt {
    /// When it was refused.
    pub at: SystemTime,
    /// The account that the client said it was, if it did. Nothing has proved it.
    pub account: Option<Account>,
    /// The client's address: that of the socket, or the one a trusted proxy named.
    pub address: SocketAddr,
    /// The status of HTTP that says so, where it asked by HTTP; a browser is told by a Close instead.
    pub status: Option<u16>,
    /// Why, with at most as much text as a close frame carries.
    pub reason: CloseReason,
}

/// What of the records is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndFilter {
    /// Of this account only.
    pub account: Option<Account>,
    /// For this reason only.
    pub reason: Option<ReasonFilter>,
    /// Not before this time.
    pub since: Option<SystemTime>,
    /// Only those with smaller numbers: the next page begins behind the last number of this one.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl Default for EndFilter {
    /// All of them.
    fn default() -> Self {
        Self { account: None, reason: None, since: None, before: None, limit: usize::MAX }
    }
}

/// The reason that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonFilter {
    /// Close reasons with this code.
    Code(u16),
    /// Close reasons whose [`CloseKind::name`](crate::CloseKind::name) is this.
    Name(&'static str),
}

impl ReasonFilter {
    /// From a code, or the name of a kind; `None` where there is no such kind.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(code) => Some(Self::Code(code)),
            Err(_) => CloseKind::names().find(|name| *name == text).map(Self::Name),
        }
    }
}

/// What is kept of the past.
pub(super) trait End: Clone {
    fn account(&self) -> Option<&Account>;
    fn reason(&self) -> &CloseReason;
    fn at(&self) -> SystemTime;
}

impl End for ClosedConnection {
    fn account(&self) -> Option<&Account> {
        Some(&self.info.account)
    }

    fn reason(&self) -> &CloseReason {
        &self.reason
    }

    fn at(&self) -> SystemTime {
        self.closed
    }
}

impl End for RefusedAttempt {
    fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    fn reason(&self) -> &CloseReason {
        &self.reason
    }

    fn at(&self) -> SystemTime {
        self.at
    }
}

/// The last of what ended, up to a number.
pub(super) struct Ring<T>(Mutex<Kept<T>>);

struct Kept<T> {
    /// The oldest first.
    entries: VecDeque<T>,
    most: usize,
    /// The number of the last one; they count from 1.
    last: u64,
}

impl<T: End> Ring<T> {
    pub(super) fn new(most: usize) -> Self {
        // All its places at once, since one that grows would double. What is not used takes no memory.
        Self(Mutex::new(Kept { entries: VecDeque::with_capacity(most), most, last: 0 }))
    }

    pub(super) fn push(&self, end: T) {
        let kept = &mut *lock(&self.0);
        kept.last += 1;
        if kept.entries.len() == kept.most {
            kept.entries.pop_front();
        }
        if kept.entries.len() < kept.most {
            kept.entries.push_back(end);
        }
    }

    /// Those that the filter lets pass, each with its number, the newest first.
    pub(super) fn find(&self, filter: &EndFilter) -> Vec<(u64, T)> {
        let kept = lock(&self.0);
        let numbers = (0..=kept.last).rev();
        let numbered = numbers.zip(kept.entries.iter().rev());
        let page = numbered.filter(|(number, end)| filter.passes(*number, *end)).take(filter.limit);
        page.map(|(number, end)| (number, end.clone())).collect()
    }
}

impl EndFilter {
    fn passes(&self, number: u64, end: &impl End) -> bool {
        let reason = end.reason();
        self.before.is_none_or(|before| number < before)
            && self.since.is_none_or(|since| end.at() >= since)
            && self.account.as_ref().is_none_or(|account| end.account() == Some(account))
            && self.reason.is_none_or(|wanted| match wanted {
                ReasonFilter::Code(code) => reason.code() == code,
                ReasonFilter::Name(name) => reason.kind().name() == name,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ConnectionId, Dialect};
    use std::time::Duration;

    const MIB: usize = 1 << 20;

    /// The largest record that there can be.
    fn largest() -> ClosedConnection {
        let heartbeat = HeartbeatTimes { interval: Duration::from_secs(25), timeout: Duration::from_secs(60) };
        let info = ConnectionInfo {
            id: ConnectionId("ffffffffffffffff-ffffffffffffffff".into()),
            account: Account::new(&"a".repeat(128)).unwrap(),
            device: "d".repeat(64).into(),
            dialect: Dialect::Native,
            address: "[::1]:1".parse().unwrap(),
            since: SystemTime::UNIX_EPOCH,
        };
        let (statistics, background, closed) = (Statistics::default(), Some(true), SystemTime::UNIX_EPOCH);
        let reason = CloseReason::application(4000, "r".repeat(1_000)).unwrap().shortened();
        ClosedConnection { info: Arc::new(info), statistics, heartbeat, background, reason, closed }
    }

    /// What a block takes of the heap: a header, and then multiples of sixteen.
    fn block(bytes: usize) -> usize {
        (bytes + size_of::<usize>()).next_multiple_of(16)
    }

    /// Two counters stand before what is shared.
    fn shared(bytes: usize) -> usize {
        block(2 * size_of::<usize>() + bytes)
    }

    #[test]
    fn ten_thousand_of_the_largest_records_take_eight_mebibytes_at_most() {
        let record = largest();
        let info = &record.info;
        let names = shared(info.id.as_str().len()) + shared(info.account.as_str().len()) + block(info.device.len());
        let reason = block(record.reason.wire_text().len());
        let each = size_of::<ClosedConnection>() + shared(size_of::<ConnectionInfo>()) + names + reason;
        println!("{each} bytes each, {:.2} MiB for 10,000", (10_000 * each) as f64 / MIB as f64);
        assert!(10_000 * each <= 8 * MIB);
        assert_eq!(Ring::<ClosedConnection>::new(10_000).0.lock().unwrap().entries.capacity(), 10_000);
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_are_forgotten() {
        let ring = Ring::new(3);
        (0..5).for_each(|_| ring.push(largest()));
        let numbers = |filter: &EndFilter| ring.find(filter).into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(numbers(&EndFilter::default()), [5, 4, 3]);
        assert_eq!(numbers(&EndFilter { before: Some(5), limit: 1, ..EndFilter::default() }), [4]);
        assert_eq!(numbers(&EndFilter { reason: ReasonFilter::new("4000"), ..EndFilter::default() }), [5, 4, 3]);
        assert_eq!(numbers(&EndFilter { reason: ReasonFilter::new("normal"), ..EndFilter::default() }), [0_u64; 0]);
        assert_eq!(ring.0.lock().unwrap().entries.capacity(), 3);
    }

    #[test]
    fn a_reason_is_asked_for_by_code_or_by_name() {
        assert_eq!(ReasonFilter::new("4201"), Some(ReasonFilter::Code(4201)));
        assert_eq!(ReasonFilter::new("heartbeat_timeout"), Some(ReasonFilter::Name("heartbeat_timeout")));
        assert_eq!(ReasonFilter::new("tired"), None);
        assert_eq!(ReasonFilter::new(""), None);
    }
}
