//! The router and its inboxes, while connections come, talk and go in any order: with a thread that does all of its work, and
//! with connections that help.

use super::*;
use crate::auth::Identity;
use crate::outbound::flusher::Flusher;
use crate::protocol::close::CloseKind;
use crate::protocol::format::Format;
use crate::protocol::message::{Account, FrameId, Recipients};
use crate::protocol::wire;
use crate::record::{ConnectionId, ConnectionInfo, Dialect};
use crate::socket::memory::{Peer, pair};
use crate::threads::model::check;
use crate::threads::sync::thread::{JoinHandle, spawn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::SystemTime;

/// No deadline passes in a model.
const NEVER: Duration = Duration::from_secs(10_000);
/// Less than what everybody together has in flight.
const INBOX: usize = 2;

/// A router, and what keeps it going.
struct Scene {
    router: Router,
    running: JoinHandle<std::thread::Result<()>>,
    _changes: Changes,
}

impl Scene {
    /// Starts a router that finds in its inboxes what was put there `before`.
    fn new(work: RouterWork, before: impl FnOnce(&Router)) -> Self {
        let (router, inboxes, told) = with_room(INBOX, INBOX, 64, work);
        let config = Arc::new(Config { offline_grace: Duration::ZERO, ..Config::default() });
        before(&router);
        // The checker takes a panic that leaves a thread for a failure.
        let running = spawn(move || catch_unwind(AssertUnwindSafe(|| run(config, inboxes, Arc::default()))));
        Self { router, running, _changes: told }
    }

    fn client(&self, serial: u64, name: &str) -> Client {
        Client::new(&self.router, serial, name)
    }

    /// Ends the router; says how many places were taken to the last.
    fn stop(self) -> usize {
        let taken = self.taken();
        self.router.stop();
        self.running.join().unwrap().unwrap();
        taken
    }

    /// How many places are taken, by those who are there and by those whose words are not all applied yet. Nobody comes in
    /// any more.
    fn taken(&self) -> usize {
        self.router.ask(|state| state.drain().count()).unwrap()
    }
}

/// A connection, without a thread to read what its peer says.
struct Client {
    router: Router,
    serial: u64,
    name: String,
    outbound: Arc<Outbound>,
    peer: Peer,
}

impl Client {
    fn new(router: &Router, serial: u64, name: &str) -> Self {
        let (socket, peer) = pair(1 << 16);
        let flusher = Arc::new(Flusher::new((&Config::default()).into()).unwrap());
        let outbound = Arc::new(Outbound::new(Arc::new(socket), Format::WebSocket, flusher, Arc::default()));
        Self { router: router.clone(), serial, name: name.to_owned(), outbound, peer }
    }

    fn register(&self) -> Result<Key, Refusal> {
        self.router.register(self.registration(), Arc::clone(&self.outbound), Instant::now() + NEVER)
    }

    fn registration(&self) -> Box<Registration> {
        let account = Account::new(&*self.name).unwrap();
        let info = ConnectionInfo {
            id: ConnectionId(self.name.as_str().into()),
            account: account.clone(),
            device: "".into(),
            dialect: Dialect::Native,
            address: ([192, 0, 2, 1], 4000).into(),
            since: SystemTime::UNIX_EPOCH,
        };
        Box::new(Registration {
            serial: self.serial,
            identity: Identity::new(account),
            limited_address: None,
            info: Arc::new(info),
            greeting: vec![wire::text_frame(&format!("hello {}", self.name))],
        })
    }

    /// Sends two messages to `to`, and asks for answers; says how many the router took.
    fn talk(&self, key: Key, to: &str) -> Result<u64, SendError> {
        for n in 0..2 {
            let message = Command::Message {
                to: Recipients::Accounts(vec![Account::new(to).unwrap()]),
                frame: wire::text_frame(&format!("{}{n}", self.name)),
                id: Some(FrameId::new(&*format!("{}{n}", self.name)).unwrap()),
            };
            self.router.hand_over(key, vec![message])?;
        }
        Ok(2)
    }

    /// The texts that its peer was sent, and the code of the Close at the end.
    fn heard(&self) -> (Vec<String>, Option<u16>) {
        let (bytes, mut texts) = (self.peer.read_waiting(), Vec::new());
        let mut rest = &*bytes;
        while let [opcode, length, behind @ ..] = rest {
            let (payload, behind) = behind.split_at(usize::from(*length));
            rest = behind;
            if *opcode == 0x88 {
                assert!(rest.is_empty(), "something is behind the Close");
                return (texts, Some(u16::from_be_bytes([payload[0], payload[1]])));
            }
            texts.push(String::from_utf8(payload.to_vec()).unwrap());
        }
        (texts, None)
    }
}

/// Checks a model with either way of doing the router's work.
fn check_both(orders: usize, model: impl Fn(RouterWork) + Copy + Send + Sync + 'static) {
    check(orders, move || model(RouterWork::Dedicated));
    check(orders, move || model(RouterWork::Helped));
}

fn those_of<'a>(name: &str, texts: &'a [String]) -> Vec<&'a str> {
    texts.iter().map(String::as_str).filter(|text| text.starts_with(name)).collect()
}

