//! Connections that fell silent, or broke off: what their last signs of life say about the reason.

use super::{Explanation, count, spoken};
use crate::protocol::message::HeartbeatTimes;
use crate::record::{ClosedConnection, Dialect};
use std::time::Duration;

/// How soon after its beginning an end says that nobody wanted to talk.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A heartbeat timeout of the server's own making; `None` where the embedding program said so.
pub(super) fn timeout(closed: &ClosedConnection) -> Option<Explanation> {
    let text = closed.reason.wire_text();
    let (heard, rest) = text.split_once("heard ")?.1.split_once(" for ")?;
    let (silence, pings) = rest.split_once(" s; ")?;
    let unanswered: u64 = pings.split_once(' ')?.0.parse().ok()?;
    let pings = format!("{} went unanswered", count(unanswered, "ping"));
    let deadline = spoken(closed.heartbeat.timeout);
    let chatted = heard == "no heartbeat" && closed.statistics.last_heard < closed.heartbeat.timeout;
    let (cause, remedy) = if chatted {
        (
            format!(
                "It went on sending, but no heartbeat came for {silence} s, and --liveness heartbeat counts nothing else; \
                 its deadline was {deadline}, and {pings}."
            ),
            format!(
                "Have the client send a heartbeat {} and answer pings, or let every byte count: --liveness any.",
                often(closed)
            ),
        )
    } else {
        let (hint, remedy) = silent(closed, unanswered);
        (
            format!(
                "It was silent for {silence} s, and its deadline was {deadline}{}; {pings}. {hint}",
                promised(closed)
            ),
            remedy,
        )
    };
    Some(Explanation { cause, remedy })
}

/// What the record says of a silence, and what to do.
fn silent(closed: &ClosedConnection, unanswered: u64) -> (String, String) {
    let (did, HeartbeatTimes { interval, timeout }) = (&closed.statistics, closed.heartbeat);
    let round_trips = did
        .median_round_trip
        .map_or_else(String::new, |median| format!(" Its median round trip was {}.", spoken(median)));
    let beat = often(closed);
    if unanswered == 0 {
        return (
            "No ping had been sent: its own thread here was held up, by a handler of the program or because the machine \
             stood still."
                .into(),
            "Look at what the handler does on the connection's thread, and at the machine's load at that moment.".into(),
        );
    }
    if closed.background == Some(true) {
        return (
            format!(
                "Its page was in the background, where browsers slow timers down to one a minute and in the end freeze the \
                 page or let the device sleep.{round_trips}"
            ),
            format!(
                "Nothing, if it comes back with the page, as heartwire.js does. To bear longer naps, {}.",
                longer(closed)
            ),
        );
    }
    match did.max_round_trip {
        Some(longest) if longest >= (timeout - interval) / 2 => (
            format!("Its network is slow: a ping had taken {}.{round_trips}", spoken(longest)),
            format!("Give it more time: {}.", longer(closed)),
        ),
        Some(_) => (
            format!(
                "It had answered {} before, so it was the way to it, or the device, that went away: a phone that slept, a \
                 network that changed, a NAT or proxy that forgot the connection.{round_trips}",
                count(did.pings_answered, "ping")
            ),
            format!(
                "Nothing, if it is now and then: clients come back at once. If a NAT or proxy forgets connections, {} to \
                 keep it awake; if devices only sleep, {}.",
                shorter(closed),
                longer(closed)
            ),
        ),
        None if closed.info.dialect == Dialect::Tcp => (
            "It has never answered a ping: on raw TCP that is a line, and whoever is there must send a line in return."
                .into(),
            format!("Have the client answer each ping line, or send a heartbeat {beat}."),
        ),
        None => (
            format!(
                "It sent {} and never answered a ping: its program does not read its socket (libraries answer pings while \
                 it reads), or its network went away early.",
                count(did.messages_received, "message")
            ),
            format!("Have the client read all the time and send a heartbeat {beat}; or {}.", longer(closed)),
        ),
    }
}

