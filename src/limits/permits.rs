//! The places of a server: who holds one may have a socket and a thread, and its drop gives the place back.

use super::Admission;
use crate::socket::Socket;
use crate::threads::lock;
use crate::threads::sync::{Condvar, Mutex};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;

/// All places of a server.
pub(crate) struct Places {
    max_connections: usize,
    max_handshakes: usize,
    /// Handshakes of one address: no more than its connections, and never all there may be.
    max_opening_per_address: usize,
    /// Places of one address. The router bounds those that are registered; this leaves as many again for those that it
    /// does not know yet or no longer: whoever is refused or closing keeps its place until its thread ends.
    max_held_per_address: usize,
    taken: Mutex<Taken>,
    /// A place was given back, or nobody is let in any more.
    freed: Condvar,
}

#[derive(Default)]
struct Taken {
    next: u64,
    connections: usize,
    handshakes: usize,
    /// Those whom the router does not know: nobody but their permits would wake their threads when the server stops.
    opening: HashMap<u64, Opening>,
    addresses: HashMap<IpAddr, OfAddress>,
    closed: bool,
}

struct Opening {
    socket: Arc<Socket>,
    counted: Option<IpAddr>,
    /// Whether it counts as a handshake.
    handshake: bool,
    /// The client behind a proxy, where it is limited and stays anonymous: the router, which counts the others, does not
    /// know it.
    behind_proxy: Option<IpAddr>,
}

/// What one address has.
#[derive(Default)]
struct OfAddress {
    held: usize,
    opening: usize,
}

/// How many places are taken, and how many there are.
#[cfg(feature = "admin")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupancy {
    pub(crate) connections: usize,
    pub(crate) max_connections: usize,
    pub(crate) handshakes: usize,
    pub(crate) max_handshakes: usize,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many connections as there may be.
    Connections,
    /// As many handshakes in progress as there may be.
    Handshakes,
    /// As many places, or handshakes in progress, as one address may have.
    Address,
    /// The server is stopping.
    Closed,
}

