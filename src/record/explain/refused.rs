//! What kept somebody from coming in.

use super::{BOUND_THE_LOAD, Explanation, Meaning, meaning};
use crate::protocol::close::{CloseKind, CloseReason};

/// The words that tell apart what the server and its authenticators say, each kind's own last.
pub(super) const MEANINGS: &[Meaning] = &[
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "a token is needed",
        "It brought no token.",
        "Have the client present one: Authorization: Bearer, ?token= or the subprotocol bearer.TOKEN. heartwire token --for \
         ACCOUNT makes one.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "has expired",
        "Its token had expired before it came.",
        "Have the client fetch a new token before each attempt (heartwire.js: the option token as a function), or issue \
         tokens that last longer (heartwire token --expires-in). If they are fresh, compare the clocks of both machines.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "the token is not known",
        "Its token is none of those in the token file.",
        "Make one by heartwire token --for ACCOUNT, and have the server read --token-file again (SIGHUP).",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "the signature of the token is wrong",
        "Its token was signed with another key than the server's, or was changed.",
        "Sign with the key of --jwt-key-file. If that file has changed, have the server read it again (SIGHUP).",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "must be signed with",
        "Its token was signed with another algorithm than the server accepts.",
        "Sign with that of --jwt-algorithm, which the text names.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "not valid yet",
        "Its token is valid only from a later time on.",
        "Compare the clocks of this machine and of the one that signs.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "another audience",
        "Its token was made for another service.",
        "Make the token's aud and --jwt-audience the same.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "another issuer",
        "Its token was made by somebody else.",
        "Make the token's iss and --jwt-issuer the same.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "another account's",
        "Its token belongs to another account than the one it asked to be.",
        "Have the client ask for the account of its token, or leave user_id out: the token names it.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "not authenticated",
        "The back end that is asked (--auth-url) does not know it: it answered 401.",
        "Look into the back end's log. It is asked with the request's headers and query, cookies included.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "not permitted",
        "The back end that is asked (--auth-url) did not permit it: it answered 403.",
        "Look into the back end's log. It is asked with the request's headers and query, cookies included.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "",
        "It could not prove who it is, or is not let in; the text says why.",
        "Look at the client's token, and at what --auth asks for.",
    ),
    Meaning::of(
        CloseKind::Internal,
        "",
        "The server failed: the handler of the program that embeds it panicked while it authenticated.",
        "Read the server's log of that moment: the line with \"panicked at\" names the place.",
    ),
    Meaning::of(
        CloseKind::RateLimit,
        "attempts of this address have failed",
        "So many attempts from its address had failed that for a while none is looked at, not even a right one.",
        "Find the client that tries wrong tokens: the refusals before this one name it. Where many clients share the \
         address, raise --auth-failures and --auth-failures-burst; behind a proxy, tell them apart by --trusted-proxy.",
    ),
    Meaning::of(
        CloseKind::RateLimit,
        "too many lines",
        "It came by raw TCP and sent more lines than --rate permits for 5 s on end, without ever saying hello.",
        "Have the client send its hello line first, and wait when it gets error 111. Otherwise raise --rate and --burst.",
    ),
    Meaning::of(
        CloseKind::ConnectionLimit,
        "this address has as many",
        "Its address has as many connections as one may have.",
        "Raise --max-per-address. Where a proxy hides the clients' addresses, name it by --trusted-proxy.",
    ),
    Meaning::of(
        CloseKind::ConnectionLimit,
        "this address has",
        "Its address has {} connections already, the most that one may have.",
        "Raise --max-per-address ({} now). Where a proxy hides the clients' addresses, name it by --trusted-proxy.",
    ),
    Meaning::of(
        CloseKind::ConnectionLimit,
        "this account has",
        "Its account has {} connections already, the most that one may have.",
        "If that is more than one person opens, the client opens new connections and leaves the old ones: mend it. \
         Otherwise raise --max-per-account ({} now).",
    ),
    Meaning::of(
        CloseKind::ConnectionLimit,
        "connected already",
        "It is connected already, and --single refuse permits one: a second tab or device, or the same client back before \
         its old connection is known to be dead.",
        "Let the newer one win by --single replace, or permit one for each device by --single-by device. A dead one goes \
         after --heartbeat-timeout.",
    ),
    Meaning::of(
        CloseKind::OverCapacity,
        "as many connections as there may be",
        "The server was full.",
        "Raise --max-connections. The machine may bear less: the first lines of the log name the limit that won.",
    ),
    Meaning::of(
        CloseKind::OverCapacity,
        "handshakes in progress as there may be",
        "As many clients as there may be were connecting at that moment: all came at once, or many stay half open.",
        "Nothing, if it was once: clients come back with back-off. Otherwise raise --max-connections, a quarter of which may \
         be connecting, or lower --handshake-deadline, so that those half open give way.",
    ),
    Meaning::of(
        CloseKind::OverCapacity,
        "one address may have",
        "Its address had as many connections, or attempts in progress, as one may have.",
        "Raise --max-per-address. Where a proxy hides the clients' addresses, name it by --trusted-proxy.",
    ),
    Meaning::of(
        CloseKind::OverCapacity,
        "no thread",
        "The machine granted no thread for it.",
        "Raise the limit that is in the way (TasksMax of systemd, the container's limit of PIDs, vm.max_map_count, ulimit \
         -u), or lower --max-connections below it.",
    ),
    Meaning::of(CloseKind::OverCapacity, "the server is stopping", STOPPING, COMES_BACK),
    Meaning::of(
        CloseKind::OverCapacity,
        "the server is overloaded",
        "The server did not keep up: its router did not answer within the handshake's deadline.",
        BOUND_THE_LOAD,
    ),
    Meaning::of(
        CloseKind::OverCapacity,
        "authentication took too long",
        "Whoever says who is let in took longer than the handshake may.",
        "Make it faster, or raise --handshake-deadline; with --auth http, keep --auth-timeout below that.",
    ),
    Meaning::of(
        CloseKind::OverCapacity,
        "cannot be found out",
        "The back end that is asked who comes (--auth-url) did not answer, or not as it should.",
        "Look whether it runs; the server's log says what came of the question. Where it is slow, raise --auth-timeout or \
         --auth-concurrency.",
    ),
    Meaning::of(CloseKind::GoingAway, "", STOPPING, COMES_BACK),
    Meaning::of(
        CloseKind::TooSlow,
        "no PROXY header",
        "A trusted proxy connected, but sent no PROXY header in time.",
        "Turn the header on in the proxy, or set --proxy-protocol off.",
    ),
    Meaning::of(
        CloseKind::TooSlow,
        "no hello",
        "It connected by raw TCP, but did not say hello in time.",
        "Have the client send its hello line first. For slow networks raise --handshake-deadline.",
    ),
    Meaning::of(
        CloseKind::TooSlow,
        "nothing came within",
        "It connected by raw TCP and said nothing for {}.",
        "Nothing, if it was a port scanner or a health check. Otherwise raise --tcp-first-byte or --handshake-deadline.",
    ),
    Meaning::of(
        CloseKind::TooSlow,
        "",
        "It connected, but its request was not complete in time: a port scanner, a health check, a connection that a browser \
         opened in advance, or a very slow network.",
        "Nothing, if it was one of these. For slow networks raise --handshake-deadline.",
    ),
    Meaning::of(
        CloseKind::BadRequest,
        "is missing",
        "Its request does not say which account it is.",
        "Have the client add user_id (or userId, in the dialect ginchat) to its query, or bring a token that names it \
         (--auth).",
    ),
    Meaning::of(
        CloseKind::BadRequest,
        "there is nothing here",
        "It asked for a path at which there is nothing.",
        "Point the client at the path in the text; --ginchat-path moves that of ginchat, --page on serves the page at /.",
    ),
    Meaning::of(
        CloseKind::BadRequest,
        "upgrade with",
        "It did not ask for a WebSocket: a health check, a person's browser, or a proxy that drops the headers of an \
         upgrade.",
        "Send health checks to /readyz at --admin-listen. If no client comes in, look at the proxy: nginx needs \
         proxy_http_version 1.1 and the headers Upgrade and Connection.",
    ),
    Meaning::of(
        CloseKind::BadRequest,
        "needs HTTP/1.1",
        "It asked by HTTP/1.0, most likely through a proxy that does so unless told otherwise.",
        "Have the proxy speak HTTP/1.1: nginx needs proxy_http_version 1.1 and the headers Upgrade and Connection.",
    ),
    Meaning::of(
        CloseKind::BadRequest,
        "a request head has at most",
        "The head of its request is too large, most often because of cookies.",
        "Serve the WebSocket at a name that has fewer cookies; the bounds are fixed.",
    ),
    Meaning::of(
        CloseKind::BadRequest,
        "PROXY header",
        "What a trusted proxy sent first was no PROXY header of version 2.",
        "Turn that on in the proxy, or set --proxy-protocol off.",
    ),
    Meaning::of(
        CloseKind::BadRequest,
        "not HTTP or TLS",
        "It spoke HTTP or TLS to the port for raw TCP: a browser, a health check, or a wrong address.",
        "Point it at the port of --listen; TLS is for a proxy in front.",
    ),
    Meaning::of(
        CloseKind::BadRequest,
        "",
        "Its request made no sense to the server; the text says where.",
        "Correct the client by docs/protocol.md, section 1. One that asks by https or wss needs a proxy in front of --listen: \
         there is no TLS here.",
    ),
    Meaning::of(
        CloseKind::Policy,
        "Origin",
        "A web page wanted to connect whose Origin is not allowed.",
        "If the page is yours, allow it: --origin https://its.name. The server's log says which Origin it was.",
    ),
    Meaning::of(
        CloseKind::Policy,
        "Host",
        "It asked for a host name by which the server does not know itself.",
        "If the name is yours, add it: --host its.name. The server's log says which name it was.",
    ),
];

const STOPPING: &str = "The server was about to stop.";
const COMES_BACK: &str = "Nothing: clients come back by themselves as soon as a server is there.";

/// For whatever the server does not say by itself.
const EMBEDDER: (&str, &str) = (
    "The program that embeds the server refused it, in the words of the text.",
    "Look into that program: neither the server nor its settings did this.",
);

/// What is known by the kind of refusal and its words.
pub(super) fn explain(reason: &CloseReason) -> Explanation {
    let (cause, remedy) = EMBEDDER;
    meaning(MEANINGS, reason).unwrap_or_else(|| Explanation { cause: cause.into(), remedy: remedy.into() })
}
