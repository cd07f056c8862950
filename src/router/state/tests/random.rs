//! The state beside the model, under random events in the order in which the router's inboxes would bring them.

use super::model::{ACCOUNTS, Model, ROOMS, Say, Seen, To, masked_accounts, named};
use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// What happens to the router. Connections are meant by their index among those that have not been unregistered.
#[derive(Clone, Debug)]
enum Event {
    Register {
        account: usize,
        address: Option<u8>,
        rooms: u8,
    },
    Unregister {
        who: usize,
    },
    /// Puts a command into the data inbox.
    HandOver {
        who: usize,
        say: Say,
    },
    /// Applies the oldest commands in the data inbox.
    Turn {
        commands: usize,
    },
    Push(To),
    Disconnect(To),
    JoinAccount {
        account: usize,
        room: usize,
    },
    LeaveAccount {
        account: usize,
        room: usize,
    },
    Detach {
        who: usize,
    },
    Drain,
    Second,
}

/// Both, side by side, and the data inbox before them.
struct Both {
    state: State,
    model: Model,
    inbox: VecDeque<(Key, Say)>,
    /// Connections whose threads still run, each with how many commands it handed over.
    live: Vec<(Key, u64)>,
    serial: u64,
    sent: u64,
    now: Instant,
    effects: Vec<Effect>,
}

