//! What the server relies on, be the channels crossbeam's or a model's.

use super::*;
use crate::threads::sync::thread::spawn;
use std::time::Duration;

/// Only a test that fails waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

fn check(test: impl Fn() + Send + Sync + 'static) {
    #[cfg(heartwire_model)]
    crate::threads::model::check(1_000, test);
    #[cfg(not(heartwire_model))]
    test();
}

#[test]
fn values_come_in_order_through_a_channel_that_has_room_for_few_until_nobody_sends() {
    check(|| {
        let (sender, receiver) = bounded(2);
        let sending = spawn(move || (0..5).for_each(|n| sender.send(n).unwrap()));
        let received: Vec<_> = std::iter::from_fn(|| receiver.recv_timeout(PATIENCE).ok()).collect();
        assert_eq!((received, receiver.recv()), ((0..5).collect(), Err(RecvError)));
        sending.join().unwrap();
    });
}

#[test]
fn whoever_waits_for_a_receiver_that_goes_is_told_and_what_waited_is_dropped() {
    check(|| {
        let (sender, receiver) = bounded(1);
        let (reply, answer) = bounded::<()>(1);
        sender.send(reply).unwrap();
        let waiting = spawn(move || {
            let (reply, answer) = bounded::<()>(1);
            assert!(matches!(sender.send_timeout(reply, PATIENCE), Err(SendTimeoutError::Disconnected(_))));
            drop(answer);
        });
        drop(receiver);
        assert_eq!(answer.recv(), Err(RecvError), "nobody will answer what was dropped");
        waiting.join().unwrap();
    });
}
