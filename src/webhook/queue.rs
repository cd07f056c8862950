//! What waits for the back end, and what became of everything before. Pure.

use super::options::WebhookOptions;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::VecDeque;

/// The most events of a batch.
const MAX_BATCH_EVENTS: usize = 100;
/// The most bytes of a batch, as far as it has more than one event.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// What became of the events that were sent: each of them waits, was delivered or was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookCounts {
    /// Events that wait, those of the batch under way included.
    pub waiting: usize,
    /// Events in batches that the back end took.
    pub delivered: u64,
    /// Events that were dropped: there was no room, or their batch was refused, given up, or left when the webhook
    /// stopped. Some of these batches may have arrived nevertheless.
    pub dropped: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
}

/// Events in the order in which they were sent.
pub(super) struct Queue {
    max_events: usize,
    max_bytes: usize,
    closed: bool,
    waiting: VecDeque<Box<RawValue>>,
    waiting_bytes: usize,
    under_way: Option<UnderWay>,
    last_batch: u64,
    /// Dropped, and in no batch yet that was delivered.
    untold: u64,
    counts: WebhookCounts,
}

/// What must be known of a batch when it comes to its end.
struct UnderWay {
    events: usize,
    dropped: u64,
}

/// What one request says. It is the same in every attempt, so that whoever got it twice can tell.
#[derive(Serialize)]
pub(super) struct Batch {
    /// Counts up from 1; a number that is missing was given up.
    #[serde(rename = "batch")]
    pub(super) number: u64,
    /// How many events were dropped since the last batch that was delivered.
    pub(super) dropped: u64,
    pub(super) events: Vec<Box<RawValue>>,
}

impl Queue {
    pub(super) fn new(options: &WebhookOptions) -> Self {
        Self {
            max_events: options.queue_events,
            max_bytes: options.queue_bytes,
            closed: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            under_way: None,
            last_batch: 0,
            untold: 0,
            counts: WebhookCounts::default(),
        }
    }

    /// Takes an event in, or drops it; says whether it was taken.
    pub(super) fn push(&mut self, event: Box<RawValue>) -> bool {
        let bytes = self.waiting_bytes.saturating_add(event.get().len());
        let has_room = !self.closed && self.waiting.len() < self.max_events && bytes <= self.max_bytes;
        if has_room {
            self.waiting_bytes = bytes;
            self.waiting.push_back(event);
        } else {
            self.drop_events(1);
        }
        has_room
    }

    /// Drops every further event.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether there is anything to tell: a batch under way, events, or that some were dropped.
    pub(super) fn has_news(&self) -> bool {
        self.has_events() || self.untold > 0
    }

    /// Whether there is more to tell than that some were dropped: a batch under way, or events.
    pub(super) fn has_events(&self) -> bool {
        self.under_way.is_some() || !self.waiting.is_empty()
    }

    /// Makes a batch of what waits, if no other is under way. It has no events where only a loss is to be told.
    pub(super) fn take(&mut self) -> Option<Batch> {
        if self.under_way.is_some() || !self.has_news() {
            return None;
        }
        let events = self.waiting.drain(..self.next_batch_len()).collect::<Vec<_>>();
        self.waiting_bytes -= events.iter().map(|event| event.get().len()).sum::<usize>();
        self.last_batch += 1;
        self.under_way = Some(UnderWay { events: events.len(), dropped: self.untold });
        Some(Batch { number: self.last_batch, dropped: self.untold, events })
    }

    /// The batch under way has arrived.
    pub(super) fn delivered(&mut self) {
        if let Some(batch) = self.under_way.take() {
            self.untold -= batch.dropped;
            self.counts.delivered += batch.events as u64;
        }
    }

    /// The batch under way is not tried any more.
    pub(super) fn gave_up(&mut self) {
        if let Some(batch) = self.under_way.take() {
            self.drop_events(batch.events);
        }
    }

    /// An attempt has failed.
    pub(super) fn failed(&mut self) {
        self.counts.failed_attempts += 1;
    }

    /// Nothing is sent any more: drops all that is left, and says how many events.
    pub(super) fn abandon(&mut self) -> usize {
        let left = self.counts().waiting;
        self.under_way = None;
        self.waiting = VecDeque::new();
        self.waiting_bytes = 0;
        self.drop_events(left);
        left
    }

    pub(super) fn counts(&self) -> WebhookCounts {
        let under_way = self.under_way.as_ref().map_or(0, |batch| batch.events);
        WebhookCounts { waiting: self.waiting.len() + under_way, ..self.counts }
    }

    /// The first event goes, however large it is.
    fn next_batch_len(&self) -> usize {
        let mut bytes = 0;
        let fitting = self.waiting.iter().take(MAX_BATCH_EVENTS).take_while(|event| {
            bytes += event.get().len();
            bytes <= MAX_BATCH_BYTES
        });
        fitting.count().max(1).min(self.waiting.len())
    }

