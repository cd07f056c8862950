//! The door of a back end and an operator: HTTP, one request a connection, one thread a request.
//!
//! What can be asked is in `docs/http-api.md`, and, for programs, in `docs/openapi.json`. The public part is [`KeyFile`].

mod answers;
mod connections;
mod idempotency;
mod json;
mod keys;
mod metrics;
mod people;
mod push;
mod request;
mod routes;

pub use keys::KeyFile;

use crate::auth::{RETRY_AFTER, Refusal};
use crate::clock;
use crate::config::Rate;
use crate::connection::{self, Accepted, RequestError, RequestReader, Shared};
use crate::http::{Head, Response};
use crate::limits::Failures;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::printable::Printable;
use crate::protocol::close::CloseKind;
use crate::protocol::format::Format;
use crate::protocol::wire::Bytes;
use crate::proxy::forwarded_client;
use idempotency::Idempotency;
use keys::Caller;
use routes::{Access, Route};
use std::sync::Arc;

/// How often one address may present a wrong key.
const WRONG_KEYS: Rate = Rate { per_second: 1, burst: 10 };

/// What the requests of one server have in common.
pub(crate) struct Admin {
    pushes: Idempotency,
    failures: Failures,
    /// What its own answers count to: those of the server are of clients.
    uncounted: Arc<Metrics>,
}

impl Admin {
    pub(crate) fn new() -> Self {
        Self { pushes: Idempotency::default(), failures: Failures::new(Some(WRONG_KEYS)), uncounted: Arc::default() }
    }
}

/// One request that may be acted upon: who asks for what.
struct Call<'a> {
    shared: &'a Shared,
    admin: &'a Admin,
    caller: Caller<'a>,
    head: &'a Head,
    /// What stands for the part of the route's path that is in braces; empty where there is none.
    name: String,
    /// The body; empty where the route takes none.
    body: String,
}

/// The thread of one request: it reads the request, answers it, and sees to it that the answer is read.
pub(crate) fn run(accepted: &Accepted, shared: &Arc<Shared>, admin: &Admin) {
    let (flusher, uncounted) = (Arc::clone(&shared.flusher), Arc::clone(&admin.uncounted));
    let outbound = Arc::new(Outbound::new(Arc::clone(&accepted.socket), Format::WebSocket, flusher, uncounted));
    let mut reader = RequestReader::new(accepted, accepted.at + shared.config.handshake_deadline);
    let answer = reader.head().map_err(RequestError::response).and_then(|head| {
        let answered = answer(&head, &mut reader, &outbound, accepted, shared, admin);
        if let Ok(answer) | Err(Some(answer)) = &answered {
            let (method, path) = (Printable(head.method().as_str()), Printable(head.path()));
            log::debug!("{method} {path} from {}: {}", accepted.peer, answer.status());
        }
        answered
    });
    let (mut receiver, _) = reader.into_parts();
    match answer {
        Ok(answer) | Err(Some(answer)) => {
            let answer = answer.to_bytes().into();
            connection::answer_and_leave(&mut receiver, &outbound, answer, CloseKind::Normal.into());
        }
        Err(None) => {
            connection::leave(&mut receiver, &outbound, CloseKind::PeerGone.into());
        }
    }
}

/// From the head to the answer.
///
/// # Errors
/// Why nothing was done, or nobody to tell it to. What the head says is looked at before the body is read.
fn answer(
    head: &Head,
    reader: &mut RequestReader<'_>,
    outbound: &Arc<Outbound>,
    accepted: &Accepted,
    shared: &Shared,
    admin: &Admin,
) -> Result<Response, Option<Response>> {
    connection::check_host(head, shared)?;
    request::check_origin(head)?;
    let (route, name) = routes::find(head)?;
    let caller = admit(route, head, accepted, shared, admin)?;
    if !route.access.outlasts_a_stop() && shared.is_draining() {
        return Err(Some(Refusal::draining(RETRY_AFTER).response()));
    }
    request::check_query(head, route.query)?;
    let body = match request::body_length(head, route.takes_body)? {
        0 => String::new(),
        length => {
            if request::expects_continue(head) {
                // One that no longer listens will send no body, either.
                let _ = outbound.push([Bytes::from_static(request::CONTINUE)]);
            }
            let deadline = clock::now() + shared.config.assembly_deadline;
            let body = reader.body(length, deadline).map_err(RequestError::response)?;
            request::text(body)?
        }
    };
    let call = Call { shared, admin, caller, head, name, body };
    let answer = (route.act)(&call)?;
    if route.access == Access::Admin && route.takes_body {
        let (method, path) = (Printable(head.method().as_str()), Printable(head.path()));
        log::info!("{method} {path} by {:?} from {}", call.caller.name, accepted.peer);
    }
    Ok(answer)
}

/// Who asks, if he may.
fn admit<'a>(
    route: &Route,
    head: &Head,
    accepted: &Accepted,
    shared: &'a Shared,
    admin: &Admin,
) -> Result<Caller<'a>, Response> {
    let config = &shared.config;
    if route.access == Access::Open {
        return Ok(Caller::anonymous());
    }
    let (now, address) = (clock::now(), forwarded_client(accepted.peer.ip(), head.headers(), &config.trusted_proxies));
    let caller = keys::identify(head, &config.admin.keys, &admin.failures, address, now).inspect_err(|refusal| {
        if shared.reminders.due(&format!("key of {address}"), now) {
            log::warn!("refused {address} with {}: it has no key to {}", refusal.status(), route.path);
        }
    })?;
    if !route.access.is_open_to(caller.role) {
        let role = keys::word(caller.role);
        return Err(Refusal::forbidden(format!("this key may not do that: its role is {role}")).response());
    }
    Ok(caller)
}
