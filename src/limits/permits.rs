//! The places of a server: who holds one may have a socket and a thread, and its drop gives the place back.

use super::Admission;
use crate::threads::lock;
use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

/// All places of a server.
pub(crate) struct Places {
    max_connections: usize,
    max_handshakes: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    connections: usize,
    /// Handshakes in progress: nobody but they would wake their threads when the server stops.
    opening: HashMap<u64, Arc<TcpStream>>,
    closed: bool,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many connections as there may be.
    Connections,
    /// As many handshakes in progress as there may be.
    Handshakes,
    /// The server is stopping.
    Closed,
}

impl Places {
    pub(crate) fn new(admission: &Admission) -> Self {
        Self {
            max_connections: admission.max_connections,
            max_handshakes: admission.max_handshakes,
            taken: Mutex::default(),
        }
    }

    /// Takes a place for a connection whose handshake begins.
    pub(crate) fn enter(self: &Arc<Self>, socket: &Arc<TcpStream>) -> Result<Permit, Full> {
        let mut taken = lock(&self.taken);
        if taken.closed {
            return Err(Full::Closed);
        }
        if taken.connections >= self.max_connections {
            return Err(Full::Connections);
        }
        if taken.opening.len() >= self.max_handshakes {
            return Err(Full::Handshakes);
        }
        let id = taken.next;
        taken.next += 1;
        taken.connections += 1;
        taken.opening.insert(id, Arc::clone(socket));
        Ok(Permit { places: Arc::clone(self), id })
    }

    /// Lets nobody in any more, and ends the handshakes in progress: their next recv is an end of stream.
    pub(crate) fn close(&self) {
        let mut taken = lock(&self.taken);
        taken.closed = true;
        for socket in taken.opening.values() {
            // A socket that is no longer connected needs no waking.
            let _ = socket.shutdown(Shutdown::Read);
        }
    }
}

/// One place.
pub(crate) struct Permit {
    places: Arc<Places>,
    id: u64,
}

impl Permit {
    /// The handshake is over: its share of the places is free for the next.
    pub(crate) fn opened(&self) {
        lock(&self.places.taken).opening.remove(&self.id);
    }

    /// Whether its server lets nobody in any more.
    pub(crate) fn is_server_closed(&self) -> bool {
        lock(&self.places.taken).closed
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        taken.opening.remove(&self.id);
        taken.connections -= 1;
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
        let places = Arc::new(Places::new(&admission));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Arc::new(listener.accept().unwrap().0);
        let first = places.enter(&socket).unwrap();
        let _second = places.enter(&socket).unwrap();
        assert_eq!(places.enter(&socket).err(), Some(Full::Handshakes));
        first.opened();
        let third = places.enter(&socket).unwrap();
        assert_eq!(places.enter(&socket).err(), Some(Full::Connections));
        drop((first, third));
        let _fourth = places.enter(&socket).unwrap();
        places.close();
        assert_eq!((&*socket).read(&mut [0]).unwrap(), 0);
        assert_eq!(places.enter(&socket).err(), Some(Full::Closed));
        drop(client);
    }
}