/// A connection that ended without a Close.
pub(super) fn gone(closed: &ClosedConnection) -> Explanation {
    let did = &closed.statistics;
    let (interval, silence) = (closed.heartbeat.interval, spoken(did.last_heard));
    let page = if closed.background == Some(true) { " Its page was in the background." } else { "" };
    let (cause, remedy) = if closed.info.dialect == Dialect::Tcp && did.last_heard < interval {
        (
            "It ended its TCP connection, which is all that a client without WebSocket can do when it is done; or its \
             process or network ended."
                .into(),
            "Nothing.".into(),
        )
    } else if did.last_heard >= interval {
        // One an interval; of its whole life, those also count as unanswered whose answers came late.
        let since_heard = u64::try_from(did.last_heard.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u64::MAX);
        let unanswered = did.pings_sent.saturating_sub(did.pings_answered).min(since_heard);
        (
            format!(
                "It broke off without a Close after {silence} of silence, in which {} went unanswered: its network or device \
                 went away, or a proxy ended what seemed idle.{page}",
                count(unanswered, "ping")
            ),
            format!(
                "Nothing, if it is now and then: clients come back by themselves. If it is always after the same silence, a \
                 proxy has a limit (nginx: proxy_read_timeout, 60 s): raise that, or stay below it: {}.",
                shorter(closed)
            ),
        )
    } else if did.duration < AT_ONCE && did.messages_received == 0 {
        (
            format!(
                "It broke off {} after it had opened, without a Close and without a word: a health check, a page that was \
                 loaded anew, or a proxy that passes on the request but no frames of WebSocket.",
                spoken(did.duration)
            ),
            "Send health checks to /readyz at --admin-listen. If no client ever stays, look at the proxy: nginx needs \
             proxy_http_version 1.1 and the headers Upgrade and Connection."
                .into(),
        )
    } else {
        (
            format!(
                "It broke off without a Close {silence} after it was last heard: its program was killed or ends without \
                 closing, or its device changed the network.{page}"
            ),
            "Nothing: clients come back by themselves. A program of yours should close with the code 1000 when it is done."
                .into(),
        )
    };
    Explanation { cause, remedy }
}

/// Whether the deadline is what the client's promise comes to: only then are interval and timeout as 11 to 15.
fn is_promised(closed: &ClosedConnection) -> bool {
    closed.heartbeat.interval == closed.heartbeat.timeout * 11 / 15
}

fn promised(closed: &ClosedConnection) -> &'static str {
    if is_promised(closed) { " by its own promise to be heard" } else { "" }
}

/// How often it should be heard, as the end of a sentence. Every client promises something else, so that a remedy with
/// what it promised would be one of its own.
fn often(closed: &ClosedConnection) -> String {
    if is_promised(closed) {
        "as often as it promises".into()
    } else {
        format!("every {}", spoken(closed.heartbeat.interval))
    }
}

/// How to give it more time, likewise.
fn longer(closed: &ClosedConnection) -> String {
    if is_promised(closed) {
        "have the client promise a longer time (heartbeat_ms in its query, next_ms in a heartbeat; the deadline is 1.5 \
         times as long, within --negotiable-timeout)"
            .into()
    } else {
        let timeout = spoken(closed.heartbeat.timeout);
        format!("raise --heartbeat-timeout ({timeout} now), or have the client promise a longer time (heartbeat_ms)")
    }
}

/// How to have less silence on the way to it, likewise. Who promises when it is heard is not asked before.
fn shorter(closed: &ClosedConnection) -> String {
    if is_promised(closed) {
        "have the client promise a shorter time (heartbeat_ms in its query, next_ms in a heartbeat)".into()
    } else {
        format!("lower --heartbeat-interval ({} now)", spoken(closed.heartbeat.interval))
    }
}
