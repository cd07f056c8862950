//! The part of a server that a back end and an operator talk to. It starts after the rest, and outlasts the connections:
//! who asks while the server stops is told so.

use super::{CORE_STACK_BYTES, GRACE};
use crate::admin::Admin;
use crate::config::Config;
use crate::connection::Current;
use crate::error::Error;
use crate::limits::{Admission, Budget, Places, admin_requests};
use crate::listener::{Door, Listener};
use crate::threads::{Crew, Fate};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Its listeners and the threads of its requests.
pub(super) struct AdminSide {
    listeners: Vec<Arc<Listener>>,
    places: Arc<Places>,
    crew: Arc<Crew>,
}

/// How many threads it takes at most.
pub(super) fn threads(config: &Config, budget: &Budget) -> usize {
    let listeners = config.admin.listen.len();
    if listeners == 0 { 0 } else { listeners + admin_requests(budget) }
}

impl AdminSide {
    pub(super) fn bind(config: &Config, budget: &Budget) -> Result<Self, Error> {
        let requests = admin_requests(budget);
        let admission = Admission {
            max_connections: requests,
            max_handshakes: requests,
            max_threads: config.admin.listen.len() + 4 * requests,
            limited_by: "requests at once".into(),
            remedy: None,
        };
        let (places, crew) =
            (Arc::new(Places::new(&admission, None)), Arc::new(Crew::of_at_most(admission.max_threads)));
        let door = Door::Admin(Arc::new(Admin::new()), Arc::clone(&crew));
        let bind = |address: &SocketAddr| {
            let listener =
                Listener::bind(*address, door.clone(), config.heartbeat.times().timeout, Arc::clone(&places));
            listener.map(Arc::new).map_err(|error| Error::Listen(*address, error))
        };
        let listeners = config.admin.listen.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { listeners, places, crew })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.address()).collect()
    }

    pub(super) fn start(&self, current: &Arc<Current>, fate: &Arc<Fate>) -> Result<(), Error> {
        for listener in &self.listeners {
            let (listener, current, fate) = (Arc::clone(listener), Arc::clone(current), Arc::clone(fate));
            let listen = move || fate.guard("the admin listener", || listener.run(&current));
            self.crew.spawn("hw-listener", CORE_STACK_BYTES, listen).map_err(Error::Start)?;
        }
        Ok(())
    }

    /// Ends it; says how many threads did not end in time.
    pub(super) fn stop(&self) -> usize {
        self.places.close();
        self.listeners.iter().for_each(|listener| listener.stop());
        self.crew.wait_until(Instant::now() + GRACE)
    }
}
