//! The places of a server: who holds one may have a socket and a thread, and its drop gives the place back.

use super::Admission;
use crate::threads::lock;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

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
    socket: Arc<TcpStream>,
    counted: Option<IpAddr>,
    /// Whether it counts as a handshake.
    handshake: bool,
}

/// What one address has.
#[derive(Default)]
struct OfAddress {
    held: usize,
    opening: usize,
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
        }
    }

    /// Takes a place for a connection whose handshake begins. It counts against its address, if that is limited.
    pub(crate) fn enter(self: &Arc<Self>, socket: &Arc<TcpStream>, counted: Option<IpAddr>) -> Result<Permit, Full> {
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
        taken.opening.insert(id, Opening { socket: Arc::clone(socket), counted, handshake: true });
        Ok(Permit { places: Arc::clone(self), id, counted })
    }

    /// Lets nobody in any more, and ends those whom the router does not know: their next recv is an end of stream.
    pub(crate) fn close(&self) {
        let mut taken = lock(&self.taken);
        taken.closed = true;
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
        self.opening.remove(&id);
    }

    fn left(&mut self, counted: Option<IpAddr>) {
        self.connections -= 1;
        if let Some(address) = counted
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
    /// free for the next.
    pub(crate) fn stays_anonymous(&self) {
        lock(&self.places.taken).handshake_done(self.id);
    }

    /// The handshake is over, and the router knows of the connection.
    pub(crate) fn opened(&self) {
        lock(&self.places.taken).opened(self.id);
    }

    /// Whether its server lets nobody in any more.
    pub(crate) fn is_server_closed(&self) -> bool {
        lock(&self.places.taken).closed
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        taken.opened(self.id);
        taken.left(self.counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn places_are_given_back_and_a_closed_server_wakes_its_handshakes() {
        let admission = Admission { max_connections: 3, max_handshakes: 2, limited_by: String::new(), remedy: None };
        let places = Arc::new(Places::new(&admission, Some(1)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Arc::new(listener.accept().unwrap().0);
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
        assert_eq!((&*socket).read(&mut [0]).unwrap(), 0);
        assert_eq!(places.enter(&socket, None).err(), Some(Full::Closed));
        drop(client);
    }
}
