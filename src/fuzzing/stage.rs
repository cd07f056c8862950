//! A server in one thread: its sockets, its clock and its peers are made up, and nobody waits for anybody.
//!
//! Where a connection's thread would sleep in `recv`, the rest of the world has its turn instead: the router, the flusher,
//! the peer's next deed, and the time until then.

use crate::clock;
use crate::config::Config;
use crate::connection::{Accepted, Shared};
use crate::handler::Handler;
use crate::limits::{Admission, Places};
use crate::outbound::Outbound;
use crate::outbound::flusher::Flusher;
use crate::router::{self, played};
use crate::socket::memory::Peer;
use crate::socket::pair;
use crate::threads::lock;
use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Nothing takes more steps than this for each thing that its peer does, or it would never end.
const STEPS: usize = 2_000;
/// Changes of presence that wait for nobody.
const CHANGES: usize = 64;
/// Only what does not end waits this long, on a real clock.
const STUCK: Duration = Duration::from_secs(20);

/// A server without threads.
pub(super) struct Stage {
    pub(super) shared: Arc<Shared>,
    /// The end of this would be the router's.
    _changes: router::Changes,
}

impl Stage {
    pub(super) fn new(config: Config, handler: impl Handler) -> Self {
        let config = Arc::new(config);
        let admission = Admission {
            max_connections: 8,
            max_handshakes: 8,
            max_threads: 64,
            limited_by: String::new(),
            remedy: None,
        };
        let (router, inboxes, changes) = router::inboxes(&config, admission.max_connections, CHANGES);
        let places = Arc::new(Places::new(&admission, config.max_per_address));
        let shared = Shared::new(config, handler, router, places, Arc::default(), &Arc::default()).unwrap();
        played::install(Arc::clone(&shared.config), inboxes, Arc::clone(&shared.metrics));
        Self { shared: Arc::new(shared), _changes: changes }
    }

    /// A client comes, who will do all this. The kernel keeps so many bytes for it while it does not read.
    pub(super) fn enter(&self, peer: SocketAddr, kernel_bytes: usize, deeds: VecDeque<Deed>) -> (Accepted, World) {
        let (socket, end) = pair(kernel_bytes);
        let socket = Arc::new(socket);
        let permit =
            Arc::new(self.shared.places.enter(&socket, Some(peer.ip())).unwrap_or_else(|_| panic!("no place")));
        let at = clock::now();
        let world = World::new(self, end, deeds);
        let played = world.clone();
        socket.play(move |patience| lock(&played.0).pass(patience));
        (Accepted { socket: Arc::clone(&socket), peer, at, permit }, world)
    }

    /// Waits for the connection's thread, if one was started, and looks whether everything was given back.
    pub(super) fn clear(&self, accepted: Accepted) {
        drop(accepted);
        let left = self.shared.crew.wait_until(Instant::now() + STUCK);
        assert_eq!(left, 0, "a connection's thread does not end");
        played::turns();
        let mut watched = Vec::new();
        self.shared.flusher.round(&mut watched);
        assert_eq!(self.shared.flusher.queued_bytes(), 0, "bytes wait for nobody");
        let counts = self.shared.handle.counts().unwrap();
        assert_eq!((counts.connections, counts.rooms), (0, 0), "it is still registered");
    }
}

/// What a peer does, and what the embedding program does to it.
pub(super) enum Deed {
    Wait(Duration),
    Send(Vec<u8>),
    /// Reads as much; a peer reads everything by itself unless it ever does this.
    Read(usize),
    /// Says that nothing follows.
    Finish,
    /// Is gone.
    Leave,
    Server(Box<dyn FnOnce() + Send>),
}

/// The rest of the world, as one connection sees it.
#[derive(Clone)]
pub(super) struct World(pub(super) Arc<Mutex<Outside>>);

pub(super) struct Outside {
    peer: Option<Peer>,
    deeds: VecDeque<Deed>,
    /// Whether it reads only what it is told to.
    pub(super) reluctant: bool,
    next: Instant,
    steps_left: usize,
    flusher: Arc<Flusher>,
    watched: Vec<Arc<Outbound>>,
    /// What the peer has read so far.
    pub(super) read: Vec<u8>,
    /// What the peer has sent so far, and when.
    pub(super) sent: Vec<(Instant, Vec<u8>)>,
    /// Whether the peer has left by itself, or has finished.
    pub(super) left: bool,
}

impl World {
    fn new(stage: &Stage, peer: Peer, deeds: VecDeque<Deed>) -> Self {
        Self(Arc::new(Mutex::new(Outside {
            peer: Some(peer),
            reluctant: deeds.iter().any(|deed| matches!(deed, Deed::Read(_))),
            next: clock::now(),
            steps_left: STEPS * (1 + deeds.len()),
            flusher: Arc::clone(&stage.shared.flusher),
            watched: Vec::new(),
            read: Vec::new(),
            sent: Vec::new(),
            left: false,
            deeds,
        })))
    }

    /// Reads what is left when all is over.
    pub(super) fn read_to_end(&self) {
        lock(&self.0).read_waiting();
    }
}

impl Outside {
    /// The time that passes in a recv, until something happens or `patience` is over.
    fn pass(&mut self, patience: Duration) {
        self.steps_left = self.steps_left.checked_sub(1).expect("it does not end");
        let flusher_due = self.settle();
        let deed_due = (!self.deeds.is_empty()).then_some(self.next);
        let due = [flusher_due, deed_due, played::turns()].into_iter().flatten();
        clock::move_to(due.fold(clock::now() + patience, Instant::min));
        if deed_due.is_some_and(|at| at <= clock::now()) {
            self.act();
        }
        self.settle();
    }

    /// Everybody but the connection does all that can be done at this time; says when the flusher has more to do.
    fn settle(&mut self) -> Option<Instant> {
        loop {
            played::turns();
            let (remaining, _) = self.flusher.round(&mut self.watched);
            if self.reluctant || !self.read_waiting() {
                return remaining.iter().filter_map(|todo| todo.deadline).min();
            }
        }
    }

    fn act(&mut self) {
        match self.deeds.pop_front() {
            Some(Deed::Wait(time)) => self.next = clock::now() + time,
            Some(Deed::Send(bytes)) => {
                if let Some(peer) = &mut self.peer
                    && !self.left
                    && !bytes.is_empty()
                {
                    peer.write_all(&bytes).expect("memory");
                    self.sent.push((clock::now(), bytes));
                }
            }
            Some(Deed::Read(bytes)) => {
                // More than it asked for is as good.
                if bytes > 0 {
                    self.read_waiting();
                }
            }
            Some(Deed::Finish) => {
                self.left = true;
                self.peer.iter().for_each(Peer::finish);
            }
            Some(Deed::Leave) => {
                self.left = true;
                self.read_waiting();
                self.peer = None;
            }
            Some(Deed::Server(deed)) => deed(),
            None => {}
        }
    }

    /// False when there was nothing to read.
    fn read_waiting(&mut self) -> bool {
        let bytes: Vec<u8> = self.peer.iter().flat_map(Peer::read_waiting).collect();
        self.read.extend_from_slice(&bytes);
        !bytes.is_empty()
    }
}
