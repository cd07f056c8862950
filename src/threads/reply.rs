//! One answer from one thread to another.
//!
//! A channel for one value would do, but crossbeam's takes 900 bytes of the heap, which the C library then keeps for the
//! thread that frees them: a fifth of what an idle connection has there.

use super::lock;
use super::sync::{Condvar, Mutex};
use std::sync::{Arc, PoisonError};

/// Makes both ends.
pub(crate) fn reply<T>() -> (Reply<T>, Awaited<T>) {
    let slot = Arc::new(Slot { answer: Mutex::new(Answer::Owed), given: Condvar::new() });
    (Reply(Arc::clone(&slot)), Awaited(slot))
}

/// The end of the one who owes an answer. Its drop says that there will be none.
pub(crate) struct Reply<T>(Arc<Slot<T>>);

/// The end of the one who waits for it.
pub(crate) struct Awaited<T>(Arc<Slot<T>>);

struct Slot<T> {
    answer: Mutex<Answer<T>>,
    given: Condvar,
}

enum Answer<T> {
    Owed,
    Given(T),
    /// Taken, or never to come.
    Gone,
}

impl<T> Reply<T> {
    /// Answers, whether or not anybody waits any longer. Never blocks.
    pub(crate) fn send(self, answer: T) {
        *lock(&self.0.answer) = Answer::Given(answer);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut answer = lock(&self.0.answer);
        if matches!(*answer, Answer::Owed) {
            *answer = Answer::Gone;
        }
        drop(answer);
        self.0.given.notify_one();
    }
}

impl<T> Awaited<T> {
    /// Blocks until there is an answer; `None` when there will be none.
    pub(crate) fn wait(self) -> Option<T> {
        let mut answer = lock(&self.0.answer);
        loop {
            match std::mem::replace(&mut *answer, Answer::Gone) {
                Answer::Given(given) => return Some(given),
                Answer::Gone => return None,
                Answer::Owed => *answer = Answer::Owed,
            }
            answer = self.0.given.wait(answer).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
#[cfg(not(heartwire_model))]
mod tests {
    use super::*;
    use std::thread::spawn;

    #[test]
    fn an_answer_is_waited_for() {
        let (reply, awaited) = reply();
        let waiting = spawn(move || awaited.wait());
        reply.send("yes");
        assert_eq!(waiting.join().unwrap(), Some("yes"));
    }

    #[test]
    fn an_answer_waits_to_be_taken_and_nobody_has_to_take_it() {
        let (given, awaited) = reply();
        given.send(1);
        assert_eq!(awaited.wait(), Some(1));
        let (given, awaited) = reply();
        drop(awaited);
        given.send(2);
    }

    #[test]
    fn who_will_get_no_answer_does_not_wait_for_it() {
        let (reply, awaited) = reply::<()>();
        let waiting = spawn(move || awaited.wait());
        drop(reply);
        assert_eq!(waiting.join().unwrap(), None);
    }
}
