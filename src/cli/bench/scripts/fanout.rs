//! One connection that sends to a room of many, and perhaps a pair beside it.

use crate::cli::bench::crowd::{Crowd, Script};
use crate::cli::bench::frames::{Template, text};
use crate::cli::bench::link::{End, Heard};
use std::collections::{HashSet, VecDeque};

/// The room.
const ROOM: &str = "bench";
/// Who sends to it.
const SENDER: usize = 0;

/// Sends the next message to the room when all have one of the last.
pub(in crate::cli::bench) struct Fanout {
    window: usize,
    message: Template,
    payload_bytes: usize,
    /// Those of a pair beside the room, the last two connections, to each other.
    probe: Option<(usize, [Template; 2])>,
    has_probe: bool,
    members: u64,
    /// Those whose `join` was not answered yet.
    joining: HashSet<usize>,
    /// How many have yet to get each of the messages on their way, with when that was due; the oldest first.
    missing: VecDeque<(u64, u64)>,
    /// When the last message was due that each has got.
    last: Vec<u64>,
}

impl Fanout {
    /// With a probe, the last two connections are a pair that relays one message at a time.
    pub(in crate::cli::bench) fn new(window: usize, has_probe: bool, payload_bytes: usize) -> Self {
        let message = Template::to_room(ROOM, payload_bytes);
        Self {
            window,
            message,
            payload_bytes,
            probe: None,
            has_probe,
            members: 0,
            joining: HashSet::new(),
            missing: VecDeque::new(),
            last: Vec::new(),
        }
    }

    fn send(&mut self, now: u64, crowd: &mut Crowd<'_>) {
        if crowd.tally.may_send(now) && self.members > 0 {
            // No two are due at the same time, or they could not be told apart.
            let due = self.missing.back().map_or(now, |(last, _)| now.max(last + 1));
            crowd.tally.sent(due, self.members);
            self.missing.push_back((due, self.members));
            crowd.send(SENDER, self.message.due(due));
        }
    }

    /// Sends as many messages as all have got since.
    fn go_on(&mut self, now: u64, crowd: &mut Crowd<'_>) {
        while let Some((_, 0)) = self.missing.front() {
            self.missing.pop_front();
            self.send(now, crowd);
        }
    }

    fn send_probe(&mut self, which: usize, now: u64, crowd: &mut Crowd<'_>) {
        if let Some((first, messages)) = &mut self.probe
            && crowd.tally.may_send(now)
        {
            crowd.tally.sent(now, 1);
            crowd.send(*first + which, messages[which].due(now));
        }
    }
}

impl Script for Fanout {
    fn senders(&self) -> usize {
        1 + self.probe.iter().count() * 2
    }

    fn prepare(&mut self, crowd: &mut Crowd<'_>) {
        let mut size = crowd.size();
        if self.has_probe {
            size -= 2;
            let message = |to: usize| Some(Template::to_account(crowd.account(to)?, self.payload_bytes));
            self.probe =
                message(size + 1).zip(message(size)).map(|(to_second, to_first)| (size, [to_second, to_first]));
        }
        let join = text(&format!(r#"{{"type":"join","room":"{ROOM}","id":"join"}}"#));
        let open: Vec<_> = (0..size).filter(|index| crowd.account(*index).is_some()).collect();
        open.iter().for_each(|index| crowd.send(*index, &join));
        self.last = vec![0; size];
        self.members = open.iter().filter(|index| **index != SENDER).count() as u64;
        self.joining = open.into_iter().collect();
    }

    fn is_prepared(&self) -> bool {
        self.joining.is_empty()
    }

    fn begin(&mut self, crowd: &mut Crowd<'_>) {
        for _ in 0..self.window {
            self.send(crowd.clock.now(), crowd);
        }
        self.send_probe(0, crowd.clock.now(), crowd);
    }

    fn heard(&mut self, index: usize, heard: &Heard, now: u64, crowd: &mut Crowd<'_>) {
        let due = match heard {
            Heard::Message(due) => *due,
            Heard::Ack => {
                self.joining.remove(&index);
                return;
            }
            _ => return,
        };
        crowd.tally.arrived(now);
        match &self.probe {
            Some((first, _)) if index >= *first => {
                crowd.tally.took(due, now);
                let which = index - first;
                return self.send_probe(which, now, crowd);
            }
            Some(_) => {}
            None => crowd.tally.took(due, now),
        }
        self.last[index] = due;
        if let Some((_, missing)) = self.missing.iter_mut().find(|(sent, _)| *sent == due) {
            *missing -= 1;
        }
        self.go_on(now, crowd);
    }

    /// The others do not wait for one that will get nothing any more.
    fn ended(&mut self, index: usize, end: &End, now: u64, crowd: &mut Crowd<'_>) {
        crowd.trouble.count_end(end);
        self.joining.remove(&index);
        if index != SENDER
            && let Some(last) = self.last.get(index).copied()
        {
            self.members -= 1;
            self.missing.iter_mut().filter(|(sent, _)| *sent > last).for_each(|(_, missing)| *missing -= 1);
            self.go_on(now, crowd);
        }
    }
}
