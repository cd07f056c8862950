//! A handler that blocks, for tests of who has to wait with it and who has not.

use heartwire::{Connection, Handler, Message, Verdict};
use serde_json::{Value, json};
use std::sync::{Arc, Condvar, Mutex};

/// Holds whoever sends "wait" until it is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    open: bool,
    held: usize,
}

impl Gate {
    /// What a client sends to be held; it is addressed to this account.
    pub fn wait_frame(to: &str) -> Value {
        json!({ "type": "message", "to": [to], "content": "wait" })
    }

    pub fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    /// How many have been held so far.
    pub fn held(&self) -> usize {
        self.0.0.lock().unwrap().held
    }
}

impl Handler for Gate {
    fn message(&self, _: &Connection, message: &mut Message<'_>) -> Verdict {
        if message.content() == r#""wait""# {
            let (state, opened) = &*self.0;
            let mut state = state.lock().unwrap();
            state.held += 1;
            drop(opened.wait_while(state, |state| !state.open).unwrap());
        }
        Verdict::Deliver
    }
}
