//! Places, while the server stops and clients come, stay or go.

use super::*;
use crate::threads::model::check;
use crate::threads::sync::thread;

#[test]
fn a_server_that_stops_lets_nobody_in_and_ends_whoever_the_router_does_not_know() {
    check(3_000, || {
        let admission = Admission {
            max_connections: 3,
            max_handshakes: 2,
            max_threads: 64,
            limited_by: String::new(),
            remedy: None,
        };
        let places = Arc::new(Places::new(&admission, Some(2)));
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let clients = [0, 1, 2].map(|n| {
            let places = Arc::clone(&places);
            thread::spawn(move || {
                let (socket, _peer) = crate::socket::pair(1);
                let socket = Arc::new(socket);
                let permit = places.enter(&socket, address.filter(|_| n != 0))?;
                match n {
                    0 => _ = permit.stays_anonymous(address) && permit.resumes(),
                    1 => permit.opened(),
                    _ => {}
                }
                // The router tells whom it knows. The others hear nothing but the end of their stream, and no peer says a word.
                if n != 1 {
                    assert_eq!(socket.recv(&mut [0]).unwrap(), 0);
                    assert!(permit.is_server_closed());
                }
                Ok::<_, Full>(())
            })
        });
        places.close();
        for client in clients {
            let entered = client.join().unwrap();
            assert!(matches!(entered, Ok(()) | Err(Full::Closed | Full::Handshakes | Full::Address)), "{entered:?}");
        }
        let (socket, _peer) = crate::socket::pair(1);
        assert_eq!(places.enter(&Arc::new(socket), None).err(), Some(Full::Closed));
        let taken = lock(&places.taken);
        assert_eq!((taken.connections, taken.handshakes, taken.opening.len(), taken.addresses.len()), (0, 0, 0, 0));
    });
}