/// It hears its greeting first, and then nothing but answers to what it has sent itself, in order.
fn assert_own_answers(client: &Client) {
    let (texts, _) = client.heard();
    assert_eq!(texts.first(), Some(&format!("hello {}", client.name)));
    let answered = |n| texts.iter().position(|text| text.contains(&format!(r#""id":"{}{n}""#, client.name)));
    assert!(answered(1).is_none_or(|second| answered(0).is_some_and(|first| first < second)), "{texts:?}");
    assert_eq!(texts.len() - 1, (0..2).filter_map(answered).count(), "{texts:?}");
}

#[test]
fn no_message_is_lost_or_overtaken_though_its_senders_leave_and_their_places_are_taken() {
    check_both(2_000, |work| {
        let scene = Scene::new(work, |_| ());
        let everybody = scene.client(0, "r");
        let stays = everybody.register().unwrap();
        let senders = [(1, "a"), (2, "b"), (3, "c")].map(|(serial, name)| {
            let client = scene.client(serial, name);
            spawn(move || {
                let key = client.register().unwrap();
                let commands = client.talk(key, "r").unwrap();
                client.router.unregister(key, commands);
                client
            })
        });
        let asking = spawn({
            let router = scene.router.clone();
            move || {
                let reason: CloseReason = CloseKind::Replaced.into();
                assert!(router.disconnect(Account::new("a").unwrap().into(), reason).unwrap() <= 1);
            }
        });
        let left = senders.map(|sender| sender.join().unwrap());
        asking.join().unwrap();
        // Their last words come behind their unregistrations.
        while scene.taken() > 1 {}
        scene.router.drain(Instant::now() + NEVER);
        scene.router.unregister(stays, 0);
        scene.router.ask(|_| ()).unwrap();
        // Whoever was told to go is with the flusher.
        let mut gone = left.iter().filter(|client| !client.outbound.is_ending());
        assert!(gone.all(|client| Arc::strong_count(&client.outbound) == 1), "somebody who has left is kept");
        assert_eq!(scene.stop(), 0, "all have left");
        let (texts, _) = everybody.heard();
        for client in &left {
            let name = &*client.name;
            assert_eq!(those_of(name, &texts), [format!("{name}0"), format!("{name}1")]);
            assert_own_answers(client);
        }
    });
}

#[test]
fn what_was_handed_over_before_a_drain_goes_out_before_its_close_and_nobody_comes_in_after_it() {
    check_both(2_000, |work| {
        let scene = Scene::new(work, |_| ());
        let (listens, first, second) = (scene.client(0, "r"), scene.client(1, "a"), scene.client(2, "b"));
        listens.register().unwrap();
        let (first_key, second_key) = (first.register().unwrap(), second.register().unwrap());
        first.talk(first_key, "r").unwrap();
        let talking = spawn(move || {
            second.talk(second_key, "r").unwrap();
            second
        });
        let coming = spawn({
            let newcomer = scene.client(3, "n");
            move || (newcomer.register().is_ok(), newcomer)
        });
        scene.router.drain(Instant::now() + NEVER);
        let second = talking.join().unwrap();
        let (came_in, newcomer) = coming.join().unwrap();
        let late = scene.client(4, "l");
        assert!(late.register().is_err() && late.heard() == (Vec::new(), None));
        let push = scene.router.submit(Target::All, wire::text_frame("push")).unwrap();
        assert_eq!(push.wait().unwrap().connections, 0, "those who are told to go are not reached");
        scene.stop();
        let (texts, code) = listens.heard();
        assert_eq!((those_of("a", &texts), code), (vec!["a0", "a1"], Some(1001)));
        assert!(["b0", "b1"].iter().take(those_of("b", &texts).len()).eq(&those_of("b", &texts)));
        for client in [&first, &second] {
            assert_eq!(client.outbound.push([]).unwrap_err().kind(), CloseKind::GoingAway);
            assert_own_answers(client);
        }
        let expected = if came_in { (vec!["hello n".to_owned()], Some(1001)) } else { (Vec::new(), None) };
        assert_eq!(newcomer.heard(), expected);
    });
}

#[test]
fn whoever_asks_a_router_that_stops_gets_an_answer_or_learns_that_it_is_gone() {
    check_both(2_000, |work| {
        let scene = Scene::new(work, |_| ());
        let coming = [(1, "a"), (2, "b")].map(|(serial, name)| {
            let client = scene.client(serial, name);
            spawn(move || {
                if let Ok(key) = client.register() {
                    assert!(matches!(client.talk(key, "a"), Ok(_) | Err(SendError::Stopped)));
                    client.router.unregister(key, 2);
                }
            })
        });
        let asking = spawn({
            let router = scene.router.clone();
            move || {
                let pushed = router.submit(Target::All, wire::text_frame("push")).and_then(|pending| pending.wait());
                assert!(matches!(pushed, Ok(_) | Err(SendError::Stopped)));
                assert!(matches!(router.ask(|_| ()), Ok(()) | Err(SendError::Stopped)));
            }
        });
        scene.router.stop();
        scene.running.join().unwrap().unwrap();
        coming.into_iter().for_each(|thread| thread.join().unwrap());
        asking.join().unwrap();
    });
}

#[test]
fn what_waits_in_the_control_inbox_comes_before_all_data() {
    check_both(200, |work| {
        let (mut pushes, mut registered) = (Vec::new(), None);
        let scene = Scene::new(work, |router| {
            pushes = (0..INBOX).map(|_| router.submit(Target::All, wire::text_frame("push")).unwrap()).collect();
            let (client, (reply, answer)) = (Client::new(router, 1, "a"), reply());
            let (registration, outbound) = (client.registration(), Arc::clone(&client.outbound));
            router.control.send(Control::Register { registration, outbound, reply }).unwrap();
            registered = Some((client, answer));
        });
        let reached: Vec<_> = pushes.iter().map(|push| push.wait().unwrap().connections).collect();
        assert_eq!(reached, [1; INBOX], "whoever registered first is there when they come");
        scene.stop();
        assert_eq!(registered.unwrap().0.heard().0, ["hello a", "push", "push"]);
    });
}

#[test]
fn a_panic_on_whichever_thread_closes_everybody_and_ends_the_router() {
    check_both(1_000, |work| {
        let scene = Scene::new(work, |_| ());
        let (listens, talks) = (scene.client(0, "r"), scene.client(1, "a"));
        let (_, key) = (listens.register().unwrap(), talks.register().unwrap());
        let talking = spawn(move || {
            assert!(matches!(talks.talk(key, "r"), Ok(2) | Err(SendError::Stopped)));
            talks
        });
        let failing = scene.router.ask(|_| resume_unwind(Box::new("on purpose")));
        assert_eq!(failing, Err::<(), _>(SendError::Stopped));
        let talks = talking.join().unwrap();
        let panic = scene.running.join().unwrap().unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
        for client in [&listens, &talks] {
            assert_eq!(client.outbound.push([]).unwrap_err().kind(), CloseKind::Internal);
            assert_eq!(client.router.hand_over(key, Vec::new()), Err(SendError::Stopped));
        }
    });
}
