//! What ended connections that were there.

use super::{BOUND_THE_LOAD, Explanation, Meaning, count, meaning, spoken};
use crate::protocol::close::{CloseKind, Reconnect};
use crate::record::ClosedConnection;

/// The words that tell apart what the server itself says, each kind's own last.
pub(super) const MEANINGS: &[Meaning] = &[
    Meaning::of(
        CloseKind::Normal,
        "",
        "The program that embeds the server, or an operator with the code 1000, was done with it.",
        "Nothing: so a connection is meant to end.",
    ),
    Meaning::of(
        CloseKind::GoingAway,
        ": ",
        "An operator, or the program that embeds the server, sent it away with the code 1001.",
        "Nothing: clients come back by themselves.",
    ),
    Meaning::of(
        CloseKind::GoingAway,
        "",
        "The server was stopped or restarted.",
        "Nothing: clients come back by themselves as soon as a server is there.",
    ),
    Meaning::of(
        CloseKind::ProtocolError,
        "Reserved bits",
        "It sent a frame with reserved bits: most likely it compresses, which this server never agrees to.",
        "Turn compression (permessage-deflate) off in the client.",
    ),
    Meaning::of(
        CloseKind::ProtocolError,
        "",
        "It broke the framing rules of WebSocket, as the text says: its library has a fault, or something on the way \
         changed its bytes.",
        "Mend or replace the client's WebSocket library. Where all clients behind one proxy do this, look at the proxy.",
    ),
    Meaning::of(
        CloseKind::InvalidUtf8,
        "",
        "It sent a text message that is not UTF-8.",
        "Have the client write its messages in UTF-8.",
    ),
    Meaning::of(
        CloseKind::Policy,
        "fragments",
        "It cut one message into more than {} frames.",
        "Have the client send a message in fewer frames, or raise --max-fragments ({} now).",
    ),
    Meaning::of(
        CloseKind::TooBig,
        "a line is too long",
        "It sent a line longer than a message may be.",
        "Have the client send less at once, or raise --max-message-bytes.",
    ),
    Meaning::of(
        CloseKind::TooBig,
        "too long: ",
        "It sent, or announced, a message of more than {} bytes.",
        "Have the client send less at once, or raise --max-message-bytes ({} now).",
    ),
    Meaning::of(
        CloseKind::Internal,
        "",
        "The server failed: a handler of the program that embeds it panicked, or the router ended.",
        "Read the server's log of that moment: the line with \"panicked at\" names the place. It is a fault to mend, not a \
         setting.",
    ),
    Meaning::of(
        CloseKind::OverCapacity,
        "router was busy",
        "The server did not keep up: for 5 s there was no room in the router's inbox for what it sent.",
        BOUND_THE_LOAD,
    ),
    Meaning::of(
        CloseKind::SlowConsumer,
        "a message waited for",
        "A message for it was not sent to its end within {}: it stopped reading, or its network is very slow or gone.",
        "Look at the client: a page or program that hangs does not read. For slow networks raise --write-deadline ({} now).",
    ),
    Meaning::of(
        CloseKind::SlowConsumer,
        "the most while all",
        "The queues of all connections together were full, and its own was the largest.",
        "Raise --queue-total-bytes where the machine has the memory; or lower --queue-bytes, so that slow clients are cut \
         before all of them together fill it.",
    ),
    Meaning::of(
        CloseKind::SlowConsumer,
        "messages waited",
        "It did not read as fast as was sent to it, and more waited for it than may.",
        "Have the client read all the time and work elsewhere, or send it less. Where it is bursts that it cannot take, \
         raise --queue-bytes or --queue-messages.",
    ),
    Meaning::of(
        CloseKind::RateLimit,
        "control frames",
        "It sent more pings, pongs and Close frames than --control-rate permits: its library or program pings far too \
         often.",
        "Have the client ping less often; otherwise raise --control-rate and --control-burst.",
    ),
    Meaning::of(
        CloseKind::RateLimit,
        "too many messages",
        "It sent more messages than --rate permits for 5 s on end, in spite of the errors (111) that told it.",
        "Have the client wait when it gets error 111, or put more into each message. Otherwise raise --rate and --burst.",
    ),
    Meaning::of(
        CloseKind::TooSlow,
        "a message took longer",
        "It began a message that was not complete after {}: its network is slow or broke off, or it sends in small parts.",
        "Have the client send smaller messages, or raise --assembly-deadline ({} now).",
    ),
    Meaning::of(
        CloseKind::LifetimeReached,
        "",
        "It was as old as a connection may become, which --max-lifetime says.",
        "Nothing, if that is wanted: clients come back at once. Otherwise raise --max-lifetime; 0 is for ever.",
    ),
    Meaning::of(
        CloseKind::AuthenticationFailed,
        "the token has expired",
        "Its token expired while it was connected, and it had not presented a new one.",
        "Have the client renew it in time by a token frame, as heartwire.js does where its option token is a function; or \
         issue tokens that last longer (heartwire token --expires-in).",
    ),
    Meaning::of(
        CloseKind::Disconnected,
        "",
        "An operator, or the program that embeds the server, ended it.",
        "Nothing to set. The server's log names the key that asked for it (POST /v1/disconnect). The client stays away \
         until somebody has it connect again.",
    ),
    Meaning::of(
        CloseKind::Replaced,
        "",
        "The same account opened a newer connection, and --single replace permits one: a second tab or device, or the same \
         client back before its old connection was known to be dead.",
        "Nothing, if one is all there should be. Otherwise --single allow, or --single-by device and a label for each \
         device.",
    ),
];

