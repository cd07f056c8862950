//! The router by the book: plain lists, everything found by looking through all of them.

use super::*;

pub(super) const ACCOUNTS: [&str; 4] = ["alice", "bob", "carol", "dave"];
pub(super) const ROOMS: [&str; 3] = ["one", "two", "three"];

/// What a client says, by index into the names above; a set of accounts is a mask.
#[derive(Clone, Debug)]
pub(super) enum Say {
    Message { to: u8, id: bool },
    ToRoom { room: usize, id: bool },
    Broadcast { id: bool },
    Join { room: usize, id: bool },
    Leave { room: usize, id: bool },
    Presence { accounts: u8, watch: Option<bool>, id: bool },
}

#[derive(Clone, Debug)]
pub(super) enum To {
    Accounts(u8),
    Room(usize),
    All,
    Connection(usize),
}

pub(super) fn named(mask: u8, names: &[&str]) -> Vec<String> {
    names.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, name)| (*name).to_owned()).collect()
}

pub(super) fn masked_accounts(mask: u8) -> Vec<Account> {
    named(mask, &ACCOUNTS).iter().map(|name| account(name)).collect()
}

/// A connection as the model knows it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: Key,
    pub(super) account: String,
    pub(super) address: Option<u8>,
    /// A room may be listed twice: what counts is whether it is.
    pub(super) rooms: Vec<String>,
    watching: Vec<String>,
    pub(super) attached: bool,
    unregistered: bool,
    /// Commands of it in the inbox.
    pub(super) in_flight: usize,
}

pub(super) type Seen = Vec<(Slot, String)>;

/// The router by the book. Members stay in the order of their registration.
pub(super) struct Model {
    config: Arc<Config>,
    pub(super) members: Vec<Member>,
    pub(super) account_rooms: Vec<(String, String)>,
    pub(super) draining: bool,
    /// What each account may still cause: deliveries and bytes.
    credit: Vec<(i64, i64)>,
    pub(super) seen: Seen,
}

impl Model {
    pub(super) fn new(config: &Arc<Config>) -> Self {
        let full = |limit: Option<u32>| limit.map_or(i64::MAX, i64::from);
        let credit = (full(config.deliveries_per_second), full(config.delivered_bytes_per_second));
        Self {
            config: Arc::clone(config),
            members: Vec::new(),
            account_rooms: Vec::new(),
            draining: false,
            credit: vec![credit; ACCOUNTS.len()],
            seen: Vec::new(),
        }
    }

    pub(super) fn connections_of(&self, account: &str) -> Vec<&Member> {
        self.members.iter().filter(|member| member.attached && member.account == account).collect()
    }

    pub(super) fn in_room(&self, room: &str) -> Vec<Slot> {
        let mut slots: Vec<_> =
            self.members.iter().filter(|m| m.attached && m.rooms.iter().any(|r| r == room)).collect();
        slots.sort_by_key(|member| member.key.slot);
        slots.into_iter().map(|member| member.key.slot).collect()
    }

    pub(super) fn select(&self, to: &To, live: &[Key]) -> Vec<Slot> {
        match to {
            To::Accounts(mask) => {
                named(*mask, &ACCOUNTS).iter().flat_map(|name| self.connections_of(name)).map(|m| m.key.slot).collect()
            }
            To::Room(room) => self.in_room(ROOMS[*room]),
            To::All => {
                let mut all: Vec<_> = self.members.iter().filter(|m| m.attached).map(|m| m.key.slot).collect();
                all.sort_unstable();
                all
            }
            To::Connection(who) => {
                let key = live.get(who % live.len().max(1));
                self.members.iter().filter(|m| m.attached && Some(&m.key) == key).map(|m| m.key.slot).collect()
            }
        }
    }

    pub(super) fn member(&mut self, key: Key) -> &mut Member {
        self.members.iter_mut().find(|member| member.key == key).expect("a member that has not left")
    }

    pub(super) fn tell(&mut self, to: Slot, what: impl Into<String>) {
        self.seen.push((to, what.into()));
    }

    fn tell_watchers(&mut self, account: &str) {
        let news = format!("presence - {account}={}", self.connections_of(account).len());
        let watching = |m: &&Member| m.attached && m.watching.iter().any(|watched| watched == account);
        let watchers: Vec<_> = self.members.iter().filter(watching).map(|m| m.key.slot).collect();
        watchers.into_iter().for_each(|watcher| self.tell(watcher, &*news));
    }

    pub(super) fn detach(&mut self, slot: Slot) {
        let Some(member) = self.members.iter_mut().find(|member| member.key.slot == slot) else { return };
        if std::mem::take(&mut member.attached) {
            let account = member.account.clone();
            if self.connections_of(&account).is_empty() {
                self.tell_watchers(&account);
            }
        }
    }

    pub(super) fn refuses(&self, account: &str, address: Option<u8>) -> Option<CloseKind> {
        let from_address = self.members.iter().filter(|m| address.is_some() && m.address == address).count();
        let present = self.connections_of(account).len();
        let full = |most: Option<usize>, present: usize| most.is_some_and(|most| present >= most);
        if self.draining {
            Some(CloseKind::GoingAway)
        } else if full(self.config.max_per_address, from_address)
            || match self.config.single {
                SingleConnection::Allow => full(self.config.max_per_account, present),
                SingleConnection::Refuse => present > 0,
                SingleConnection::Replace => false,
            }
        {
            Some(CloseKind::ConnectionLimit)
        } else {
            None
        }
    }

