//! Connections that say nothing, or beat.

use crate::cli::bench::crowd::{Crowd, Script};
use crate::cli::bench::frames::text;
use crate::cli::bench::link::Heard;
use crate::cli::bench::schedule::{BURST, LATE, Schedule};
use std::collections::VecDeque;
use std::time::Duration;

/// Sends nothing.
pub(in crate::cli::bench) struct Idle;

impl Script for Idle {}

/// Sends a heartbeat from each connection in turn, and counts the answers.
pub(in crate::cli::bench) struct Beats {
    every: Duration,
    frame: Vec<u8>,
    schedule: Schedule,
    /// Those that beat.
    indices: Vec<usize>,
    /// When the unanswered ones of each were due; answers come in order.
    unanswered: Vec<VecDeque<u64>>,
}

impl Beats {
    /// Each connection beats once in this time, more than none.
    pub(in crate::cli::bench) fn new(every: Duration) -> Self {
        let frame = text(r#"{"type":"heartbeat"}"#);
        Self { every, frame, schedule: Schedule::new(0, 1.0), indices: Vec::new(), unanswered: Vec::new() }
    }
}

impl Script for Beats {
    fn senders(&self) -> usize {
        self.indices.len()
    }

    fn prepare(&mut self, crowd: &mut Crowd<'_>) {
        self.indices = (0..crowd.size()).filter(|index| crowd.account(*index).is_some()).collect();
        self.unanswered = vec![VecDeque::new(); crowd.size()];
    }

    fn begin(&mut self, crowd: &mut Crowd<'_>) {
        let per_second = self.indices.len() as f64 / self.every.as_secs_f64();
        self.schedule = Schedule::new(crowd.clock.now(), per_second);
    }

    fn heard(&mut self, index: usize, heard: &Heard, now: u64, crowd: &mut Crowd<'_>) {
        if *heard == Heard::Heartbeat
            && let Some(due) = self.unanswered[index].pop_front()
        {
            crowd.tally.arrived(now);
            crowd.tally.took(due, now);
        }
    }

    fn schedule(&self) -> Option<&Schedule> {
        (!self.indices.is_empty()).then_some(&self.schedule)
    }

    fn wake(&mut self, now: u64, crowd: &mut Crowd<'_>) -> Option<u64> {
        let beating = self.indices.len() as u64;
        for _ in 0..BURST {
            let due = self.schedule.next();
            if beating == 0 || !crowd.tally.may_send(due) {
                return None;
            }
            if due > now {
                break;
            }
            let index = self.indices[(self.schedule.served() % beating) as usize];
            self.schedule.take();
            crowd.tally.late += u64::from(now - due > LATE);
            crowd.tally.sent(due, 1);
            self.unanswered[index].push_back(due);
            crowd.send(index, &self.frame);
        }
        Some(self.schedule.next())
    }
}