impl Places {
    pub(crate) fn new(admission: &Admission, max_per_address: Option<usize>) -> Self {
        Self {
            max_connections: admission.max_connections,
            max_handshakes: admission.max_handshakes,
            max_opening_per_address: max_per_address
                .map_or(usize::MAX, |most| most.min(admission.max_handshakes.div_ceil(2))),
            max_held_per_address: max_per_address.map_or(usize::MAX, |most| most.saturating_mul(2)),
            taken: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Takes a place as soon as there is one, if there is one in time. It counts against no address.
    #[cfg(feature = "admin")]
    pub(crate) fn enter_until(
        self: &Arc<Self>,
        socket: &Arc<Socket>,
        deadline: std::time::Instant,
    ) -> Result<Permit, Full> {
        let mut taken = lock(&self.taken);
        while !taken.closed && taken.connections >= self.max_connections {
            let Some(left) = deadline.checked_duration_since(std::time::Instant::now()) else { break };
            taken = self.freed.wait_timeout(taken, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        drop(taken);
        self.enter(socket, None)
    }

    /// Takes a place for a connection whose handshake begins. It counts against its address, if that is limited.
    pub(crate) fn enter(self: &Arc<Self>, socket: &Arc<Socket>, counted: Option<IpAddr>) -> Result<Permit, Full> {
        let mut taken = lock(&self.taken);
        if taken.closed {
            return Err(Full::Closed);
        }
        if taken.connections >= self.max_connections {
            return Err(Full::Connections);
        }
        if taken.handshakes >= self.max_handshakes {
            return Err(Full::Handshakes);
        }
        if let Some(address) = counted {
            let of_address = taken.addresses.entry(address).or_default();
            if of_address.opening >= self.max_opening_per_address || of_address.held >= self.max_held_per_address {
                return Err(Full::Address);
            }
            of_address.opening += 1;
            of_address.held += 1;
        }
        let id = taken.next;
        taken.next += 1;
        taken.connections += 1;
        taken.handshakes += 1;
        taken.opening.insert(id, Opening { socket: Arc::clone(socket), counted, handshake: true, behind_proxy: None });
        Ok(Permit { places: Arc::clone(self), id, counted })
    }

    /// How full it is.
    #[cfg(feature = "admin")]
    pub(crate) fn occupancy(&self) -> Occupancy {
        let Taken { connections, handshakes, .. } = *lock(&self.taken);
        let Self { max_connections, max_handshakes, .. } = *self;
        Occupancy { connections, max_connections, handshakes, max_handshakes }
    }

    /// Whether nobody is let in any more.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.taken).closed
    }

    /// Lets nobody in any more, and ends those whom the router does not know: their next recv is an end of stream.
    pub(crate) fn close(&self) {
        let mut taken = lock(&self.taken);
        taken.closed = true;
        self.freed.notify_all();
        for opening in taken.opening.values() {
            // A socket that is no longer connected needs no waking.
            let _ = opening.socket.shutdown(Shutdown::Read);
        }
    }
}

impl Taken {
    fn handshake_done(&mut self, id: u64) {
        let Some(opening) = self.opening.get_mut(&id).filter(|opening| opening.handshake) else { return };
        opening.handshake = false;
        self.handshakes -= 1;
        let address = opening.counted;
        if let Some(of_address) = address.and_then(|address| self.addresses.get_mut(&address)) {
            of_address.opening -= 1;
        }
    }

    fn opened(&mut self, id: u64) {
        self.handshake_done(id);
        if let Some(opening) = self.opening.remove(&id) {
            self.release(opening.behind_proxy);
        }
    }

    fn release(&mut self, held: Option<IpAddr>) {
        if let Some(address) = held
            && let Entry::Occupied(mut of_address) = self.addresses.entry(address)
        {
            of_address.get_mut().held -= 1;
            if of_address.get().held == 0 {
                of_address.remove();
            }
        }
    }
}

/// One place.
pub(crate) struct Permit {
    places: Arc<Places>,
    id: u64,
    counted: Option<IpAddr>,
}

impl Permit {
    /// There is no handshake to wait for, though the router knows nothing of the connection: its share of the places is
    /// free for the next. `client` is whom the limit of an address means, also behind a proxy; false when that has as
    /// many places as it may.
    pub(crate) fn stays_anonymous(&self, client: Option<IpAddr>) -> bool {
        let mut taken = lock(&self.places.taken);
        // Without a proxy it has counted since it was accepted.
        let behind_proxy = client.filter(|_| self.counted.is_none());
        if let Some(address) = behind_proxy {
            let of_address = taken.addresses.entry(address).or_default();
            if of_address.held >= self.places.max_held_per_address {
                return false;
            }
            of_address.held += 1;
        }
        if let Some(opening) = taken.opening.get_mut(&self.id) {
            opening.behind_proxy = behind_proxy;
        }
        taken.handshake_done(self.id);
        true
    }

    /// Its handshake goes on after all, and will take a second thread; false when as many as there may be do.
    pub(crate) fn resumes(&self) -> bool {
        let Taken { handshakes, opening, addresses, .. } = &mut *lock(&self.places.taken);
        let Some(opening) = opening.get_mut(&self.id).filter(|opening| !opening.handshake) else { return true };
        if *handshakes >= self.places.max_handshakes {
            return false;
        }
        opening.handshake = true;
        *handshakes += 1;
        if let Some(of_address) = opening.counted.and_then(|address| addresses.get_mut(&address)) {
            of_address.opening += 1;
        }
        true
    }

    /// The handshake is over, and the router knows of the connection.
    pub(crate) fn opened(&self) {
        lock(&self.places.taken).opened(self.id);
    }

    /// Whether its server lets nobody in any more.
    pub(crate) fn is_server_closed(&self) -> bool {
        self.places.is_closed()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        taken.opened(self.id);
        taken.connections -= 1;
        taken.release(self.counted);
        self.places.freed.notify_all();
    }
}

#[cfg(test)]
#[cfg(heartwire_model)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::pair;

    #[test]
    fn places_are_given_back_and_a_closed_server_wakes_its_handshakes() {
        let admission = Admission {
            max_connections: 3,
            max_handshakes: 2,
            max_threads: 9,
            limited_by: String::new(),
            remedy: None,
        };
        let places = Arc::new(Places::new(&admission, Some(1)));
        let (socket, client) = pair(1 << 10);
        let socket = Arc::new(socket);
        let first = places.enter(&socket, None).unwrap();
        let _second = places.enter(&socket, None).unwrap();
        assert_eq!(places.enter(&socket, None).err(), Some(Full::Handshakes));
        first.opened();
        let third = places.enter(&socket, None).unwrap();
        assert_eq!(places.enter(&socket, None).err(), Some(Full::Connections));
        drop((first, third));
        let somebody = Some(IpAddr::from([192, 0, 2, 1]));
        let half_open = places.enter(&socket, somebody).unwrap();
        assert_eq!(places.enter(&socket, somebody).err(), Some(Full::Handshakes), "no place for anybody");
        drop(half_open);
        let places_of_many = Admission { max_connections: 9, max_handshakes: 9, ..admission };
        let places_of_many = Arc::new(Places::new(&places_of_many, Some(1)));
        let half_open = places_of_many.enter(&socket, somebody).unwrap();
        assert_eq!(places_of_many.enter(&socket, somebody).err(), Some(Full::Address));
        assert!(places_of_many.enter(&socket, Some(IpAddr::from([192, 0, 2, 2]))).is_ok());
        half_open.opened();
        let second = places_of_many.enter(&socket, somebody).unwrap();
        second.opened();
        assert_eq!(places_of_many.enter(&socket, somebody).err(), Some(Full::Address), "twice its connections");
        drop(second);
        assert!(places_of_many.enter(&socket, somebody).is_ok());
        drop(half_open);
        assert!(lock(&places_of_many.taken).addresses.is_empty());
        let _fourth = places.enter(&socket, None).unwrap();
        places.close();
        assert_eq!(socket.recv(&mut [0]).unwrap(), 0);
        assert_eq!(places.enter(&socket, None).err(), Some(Full::Closed));
        drop(client);
    }

    #[test]
    fn whoever_stays_anonymous_leaves_the_handshakes_and_may_come_back_to_them() {
        let (places, socket) = (places_for_one_handshake(), socket());
        let client = Some(IpAddr::from([192, 0, 2, 1]));
        let first = places.enter(&socket, client).unwrap();
        assert!(first.resumes(), "it has not left them");
        assert_eq!(places.enter(&socket, client).err(), Some(Full::Handshakes));
        assert!(first.stays_anonymous(client));
        let second = places.enter(&socket, client).unwrap();
        assert!(!first.resumes() && second.stays_anonymous(client) && first.resumes());
        assert_eq!(places.enter(&socket, None).err(), Some(Full::Handshakes));
        first.opened();
        assert_eq!(places.enter(&socket, client).err(), Some(Full::Address), "both are still there");
        drop((first, second));
        assert!(nothing_is_left(&places));
    }

    #[test]
    fn anonymous_clients_behind_a_proxy_count_until_the_router_counts_them() {
        let (places, socket) = (places_for_one_handshake(), socket());
        let [client, other] = [1, 2].map(|last| Some(IpAddr::from([192, 0, 2, last])));
        let anonymous = |client| {
            let permit = places.enter(&socket, None).unwrap();
            permit.stays_anonymous(client).then_some(permit)
        };
        let (first, second) = (anonymous(client).unwrap(), anonymous(client).unwrap());
        assert!(anonymous(client).is_none(), "twice its connections");
        assert!(anonymous(other).is_some() && anonymous(None).is_some());
        first.opened();
        let third = anonymous(client).unwrap();
        drop((first, second, third));
        assert!(nothing_is_left(&places));
    }

    /// An address may have one connection, and one more that the router does not know.
    fn places_for_one_handshake() -> Arc<Places> {
        let admission = Admission {
            max_connections: 9,
            max_handshakes: 1,
            max_threads: 9,
            limited_by: String::new(),
            remedy: None,
        };
        Arc::new(Places::new(&admission, Some(1)))
    }

    fn socket() -> Arc<Socket> {
        Arc::new(pair(1 << 10).0)
    }

    fn nothing_is_left(places: &Places) -> bool {
        let taken = lock(&places.taken);
        taken.addresses.is_empty() && taken.opening.is_empty() && (taken.connections, taken.handshakes) == (0, 0)
    }
}