    fn drop_events(&mut self, count: usize) {
        self.untold += count as u64;
        self.counts.dropped += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::to_raw_value;

    fn queue(events: usize, bytes: usize) -> Queue {
        let mut options = WebhookOptions::new("http://a/", Vec::new());
        (options.queue_events, options.queue_bytes) = (events, bytes);
        Queue::new(&options)
    }

    fn queue_of_bytes(bytes: usize) -> Queue {
        queue(10, bytes)
    }

    fn event(number: usize) -> Box<RawValue> {
        to_raw_value(&number).unwrap()
    }

    fn numbers(batch: &Batch) -> Vec<usize> {
        batch.events.iter().map(|event| event.get().parse().unwrap()).collect()
    }

    #[test]
    fn a_batch_is_what_waits_up_to_its_bounds() {
        let mut queue = queue(1_000, 1 << 30);
        assert!(queue.take().is_none());
        (0..150).for_each(|number| assert!(queue.push(event(number))));
        let batch = queue.take().unwrap();
        assert_eq!((batch.number, batch.dropped, numbers(&batch)), (1, 0, (0..100).collect()));
        assert!(queue.take().is_none(), "one at a time");
        queue.delivered();
        let batch = queue.take().unwrap();
        assert_eq!((batch.number, numbers(&batch)), (2, (100..150).collect()));
        queue.delivered();
        assert!(queue.take().is_none() && !queue.has_news());
        assert_eq!(queue.counts(), WebhookCounts { delivered: 150, ..WebhookCounts::default() });
    }

    #[test]
    fn a_large_event_goes_alone_and_others_fill_a_batch() {
        let mut queue = queue(1_000, 1 << 30);
        let of_bytes = |bytes: usize| to_raw_value(&"x".repeat(bytes - 2)).unwrap();
        for bytes in [MAX_BATCH_BYTES + 1, MAX_BATCH_BYTES / 2, MAX_BATCH_BYTES / 2, 2, MAX_BATCH_BYTES] {
            queue.push(of_bytes(bytes));
        }
        let lengths = std::iter::from_fn(|| {
            let batch = queue.take()?;
            queue.delivered();
            Some(batch.events.len())
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [1, 2, 1, 1]);
        assert_eq!(queue.waiting_bytes, 0);
    }

    #[test]
    fn what_has_no_room_is_dropped_and_the_next_batch_tells() {
        let mut queue = queue(2, 1 << 20);
        assert_eq!([0, 1, 2, 3].map(|number| queue.push(event(number))), [true, true, false, false]);
        let batch = queue.take().unwrap();
        assert_eq!((batch.dropped, numbers(&batch)), (2, vec![0, 1]));
        assert_eq!([4, 5, 6].map(|number| queue.push(event(number))), [true, true, false]);
        queue.delivered();
        let batch = queue.take().unwrap();
        assert_eq!((batch.dropped, numbers(&batch)), (1, vec![4, 5]), "those before are told, this one was not");
        let mut queue = queue_of_bytes(3);
        assert!(!queue.push(event(1_000)) && queue.push(event(100)) && !queue.push(event(1)), "bytes are bounded too");
    }

    #[test]
    fn a_batch_given_up_is_told_even_if_no_event_follows() {
        let mut queue = queue(2, 1 << 20);
        assert_eq!([0, 1, 2].map(|number| queue.push(event(number))), [true, true, false]);
        queue.take().unwrap();
        queue.gave_up();
        let told = |queue: &mut Queue| {
            let batch = queue.take().unwrap();
            (batch.number, batch.dropped, batch.events.len())
        };
        assert_eq!(told(&mut queue), (2, 3, 0));
        queue.gave_up();
        assert_eq!(told(&mut queue), (3, 3, 0), "a loss that was not told is not another one");
        queue.delivered();
        assert!(!queue.has_news());
        assert_eq!(queue.counts(), WebhookCounts { dropped: 3, ..WebhookCounts::default() });
    }

    #[test]
    fn what_is_left_is_counted() {
        let mut queue = queue(10, 1 << 20);
        (0..5).for_each(|number| assert!(queue.push(event(number))));
        queue.take().unwrap();
        queue.push(event(5));
        queue.close();
        assert!(!queue.push(event(6)));
        assert_eq!((queue.counts().waiting, queue.abandon(), queue.abandon()), (6, 6, 0));
        assert_eq!(queue.counts(), WebhookCounts { dropped: 7, ..WebhookCounts::default() });
    }

    proptest! {
        /// Every event arrives once and in order, or is counted as dropped; batches tell of every loss exactly once.
        #[test]
        fn nothing_is_lost_silently(steps in prop::collection::vec(0..6_u8, 0..400)) {
            let mut queue = queue(5, 40);
            let (mut sent, mut arrived, mut told) = (0, Vec::new(), 0);
            let mut under_way = None;
            for step in steps.into_iter().chain([4, 3, 4, 3, 4]) {
                match step {
                    0..=2 => {
                        queue.push(event(1_000_000 + sent));
                        sent += 1;
                    }
                    3 => under_way = queue.take().or(under_way),
                    4 => {
                        if let Some(batch) = under_way.take() {
                            arrived.extend(numbers(&batch));
                            told += batch.dropped;
                            queue.delivered();
                        }
                    }
                    _ => {
                        under_way = None;
                        queue.gave_up();
                    }
                }
                let counts = queue.counts();
                prop_assert_eq!(counts.waiting as u64 + counts.delivered + counts.dropped, sent as u64);
                prop_assert!(queue.waiting.len() <= 5 && queue.waiting_bytes <= 40);
            }
            prop_assert!(!queue.has_news());
            prop_assert!(arrived.is_sorted_by(|a, b| a < b));
            prop_assert_eq!((arrived.len() as u64, told), (queue.counts().delivered, queue.counts().dropped));
        }
    }
}
