//! Everybody but the slow readers, played by one thread.

use crate::back_end::BackEnd;
use crate::ledger::{Answer, LONG, Ledger, Totals, read, text};
use crate::peer::{Addresses, Form, Heard, Peer, To};
use crate::support::{PATIENCE, post};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use std::time::{Duration, Instant};

const TALKERS: usize = 700;
const ROOMS: usize = 20;
const ROOMMATES: usize = 20 * ROOMS;
const SILENT: usize = 600;
const GUESTS: usize = 260;
/// Those who stay.
const RESIDENTS: usize = TALKERS + ROOMMATES + SILENT;
/// Each of them says something every second.
const SPEAKERS: usize = TALKERS + ROOMMATES;

const TICK: Duration = Duration::from_millis(10);
const MESSAGES_PER_SECOND: f64 = SPEAKERS as f64;
const GUESTS_PER_SECOND: f64 = 100.0;
const PUSHES_PER_SECOND: f64 = 5.0;
/// Clients that connect in each tick at the beginning: a little less than the server accepts a second.
const ARRIVALS: usize = 8;

/// Account names are numbers, as the `ginchat` dialect has them.
const FIRST_GUEST: u64 = 1_000_000;
const NOBODY: u64 = 999_999;
const FIRST_ROOM: u64 = 9_000;
/// Nobody is in it, and so nobody may write to it.
const FORBIDDEN_ROOM: u64 = 8_999;
const PERMISSION_DENIED: u64 = 103;

pub struct Crowd {
    addresses: Addresses,
    members: Vec<Member>,
    ledger: Ledger,
    back_end: BackEnd,
    begun: Instant,
    due: Instant,
    /// Guests that have come.
    guests: u64,
    said: u64,
    visits: u64,
    pushed: u64,
}

struct Member {
    account: u64,
    peer: Peer,
    phase: Phase,
    since: Instant,
    visit: Visit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Here,
    Leaving,
    Gone,
}

/// What a guest waits for.
#[derive(Default)]
struct Visit {
    question: Option<u64>,
    is_acknowledged: bool,
    is_answered: bool,
}

impl Crowd {
    /// Everybody connects.
    pub fn gather(addresses: Addresses) -> Self {
        let now = Instant::now();
        let back_end = BackEnd::start(addresses);
        let mut crowd = Self {
            addresses,
            members: Vec::new(),
            ledger: Ledger::default(),
            back_end,
            begun: now,
            due: now,
            guests: 0,
            said: 0,
            visits: 0,
            pushed: 0,
        };
        crowd.assign_rooms();
        while crowd.members.len() < RESIDENTS + GUESTS {
            for slot in crowd.members.len()..(crowd.members.len() + ARRIVALS).min(RESIDENTS + GUESTS) {
                let member = crowd.arrival(slot);
                crowd.members.push(member);
            }
            crowd.tick();
        }
        while crowd.members[..RESIDENTS].iter().any(|member| member.phase == Phase::Opening) {
            crowd.tick();
        }
        crowd.begun = Instant::now();
        crowd
    }

    /// A moment of everybody's life.
    pub fn play(&mut self) {
        self.tick();
        let elapsed = self.begun.elapsed().as_secs_f64();
        while (self.said as f64) < elapsed * MESSAGES_PER_SECOND {
            self.speak();
        }
        for slot in RESIDENTS..self.members.len() {
            if self.members[slot].phase == Phase::Gone {
                self.members[slot] = self.arrival(slot);
            }
        }
        while (self.visits as f64) < elapsed * GUESTS_PER_SECOND {
            self.change_guests();
        }
        while (self.pushed as f64) < elapsed * PUSHES_PER_SECOND {
            self.push();
        }
    }

    /// Nobody says anything any more, and everything that was said arrives.
    pub fn fall_silent(&mut self) {
        self.back_end.end();
        while !self.back_end.has_ended() || self.ledger.on_their_way() > 0 {
            self.tick();
        }
    }

    /// Everybody goes, in an orderly way.
    pub fn leave(mut self) {
        for member in &mut self.members {
            if member.phase == Phase::Here {
                member.peer.close();
                (member.phase, member.since) = (Phase::Leaving, Instant::now());
            }
        }
        while self.members.iter().any(|member| member.phase != Phase::Gone) {
            self.tick();
        }
        self.back_end.join();
    }