impl Both {
    fn new(config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            model: Model::new(&config),
            state: State::new(config),
            inbox: VecDeque::new(),
            live: Vec::new(),
            serial: 0,
            sent: 0,
            now: Instant::now(),
            effects: Vec::new(),
        }
    }

    fn target(&self, to: &To) -> Target {
        match to {
            To::Accounts(mask) => Target::Accounts(masked_accounts(*mask)),
            To::Room(n) => room(ROOMS[*n]).into(),
            To::All => Target::All,
            To::Connection(who) => {
                let serial = self.live.get(who % self.live.len().max(1)).map_or(0, |(key, _)| key.serial);
                Target::Connection(ConnectionId(format!("c-{serial}").into()))
            }
        }
    }

    fn happens(&mut self, event: &Event) {
        let keys: Vec<_> = self.live.iter().map(|(key, _)| *key).collect();
        let pick = |who: usize| keys.get(who % keys.len().max(1)).copied();
        match event {
            Event::Register { account, address, rooms } => self.register(ACCOUNTS[*account], *address, *rooms),
            Event::Unregister { who } => {
                if let Some(key) = pick(*who) {
                    let (key, commands) = self.live.remove(keys.iter().position(|other| *other == key).unwrap());
                    self.state.unregister(key, commands, self.now, &mut self.effects);
                    self.model.unregister(key);
                }
            }
            Event::HandOver { who, say } => {
                if let Some(key) = pick(*who) {
                    self.inbox.push_back((key, say.clone()));
                    self.live.iter_mut().filter(|(other, _)| *other == key).for_each(|(_, commands)| *commands += 1);
                    self.model.member(key).in_flight += 1;
                }
            }
            Event::Turn { commands } => (0..*commands).for_each(|_| self.turn()),
            Event::Push(to) => {
                let (target, slots) = (self.target(to), self.model.select(to, &keys));
                let reach = self.state.push(&target, &wire::text_frame("push"), &mut self.effects);
                let names = if let To::Accounts(mask) = to { named(*mask, &ACCOUNTS) } else { Vec::new() };
                let missing = names.iter().filter(|name| self.model.connections_of(name).is_empty());
                assert_eq!(reach.missing, missing.map(|name| account(name)).collect::<Vec<_>>());
                let mut reached: Vec<_> = self.model.members.iter().filter(|m| slots.contains(&m.key.slot)).collect();
                reached.dedup_by_key(|member| member.key);
                let accounts: BTreeSet<_> = reached.iter().map(|member| &member.account).collect();
                assert_eq!((reach.connections, reach.accounts), (slots.len(), accounts.len()));
                slots.into_iter().for_each(|slot| self.model.tell(slot, "push"));
            }
            Event::Disconnect(to) => {
                let (target, slots) = (self.target(to), self.model.select(to, &keys));
                let reason = CloseKind::Disconnected.into();
                assert_eq!(self.state.disconnect(&target, &reason, self.now, &mut self.effects), slots.len());
                for slot in slots {
                    self.model.detach(slot);
                    self.model.tell(slot, "close 4503");
                }
            }
            Event::JoinAccount { account, room } => self.join_account(ACCOUNTS[*account], ROOMS[*room]),
            Event::LeaveAccount { account, room } => self.leave_account(ACCOUNTS[*account], ROOMS[*room]),
            Event::Detach { who } => {
                if let Some(key) = pick(*who) {
                    self.state.detach(key.slot, self.now, &mut self.effects);
                    self.model.detach(key.slot);
                }
            }
            Event::Drain => {
                let mut all: Vec<_> = self.model.members.iter().map(|member| member.key.slot).collect();
                all.sort_unstable();
                assert_eq!(self.state.drain().collect::<Vec<_>>(), all);
                self.model.draining = true;
            }
            Event::Second => {
                self.now += Duration::from_secs(1);
                self.model.second();
            }
        }
        self.compare();
    }

    fn register(&mut self, name: &str, address: Option<u8>, rooms: u8) {
        self.serial += 1;
        let mut identity = Identity::new(account(name));
        identity.rooms = named(rooms, &ROOMS).iter().map(|name| room(name)).collect();
        let limited_address = address.map(|host| IpAddr::from([192, 0, 2, host]));
        let new = registration(self.serial, identity, limited_address);
        let (refuses, free) = (self.model.refuses(name, address), self.state.free.clone());
        match self.state.register(new, self.now, &mut self.effects) {
            Ok(key) => {
                assert_eq!((refuses, key.serial), (None, self.serial));
                assert!(self.model.members.iter().all(|member| member.key.slot != key.slot), "a place is given twice");
                assert!(free.is_empty() || free.contains(&key.slot), "a free place is not used again");
                self.live.push((key, 0));
                self.model.register(key, name, address, named(rooms, &ROOMS));
            }
            Err(refusal) => assert_eq!(Some(refusal.close), refuses),
        }
    }

    fn turn(&mut self) {
        let Some((from, say)) = self.inbox.pop_front() else { return };
        self.sent += 1;
        let text = format!("m{}", self.sent);
        let frame = wire::text_frame(&text);
        let frame_bytes = frame.len();
        let given = |asked: bool| if asked { id() } else { None };
        let command = match say.clone() {
            Say::Message { to, id } => {
                Command::Message { to: Recipients::Accounts(masked_accounts(to)), frame, id: given(id) }
            }
            Say::ToRoom { room: n, id } => {
                Command::Message { to: Recipients::Room(room(ROOMS[n])), frame, id: given(id) }
            }
            Say::Broadcast { id } => Command::Broadcast { frame, id: given(id) },
            Say::Join { room: n, id } => Command::Join { room: room(ROOMS[n]), id: given(id) },
            Say::Leave { room: n, id } => Command::Leave { room: room(ROOMS[n]), id: given(id) },
            Say::Presence { accounts, watch, id } => {
                Command::Presence { accounts: masked_accounts(accounts), watch, id: given(id) }
            }
        };
        self.state.apply(from, command, self.now, &mut self.effects);
        self.model.apply(from, &say, &text, frame_bytes);
    }

    fn join_account(&mut self, name: &str, into: &str) {
        let pair = (name.to_owned(), into.to_owned());
        let new = !self.model.account_rooms.contains(&pair);
        assert_eq!(self.state.join_account(&account(name), &room(into)), Ok(new));
        self.model.account_rooms.extend(new.then_some(pair));
        for member in self.model.members.iter_mut().filter(|m| m.attached && m.account == name) {
            member.rooms.push(into.to_owned());
        }
    }

    fn leave_account(&mut self, name: &str, out_of: &str) {
        let pair = (name.to_owned(), out_of.to_owned());
        let was = self.model.account_rooms.contains(&pair);
        assert_eq!(self.state.leave_account(&account(name), &room(out_of)), was);
        self.model.account_rooms.retain(|known| *known != pair);
        for member in self.model.members.iter_mut().filter(|m| m.attached && m.account == name) {
            member.rooms.retain(|room| room != out_of);
        }
    }

    /// What each connection is sent, in its order, and all that can be asked of the state; then the invariants within.
    fn compare(&mut self) {
        let by_slot = |seen: Seen| {
            let mut by_slot: BTreeMap<Slot, Vec<String>> = BTreeMap::new();
            seen.into_iter().for_each(|(slot, what)| by_slot.entry(slot).or_default().push(what));
            by_slot
        };
        let expected = by_slot(std::mem::take(&mut self.model.seen));
        assert_eq!(by_slot(read(&std::mem::take(&mut self.effects))), expected);

        let (state, model) = (&self.state, &self.model);
        assert_eq!(state.population(), model.population());
        for name in ACCOUNTS {
            let ids = model.connections_of(name).iter().map(|m| format!("c-{}", m.key.serial)).collect::<Vec<_>>();
            let infos = state.connections_of(&account(name));
            assert_eq!(infos.iter().map(|info| info.id.to_string()).collect::<Vec<_>>(), ids);
            assert_eq!(state.presence(&[account(name)])[0].connections, ids.len());
        }
        for name in ROOMS {
            let members = model.in_room(name);
            assert_eq!(state.rooms.exists(&room(name)), !members.is_empty(), "a room without members is forgotten");
            assert_eq!(state.rooms.members(&room(name)).collect::<Vec<_>>(), members);
        }

        let mut addresses = HashMap::new();
        for host in model.members.iter().filter_map(|member| member.address) {
            *addresses.entry(IpAddr::from([192, 0, 2, host])).or_insert(0) += 1;
        }
        assert_eq!(state.addresses, addresses);
        let places: BTreeMap<_, _> = model.members.iter().map(|m| (m.key.slot as usize, m.key.serial)).collect();
        let occupied = state.connections.iter().enumerate().filter_map(|(n, c)| Some((n, c.as_ref()?.serial)));
        assert_eq!(occupied.collect::<BTreeMap<_, _>>(), places);
        let free: BTreeSet<_> = state.free.iter().map(|slot| *slot as usize).collect();
        assert_eq!((free.len(), free.len() + places.len()), (state.free.len(), state.connections.len()));
        let ids = state.by_id.iter().map(|(id, slot)| (*slot as usize, id.as_str()[2..].parse().unwrap()));
        assert_eq!(ids.collect::<BTreeMap<_, u64>>(), places);
    }
}