/// What is known by the kind of end and its words.
pub(super) fn explain(closed: &ClosedConnection) -> Explanation {
    let (cause, remedy) = match closed.reason.kind() {
        CloseKind::PeerClosed(code) => peer_closed(code),
        CloseKind::Application(code) => application(code),
        _ => match meaning(MEANINGS, &closed.reason) {
            Some(known) => return Explanation { cause: with_figures(known.cause, closed), ..known },
            None => EMBEDDER,
        },
    };
    Explanation { cause: cause.into(), remedy: remedy.into() }
}

/// The cause, and what it was like in numbers where those say more.
fn with_figures(cause: String, closed: &ClosedConnection) -> String {
    let did = &closed.statistics;
    let lasted = spoken(did.duration);
    match closed.reason.kind() {
        CloseKind::SlowConsumer => format!(
            "{cause} At most {} waited for it; it had taken {} in {lasted}.",
            count(did.queue_high_water_bytes as u64, "byte"),
            count(did.bytes_sent, "byte"),
        ),
        CloseKind::RateLimit => format!("{cause} It sent {} in {lasted}.", count(did.messages_received, "message")),
        _ => cause,
    }
}

/// For whatever the server does not say by itself.
const EMBEDDER: (&str, &str) = (
    "The program that embeds the server ended it, in the words of the text.",
    "Look into that program: neither the server nor its settings did this.",
);

/// What a client means by the code of its Close (RFC 6455 §7.4.1).
fn peer_closed(code: u16) -> (&'static str, &'static str) {
    match code {
        1000 => ("The client ended it by itself, as it should when it is done.", "Nothing."),
        1001 => ("The client went away: its tab was closed or went to another page, or its program ended.", "Nothing."),
        1005 => (
            "The client ended it by itself and named no code: a script called close() without one, or a proxy did.",
            "Nothing, if the client meant to. Where nobody did, look at the proxies on the way.",
        ),
        1002 | 1003 | 1007 | 1008 | 1010 => (
            "The client ended it because it did not accept what the server, or a proxy on the way, had sent.",
            "Look into the client's log, and at the proxies on the way: they may change what passes.",
        ),
        1009 => (
            "The client ended it because a message from the server was larger than the client takes.",
            "Push smaller messages, or raise the client's own limit (max_message_bytes in heartwire's Rust client).",
        ),
        1011 => ("The client ended it because of a failure of its own.", "Look into the client's log of that moment."),
        1012..=1014 => (
            "A proxy on the way ended it, because it was restarted or overloaded.",
            "Look at the proxy's log of that moment; clients come back with back-off.",
        ),
        4201 => (
            "The client ended it because it had heard nothing from the server in time, not even answers to its heartbeats.",
            "If these are many at once, look whether the server or its machine stood still then. One alone had a bad \
             network: clients come back by themselves, and heartwire's own take a longer beat_timeout.",
        ),
        _ => (
            "The client ended it with a code of its own.",
            "Nothing here: what the code means is the client's, see its program.",
        ),
    }
}

/// The range of a program's own code says what its client does next.
fn application(code: u16) -> (&'static str, &'static str) {
    let next = match CloseKind::Application(code).reconnect() {
        Reconnect::Never => "Clients do not come back after it by themselves.",
        Reconnect::AtOnce => "Clients come back at once after it.",
        Reconnect::BackOff => "Clients come back after a while.",
    };
    ("The program that embeds the server, or an operator, ended it with a code of their own.", next)
}