    pub fn totals(&self) -> Totals {
        let (cut, told) = self.back_end.cut();
        Totals { guests: self.guests, pushes: self.pushed, cut, told, ..self.ledger.totals }
    }

    pub fn on_their_way(&self) -> usize {
        self.ledger.on_their_way()
    }

    pub fn present(&self) -> usize {
        self.members.iter().filter(|member| member.phase == Phase::Here).count()
    }

    /// Waits until the next moment, and lets everybody hear what was said to them.
    fn tick(&mut self) {
        std::thread::sleep(self.due.saturating_duration_since(Instant::now()));
        self.due = (self.due + TICK).max(Instant::now());
        let readable: Vec<usize> = {
            let present: Vec<usize> =
                (0..self.members.len()).filter(|slot| self.members[*slot].phase != Phase::Gone).collect();
            let mut polled: Vec<_> =
                present.iter().map(|slot| PollFd::new(self.members[*slot].peer.stream(), PollFlags::IN)).collect();
            poll(&mut polled, Some(&Timespec::default())).unwrap();
            present.into_iter().zip(&polled).filter(|(_, fd)| !fd.revents().is_empty()).map(|(slot, _)| slot).collect()
        };
        for slot in readable {
            for heard in self.members[slot].peer.hear() {
                self.react(slot, heard);
            }
        }
        for (n, reached) in self.back_end.answers() {
            self.ledger.answered(0, n, Answer::Delivered(reached));
        }
    }

    fn react(&mut self, slot: usize, heard: Heard) {
        let member = &mut self.members[slot];
        let (account, phase) = (member.account, member.phase);
        match heard {
            Heard::Welcome => self.welcome(slot),
            Heard::Message { from, body } => {
                let (n, kind) = read(&body);
                self.ledger.received(account, from, n);
                match kind {
                    "question" => {
                        self.say(slot, To::Account(from), 1, Answer::Delivered(1), "answer");
                    }
                    "answer" => member.visit.is_answered = true,
                    _ => {}
                }
            }
            Heard::Ack { id, .. } if id == "join" => member.phase = Phase::Here,
            Heard::Ack { id, delivered } => {
                let n = id.parse().unwrap();
                member.visit.is_acknowledged |= member.visit.question == Some(n);
                self.ledger.answered(account, n, Answer::Delivered(delivered));
            }
            Heard::Error { id, code } => {
                // One that names no message says that the server was too busy for some seconds, and drops them.
                let n = id.parse().unwrap_or_else(|_| panic!("{account} was told {code}, of no message in particular"));
                self.ledger.answered(account, n, Answer::Refused(code));
            }
            Heard::Close(why) => assert_eq!(phase, Phase::Leaving, "the server closed {account}: {why}"),
            Heard::End => {
                assert_eq!(phase, Phase::Leaving, "the connection of {account} ended");
                member.phase = Phase::Gone;
            }
        }
    }

    fn welcome(&mut self, slot: usize) {
        let member = &mut self.members[slot];
        match room_of(slot) {
            Some(room) if member.peer.form != Form::Ginchat => {
                member.peer.send(&json!({ "type": "join", "room": room.to_string(), "id": "join" }));
            }
            _ => member.phase = Phase::Here,
        }
        if slot >= RESIDENTS {
            let host = member.account % TALKERS as u64 + 1;
            let n = self.say(slot, To::Account(host), 1, Answer::Delivered(1), "question");
            let member = &mut self.members[slot];
            member.visit.question = Some(n);
            member.visit.is_acknowledged = member.peer.form == Form::Ginchat;
        }
    }