    /// `key` is the place that the state chose.
    pub(super) fn register(&mut self, key: Key, account: &str, address: Option<u8>, rooms: Vec<String>) {
        let older: Vec<_> = self.connections_of(account).iter().map(|member| member.key.slot).collect();
        let by_program = self.account_rooms.iter().filter(|(of, _)| of == account).map(|(_, room)| room.clone());
        let rooms = rooms.into_iter().chain(by_program).collect();
        let came_online = self.connections_of(account).is_empty();
        self.members.push(Member {
            key,
            account: account.to_owned(),
            address,
            rooms,
            watching: Vec::new(),
            attached: true,
            unregistered: false,
            in_flight: 0,
        });
        self.tell(key.slot, "101");
        self.tell(key.slot, "register");
        if came_online {
            self.tell_watchers(account);
        }
        if self.config.single == SingleConnection::Replace {
            for slot in older {
                self.detach(slot);
                self.tell(slot, "close 4505");
            }
        }
    }

    pub(super) fn unregister(&mut self, key: Key) {
        self.detach(key.slot);
        self.tell(key.slot, "forget");
        self.member(key).unregistered = true;
        self.let_go();
    }

    fn let_go(&mut self) {
        self.members.retain(|member| !member.unregistered || member.in_flight > 0);
    }

    pub(super) fn apply(&mut self, from: Key, say: &Say, text: &str, frame_bytes: usize) {
        let member = self.member(from);
        member.in_flight -= 1;
        let slot = from.slot;
        let others = |slots: Vec<Slot>| slots.into_iter().filter(|to| *to != slot).collect::<Vec<_>>();
        let ack = |id: bool, delivered: usize| id.then(|| (slot, format!("ack id {delivered}")));
        match say {
            Say::Message { to, id } => {
                let slots = others(self.select(&To::Accounts(*to), &[]));
                self.deliver(from, &slots, *id, text, frame_bytes);
            }
            Say::ToRoom { room, id } => {
                if member.rooms.iter().any(|known| known == ROOMS[*room]) {
                    let slots = others(self.in_room(ROOMS[*room]));
                    self.deliver(from, &slots, *id, text, frame_bytes);
                } else {
                    self.tell(slot, format!("error {} 103", dash(*id)));
                }
            }
            Say::Broadcast { id } => {
                let slots = others(self.select(&To::All, &[]));
                self.deliver(from, &slots, *id, text, frame_bytes);
            }
            Say::Join { room, id } => {
                member.rooms.push(ROOMS[*room].to_owned());
                self.seen.extend(ack(*id, 0));
            }
            Say::Leave { room, id } => {
                member.rooms.retain(|known| known != ROOMS[*room]);
                self.seen.extend(ack(*id, 0));
            }
            Say::Presence { accounts, watch, id } => {
                let names = named(*accounts, &ACCOUNTS);
                if member.attached && self.may_cause(from, names.len(), 64, *id) {
                    let member = self.member(from);
                    match watch {
                        Some(true) => member.watching.extend(names.clone()),
                        Some(false) => member.watching.retain(|watched| !names.contains(watched)),
                        None => {}
                    }
                    let listed = names.iter().map(|name| format!(" {name}={}", self.connections_of(name).len()));
                    let answer = format!("presence {}{}", dash(*id), listed.collect::<String>());
                    self.tell(slot, answer);
                }
            }
        }
        self.let_go();
    }

    fn deliver(&mut self, from: Key, slots: &[Slot], id: bool, text: &str, frame_bytes: usize) {
        if self.may_cause(from, slots.len(), frame_bytes, id) {
            slots.iter().for_each(|to| self.tell(*to, text));
            if id {
                self.tell(from.slot, format!("ack id {}", slots.len()));
            }
        }
    }

    fn may_cause(&mut self, from: Key, deliveries: usize, each_bytes: usize, id: bool) -> bool {
        let sender = self.member(from).account.clone();
        let of_sender = ACCOUNTS.iter().position(|name| *name == sender).unwrap();
        let (deliveries, bytes) = (deliveries as i64, (deliveries * each_bytes) as i64);
        let limit = |limit: Option<u32>| limit.map_or(i64::MAX, i64::from);
        let most = (limit(self.config.deliveries_per_second), limit(self.config.delivered_bytes_per_second));
        let credit = &mut self.credit[of_sender];
        // More than there ever is may pass when all of it is there; nothing always may.
        if deliveries > 0 && (credit.0 < deliveries.min(most.0) || credit.1 < bytes.min(most.1)) {
            self.tell(from.slot, format!("error {} 106", dash(id)));
            return false;
        }
        *credit = (credit.0 - deliveries, credit.1 - bytes);
        true
    }

    pub(super) fn second(&mut self) {
        for (deliveries, bytes) in &mut self.credit {
            let refill = |credit: &mut i64, limit: Option<u32>| {
                *credit = limit.map_or(i64::MAX, |limit| i64::from(limit).min(*credit + i64::from(limit)));
            };
            refill(deliveries, self.config.deliveries_per_second);
            refill(bytes, self.config.delivered_bytes_per_second);
        }
    }

    pub(super) fn population(&self) -> Population {
        Population {
            connections: self.members.iter().filter(|member| member.attached).count(),
            accounts: ACCOUNTS.iter().filter(|name| !self.connections_of(name).is_empty()).count(),
            rooms: ROOMS.iter().filter(|room| !self.in_room(room).is_empty()).count(),
        }
    }
}

fn dash(id: bool) -> &'static str {
    if id { "id" } else { "-" }
}