fn say() -> impl Strategy<Value = Say> {
    let room = || 0..ROOMS.len();
    let id = any::<bool>;
    prop_oneof![
        3 => (0_u8..16, id()).prop_map(|(to, id)| Say::Message { to, id }),
        3 => (room(), id()).prop_map(|(room, id)| Say::ToRoom { room, id }),
        1 => id().prop_map(|id| Say::Broadcast { id }),
        3 => (room(), id()).prop_map(|(room, id)| Say::Join { room, id }),
        1 => (room(), id()).prop_map(|(room, id)| Say::Leave { room, id }),
        3 => (0_u8..16, any::<Option<bool>>(), id())
            .prop_map(|(accounts, watch, id)| Say::Presence { accounts, watch, id }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let (account, room, who) = (|| 0..ACCOUNTS.len(), || 0..ROOMS.len(), || 0_usize..12);
    let to = || {
        prop_oneof![
            (0_u8..16).prop_map(To::Accounts),
            room().prop_map(To::Room),
            Just(To::All),
            who().prop_map(To::Connection)
        ]
    };
    prop_oneof![
        60 => (account(), prop::option::of(1_u8..3), 0_u8..8)
            .prop_map(|(account, address, rooms)| Event::Register { account, address, rooms }),
        25 => who().prop_map(|who| Event::Unregister { who }),
        120 => (who(), say()).prop_map(|(who, say)| Event::HandOver { who, say }),
        60 => (1_usize..6).prop_map(|commands| Event::Turn { commands }),
        10 => to().prop_map(Event::Push),
        6 => to().prop_map(Event::Disconnect),
        8 => (account(), room()).prop_map(|(account, room)| Event::JoinAccount { account, room }),
        8 => (account(), room()).prop_map(|(account, room)| Event::LeaveAccount { account, room }),
        5 => who().prop_map(|who| Event::Detach { who }),
        1 => Just(Event::Drain),
        10 => Just(Event::Second),
    ]
}

fn some_config() -> impl Strategy<Value = Config> {
    let single =
        prop::sample::select(vec![SingleConnection::Allow, SingleConnection::Replace, SingleConnection::Refuse]);
    let limit = |most: u32| prop::option::of(1..most);
    (single, limit(4), limit(6), limit(8), limit(40)).prop_map(
        |(single, per_account, per_address, deliveries, bytes)| Config {
            offline_grace: Duration::ZERO,
            single,
            max_per_account: per_account.map(|n| n as usize),
            max_per_address: per_address.map(|n| n as usize),
            deliveries_per_second: deliveries,
            delivered_bytes_per_second: bytes,
            ..Config::default()
        },
    )
}

proptest! {
    #[test]
    fn whatever_happens_the_state_does_what_the_model_does(
        config in some_config(),
        events in prop::collection::vec(event(), 0..150),
    ) {
        let mut both = Both::new(config);
        events.iter().for_each(|event| both.happens(event));
        both.happens(&Event::Turn { commands: both.inbox.len() });
        while !both.live.is_empty() {
            both.happens(&Event::Unregister { who: 0 });
        }
        prop_assert_eq!(both.state.population(), Population::default());
        prop_assert!(both.state.by_id.is_empty() && both.state.addresses.is_empty());
        prop_assert_eq!(both.state.free.len(), both.state.connections.len());
    }
}
