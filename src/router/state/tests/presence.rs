//! Who is online, who is told of it, and what can be read of all that.

use super::*;
use crate::protocol::message::{MAX_WATCHED_PER_CONNECTION, Presence};

#[test]
fn a_connection_watches_1024_accounts_and_what_is_refused_changes_nothing() {
    let mut f = Fixture::new(|_| ());
    let alice = f.connect("alice");
    let names: Vec<_> = (0..=MAX_WATCHED_PER_CONNECTION).map(|n| account(&n.to_string())).collect();
    let watch = |names: &[Account]| Command::Presence { accounts: names.to_vec(), watch: Some(true), id: id() };
    let most = &names[..MAX_WATCHED_PER_CONNECTION];
    assert!(f.apply(alice, watch(most))[0].1.starts_with("presence id"));
    assert_eq!(f.apply(alice, watch(&names[1..])), each([(alice, "error id 106")]));
    assert!(f.apply(alice, watch(most))[0].1.starts_with("presence id"), "whom it watches already does not count");
    f.connect("1024");
    assert_eq!(f.state.accounts.watchers(&names[MAX_WATCHED_PER_CONNECTION]).count(), 0);
    f.apply(alice, Command::Presence { accounts: names[..1].to_vec(), watch: Some(false), id: None });
    assert!(f.apply(alice, watch(&names[MAX_WATCHED_PER_CONNECTION..]))[0].1.starts_with("presence id"));
}

#[test]
fn watchers_hear_of_an_accounts_first_connection_and_of_its_last() {
    let mut f = Fixture::new(|_| ());
    let watcher = f.connect("alice");
    let question = Command::Presence { accounts: accounts(&["bob", "alice"]), watch: Some(true), id: id() };
    assert_eq!(f.apply(watcher, question), each([(watcher, "presence id bob=0 alice=1")]));
    let connect = |f: &mut Fixture| {
        let key = f.try_connect(Identity::new(account("bob")), None).unwrap();
        let seen = f.seen().into_iter().filter(|(to, _)| *to == watcher.slot).map(|(_, what)| what);
        (key, seen.collect::<Vec<_>>())
    };
    let (first, seen) = connect(&mut f);
    assert_eq!(seen, ["presence - bob=1"]);
    let (second, seen) = connect(&mut f);
    assert!(seen.is_empty());
    assert_eq!(f.unregister(first, 0), each([(first, "forget")]));
    assert_eq!(f.unregister(second, 0), each([(watcher, "presence - bob=0"), (second, "forget")]));
    f.apply(watcher, Command::Presence { accounts: accounts(&["bob"]), watch: Some(false), id: None });
    assert!(connect(&mut f).1.is_empty());
}

#[test]
fn who_comes_back_within_the_grace_has_not_been_away() {
    const GRACE: Duration = Duration::from_secs(5);
    let mut f = Fixture::new(|config| config.offline_grace = GRACE);
    let watcher = f.connect("watcher");
    let question = Command::Presence { accounts: accounts(&["bob"]), watch: Some(true), id: id() };
    f.apply(watcher, question);
    let told = |f: &mut Fixture| {
        let announced = |effect: &Effect| match effect {
            Effect::Announce { account, online } => Some(format!("{account} {online}")),
            Effect::Send { to, frame } if *to == watcher.slot => Some(short(frame)),
            _ => None,
        };
        f.effects.drain(..).filter_map(|effect| announced(&effect)).collect::<Vec<_>>()
    };
    let first = f.try_connect(Identity::new(account("bob")), None).unwrap();
    assert_eq!(told(&mut f), ["presence - bob=1", "bob true"]);
    let mut last = first;
    for _ in 0..1_000 {
        f.state.unregister(last, 0, f.now, &mut f.effects);
        assert_eq!(f.state.departs_at(), Some(f.now + GRACE));
        f.now += GRACE - Duration::from_nanos(1);
        f.state.depart(f.now, &mut f.effects);
        let answer = f.state.presence(&accounts(&["bob"]));
        assert_eq!((answer[0].online, answer[0].connections), (true, 0), "as watchers believe");
        last = f.try_connect(Identity::new(account("bob")), None).unwrap();
        assert_eq!(f.state.departs_at(), None);
    }
    assert_eq!(told(&mut f), Vec::<String>::new());
    f.state.unregister(last, 0, f.now, &mut f.effects);
    f.state.depart(f.now + GRACE, &mut f.effects);
    assert_eq!(told(&mut f), ["presence - bob=0", "bob false"]);
    assert_eq!(f.state.departs_at(), None);
    f.state.depart(f.now + 2 * GRACE, &mut f.effects);
    assert_eq!(told(&mut f), Vec::<String>::new());
}

#[test]
fn everything_known_can_be_read_a_page_at_a_time() {
    let mut f = Fixture::new(|_| ());
    for name in ["carol", "alice", "bob", "alice"] {
        let key = f.connect(name);
        f.join(key, "r");
    }
    f.state.join_account(&account("dave"), &room("r")).unwrap();
    let bob = f.connect("bob");
    f.join(bob, "a");
    let shown = |list: Vec<Presence>| {
        list.iter().map(|p| format!("{} {} {}", p.account, p.online, p.connections)).collect::<Vec<_>>()
    };
    assert_eq!(shown(f.state.accounts(None, 2)), ["alice true 2", "bob true 2"]);
    assert_eq!(shown(f.state.accounts(Some(&account("bob")), 2)), ["carol true 1", "dave false 0"]);
    assert_eq!(shown(f.state.accounts(Some(&account("dave")), 2)), Vec::<String>::new());
    let members = f.state.members(&room("r"), None, 9);
    assert_eq!(shown(members), ["alice true 2", "bob true 1", "carol true 1", "dave false 0"]);
    let rooms = f.state.rooms(None, 9);
    let rooms: Vec<_> = rooms.iter().map(|info| (info.room.as_str(), info.accounts, info.connections)).collect();
    assert_eq!(rooms, [("a", 1, 1), ("r", 3, 4)]);
    assert_eq!(f.state.rooms(Some(&room("a")), 1)[0].room, room("r"));
    let info = f.state.account_info(&account("bob"));
    assert_eq!((info.connections.len(), info.rooms.len()), (2, 0));
    assert_eq!(f.state.account_info(&account("dave")).rooms, [room("r")]);
    let detail = f.state.connection_detail(&info.connections[1].id).unwrap();
    assert_eq!(detail.rooms, [room("a")]);
    f.unregister(bob, 1);
    assert_eq!(f.state.connection_detail(&info.connections[1].id), None);
}
