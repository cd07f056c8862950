//! What can be asked: the table of all routes, and which of them a request means.

use super::{Call, answers, connections, metrics, people, push};
use crate::config::AdminRole;
use crate::http::{Head, Response};
use crate::protocol::message::ErrorCode;
use ::http::Method;

/// Whose key opens a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nobody is asked for one.
    Open,
    /// A key of the role `push` or `admin`.
    Push,
    /// A key of the role `monitor` or `admin`. Also answered while the server stops.
    Monitor,
    /// A key of the role `admin`.
    Admin,
}

impl Access {
    /// Whether a key of this role opens it.
    pub(super) fn is_open_to(self, role: AdminRole) -> bool {
        match self {
            Self::Open => true,
            Self::Push => matches!(role, AdminRole::Push | AdminRole::Admin),
            Self::Monitor => matches!(role, AdminRole::Monitor | AdminRole::Admin),
            Self::Admin => role == AdminRole::Admin,
        }
    }

    /// Whether it is answered while the server stops, too: what only looks.
    pub(super) fn outlasts_a_stop(self) -> bool {
        matches!(self, Self::Open | Self::Monitor)
    }
}

/// One method of one path.
pub(super) struct Route {
    pub(super) method: Method,
    /// The path; of its segments one may be a name in braces.
    pub(super) path: &'static str,
    pub(super) access: Access,
    /// The parameters that its query may have.
    pub(super) query: &'static [&'static str],
    pub(super) takes_body: bool,
    pub(super) act: Act,
}

type Act = fn(&Call<'_>) -> Result<Response, Response>;

/// What a page is asked for with.
const PAGED: &[&str] = &["after", "limit"];
/// What the past is asked for with.
const ENDED: &[&str] = &["account", "reason", "since", "after", "limit"];

/// All of them. `docs/openapi.json` says the same, as a test knows.
pub(super) static ROUTES: [Route; 16] = [
    get("/", Access::Open, &[], answers::dashboard),
    get("/healthz", Access::Open, &[], answers::health),
    get("/readyz", Access::Open, &[], answers::readiness),
    get("/metrics", Access::Monitor, &[], metrics::metrics),
    write(Method::POST, "/v1/push", Access::Push, push::push),
    write(Method::POST, "/v1/disconnect", Access::Admin, people::disconnect),
    get("/v1/accounts", Access::Push, PAGED, people::accounts),
    get("/v1/accounts/{account}", Access::Push, PAGED, people::account),
    get("/v1/connections", Access::Monitor, &["account", "search", "sort", "after", "limit"], connections::list),
    get("/v1/connections/{id}", Access::Monitor, &[], connections::one),
    get("/v1/closed", Access::Monitor, ENDED, connections::closed),
    get("/v1/refused", Access::Monitor, ENDED, connections::refusals),
    get("/v1/rooms", Access::Admin, PAGED, people::rooms),
    get("/v1/rooms/{room}/members", Access::Admin, PAGED, people::members),
    write(Method::POST, "/v1/rooms/{room}/members", Access::Admin, people::join),
    write(Method::DELETE, "/v1/rooms/{room}/members", Access::Admin, people::leave),
];

const fn get(path: &'static str, access: Access, query: &'static [&'static str], act: Act) -> Route {
    Route { method: Method::GET, path, access, query, takes_body: false, act }
}

const fn write(method: Method, path: &'static str, access: Access, act: Act) -> Route {
    Route { method, path, access, query: &[], takes_body: true, act }
}

/// The route of a request, and what it has in place of the braces.
///
/// # Errors
/// 404 where there is nothing, 405 where there is another method.
pub(super) fn find(head: &Head) -> Result<(&'static Route, String), Response> {
    let segments = head.segments().map_err(|error| error.response())?;
    let here: Vec<_> = ROUTES.iter().filter_map(|route| Some((route, route.matches(&segments)?))).collect();
    let methods: Vec<_> = here.iter().map(|(route, _)| route.method.as_str()).collect();
    match here.iter().find(|(route, _)| route.method == head.method()) {
        Some((route, name)) => Ok((*route, name.clone())),
        None if here.is_empty() => Err(not_found("there is nothing here")),
        None => {
            let (code, message) = (ErrorCode::BadRequest.code(), format!("this path knows {}", methods.join(", ")));
            Err(Response::error(405, code, "method_not_allowed", &message).header("Allow", &methods.join(", ")))
        }
    }
}

pub(super) fn not_found(message: &str) -> Response {
    Response::error(404, ErrorCode::BadRequest.code(), "not_found", message)
}

impl Route {
    /// What stands in place of the braces, if the path is this one's.
    fn matches(&self, segments: &[String]) -> Option<String> {
        let own: Vec<&str> = self.path.split('/').skip(1).collect();
        let mut name = String::new();
        if own.len() != segments.len() {
            return None;
        }
        for (own, given) in own.iter().zip(segments) {
            if own.starts_with('{') {
                name.clone_from(given);
            } else if own != given {
                return None;
            }
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests;
