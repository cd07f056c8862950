//! What holds for a socket, be it the kernel's or the one in memory.

use super::*;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

/// Only a test that fails waits this long.
const PATIENCE: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(30);

fn send(socket: &Socket, bytes: &[u8]) -> std::io::Result<usize> {
    socket.send(&[IoSlice::new(&bytes[..bytes.len() / 2]), IoSlice::new(&bytes[bytes.len() / 2..])])
}

/// Sends until the kernel takes nothing more; what it took.
fn fill(socket: &Socket) -> Vec<u8> {
    let mut taken = Vec::new();
    let bytes: Vec<u8> = (0..=250).cycle().take(100_000).collect();
    loop {
        match send(socket, &bytes[taken.len() % 251..]) {
            Ok(n) => taken.extend_from_slice(&bytes[taken.len() % 251..][..n]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return taken;
            }
        }
    }
}

#[test]
fn a_full_kernel_takes_nothing_until_the_peer_has_read_and_all_bytes_come_in_order() {
    let (socket, mut peer) = pair(10_000);
    let mut taken = fill(&socket);
    assert!(!taken.is_empty());
    let before = Instant::now();
    socket.wait_for_room(before + MOMENT);
    assert!(send(&socket, b"no room").is_err() && before.elapsed() >= MOMENT);
    let (socket, sleeper) = (&socket, &Sleeper::new().unwrap());
    thread::scope(|scope| {
        let later = scope.spawn(move || {
            sleeper.sleep([socket].into_iter(), None, Instant::now());
            let more = fill(socket);
            socket.wait_for_room(Instant::now() + PATIENCE);
            socket.shutdown(Shutdown::Write).unwrap();
            more
        });
        let mut read = Vec::new();
        peer.read_to_end(&mut read).unwrap();
        taken.extend(later.join().unwrap());
        assert_eq!(read, taken);
    });
}

#[test]
fn a_reader_waits_for_bytes_but_not_longer_than_its_patience() {
    let (socket, mut peer) = pair(10);
    let mut buffer = [0; 4];
    assert_eq!(socket.recv_waiting(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    socket.set_patience(MOMENT).unwrap();
    let nothing = socket.recv(&mut buffer).unwrap_err().kind();
    assert!(matches!(nothing, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{nothing:?}");
    socket.set_patience(PATIENCE).unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| socket.recv(&mut buffer).map(|n| buffer[..n].to_vec()));
        peer.write_all(b"123456").unwrap();
        assert_eq!(reader.join().unwrap().unwrap().first(), Some(&b'1'));
    });
    socket.wait_for_bytes_or_room(Instant::now() + PATIENCE);
}

#[test]
fn a_shutdown_wakes_the_reader_behind_what_waits_and_the_peer_sees_the_end() {
    let (socket, mut peer) = pair(10_000);
    peer.write_all(b"waits").unwrap();
    assert_eq!(send(&socket, b"last").unwrap(), 4);
    let mut buffer = [0; 100];
    socket.set_patience(PATIENCE).unwrap();
    assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
    thread::scope(|scope| {
        let reader = scope.spawn(|| socket.recv(&mut buffer));
        socket.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 0);
    });
    assert!(matches!(send(&socket, b"more").unwrap_err().kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
    let mut read = String::new();
    peer.read_to_string(&mut read).unwrap();
    assert_eq!(read, "last");
}

#[test]
fn the_end_of_a_peer_comes_behind_what_it_has_sent_and_ends_all_sending() {
    let (socket, mut peer) = pair(10_000);
    peer.write_all(b"last").unwrap();
    drop(peer);
    let mut buffer = [0; 100];
    socket.set_patience(PATIENCE).unwrap();
    assert_eq!(socket.recv(&mut buffer).unwrap(), 4);
    assert_eq!(socket.recv(&mut buffer).unwrap(), 0);
    let deadline = Instant::now() + PATIENCE;
    while send(&socket, b"nobody").is_ok() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
}

#[test]
fn a_notification_ends_the_sleep_of_now_or_the_next_one() {
    let sleeper = &Sleeper::new().unwrap();
    let sleep = |deadline| sleeper.sleep(std::iter::empty(), deadline, Instant::now());
    sleeper.notify();
    sleep(None);
    sleeper.clear();
    let before = Instant::now();
    sleep(Some(before + MOMENT));
    assert!(before.elapsed() >= MOMENT, "it was forgotten");
    thread::scope(|scope| {
        scope.spawn(move || sleep(None));
        sleeper.notify();
    });
}