    /// The next speaker says something: a talker to one of four others, a roommate to its room; now and then to
    /// nobody, or where it may not.
    fn speak(&mut self) {
        let (slot, round) = (self.said as usize % SPEAKERS, self.said as usize / SPEAKERS);
        self.said += 1;
        let is_told = self.members[slot].peer.form != Form::Ginchat;
        // In the first half a minute everybody says something long, after which no connection's buffers grow any more.
        let kind = if (slot + round).is_multiple_of(32) { LONG } else { "short" };
        match (room_of(slot), self.said % 50) {
            (_, 0) => self.say(slot, To::Account(NOBODY), 0, Answer::Delivered(0), "nobody"),
            (_, 25) if is_told => {
                self.say(slot, To::Room(FORBIDDEN_ROOM), 0, Answer::Refused(PERMISSION_DENIED), "forbidden")
            }
            (Some(room), _) => {
                let others = ROOMMATES / ROOMS - 1;
                self.say(slot, To::Room(room), others, Answer::Delivered(others), kind)
            }
            (None, _) => {
                let to = (slot + [1, 3, 7, 12][round % 4]) % TALKERS;
                self.say(slot, To::Account(to as u64 + 1), 1, Answer::Delivered(1), kind)
            }
        };
    }

    fn say(&mut self, slot: usize, to: To, recipients: usize, answer: Answer, kind: &str) -> u64 {
        let Member { account, peer, .. } = &mut self.members[slot];
        let n = self.ledger.sent(*account, recipients, (peer.form != Form::Ginchat).then_some(answer));
        peer.say(n, to, &text(n, kind));
        n
    }

    /// The guest that has been there for the longest time goes; another one takes its place.
    fn change_guests(&mut self) {
        let slot = RESIDENTS + self.visits as usize % GUESTS;
        self.visits += 1;
        let member = &mut self.members[slot];
        let has_all = member.visit.is_acknowledged && member.visit.is_answered;
        match member.phase {
            Phase::Here if has_all => match self.visits % 4 {
                0 | 1 => {
                    member.peer.close();
                    (member.phase, member.since) = (Phase::Leaving, Instant::now());
                    return;
                }
                2 => member.peer.reset(),
                _ => {}
            },
            _ => {
                let (account, phase, since) = (member.account, member.phase, member.since.elapsed());
                assert!(since < PATIENCE, "the guest {account} waits: {phase:?} for {since:?}");
                return;
            }
        }
        self.members[slot] = self.arrival(slot);
    }

    /// The back end says something to eight residents, or in a room.
    fn push(&mut self) {
        self.pushed += 1;
        let first = self.pushed as usize * 7;
        let (body, recipients) = if self.pushed.is_multiple_of(5) {
            (json!({ "rooms": [(FIRST_ROOM + self.pushed / 5 % ROOMS as u64).to_string()] }), ROOMMATES / ROOMS)
        } else {
            let accounts: Vec<String> = (0..8).map(|k| ((first + 211 * k) % RESIDENTS + 1).to_string()).collect();
            (json!({ "accounts": accounts }), accounts.len())
        };
        let n = self.ledger.sent(0, recipients, Some(Answer::Delivered(recipients)));
        self.back_end.push(n, body, &text(n, "push"));
    }

    fn arrival(&mut self, slot: usize) -> Member {
        let (account, form) = if slot < RESIDENTS {
            (slot as u64 + 1, Form::of(slot))
        } else {
            self.guests += 1;
            (FIRST_GUEST + self.guests, Form::of(self.guests as usize))
        };
        let peer = Peer::open(self.addresses, form, account);
        Member { account, peer, phase: Phase::Opening, since: Instant::now(), visit: Visit::default() }
    }

    /// Clients of the `ginchat` dialect cannot join rooms: the back end puts them there.
    fn assign_rooms(&self) {
        for room in 0..ROOMS {
            let slots = (TALKERS + room * ROOMMATES / ROOMS..).take(ROOMMATES / ROOMS);
            let accounts: Vec<String> =
                slots.filter(|slot| Form::of(*slot) == Form::Ginchat).map(|slot| (slot + 1).to_string()).collect();
            let path = format!("/v1/rooms/{}/members", FIRST_ROOM + room as u64);
            post(self.addresses.admin, &path, &json!({ "accounts": accounts }));
        }
    }
}

fn room_of(slot: usize) -> Option<u64> {
    let roommate = slot.checked_sub(TALKERS).filter(|roommate| *roommate < ROOMMATES)?;
    Some(FIRST_ROOM + (roommate / (ROOMMATES / ROOMS)) as u64)
}
