//! Connections: those that are there and how they are, those that ended and why, and those that were not let in.

use super::json::{self, Page};
use super::people::{name, no_such_connection, room_names, valid};
use super::request::bad_request;
use super::{Call, answers::refused};
use crate::http::Response;
use crate::protocol::close::CloseReason;
use crate::protocol::message::{Account, HeartbeatTimes};
use crate::record::{
    ClosedConnection, ConnectionId, ConnectionInfo, EndFilter, Explanation, OpenConnection, ReasonFilter,
    RefusedAttempt, Statistics,
};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `GET /v1/connections`: those that are there.
pub(super) fn list(call: &Call<'_>) -> Result<Response, Response> {
    let page = Page::<ConnectionId>::of(call.head)?;
    let account = call.head.query("account").map(valid::<Account>).transpose()?;
    let search = call.head.query("search").map(str::to_lowercase);
    let mut found = call.shared.handle.wanted_connections(|info| {
        account.as_ref().is_none_or(|account| info.account == *account)
            && search.as_ref().is_none_or(|search| mentions(info, search))
    });
    let total = found.len();
    let sorted = call.head.query("sort").unwrap_or("oldest");
    match sorted {
        "oldest" => found.retain(|open| page.after.as_ref().is_none_or(|after| place(&open.info.id) > place(after))),
        _ if page.after.is_some() => return Err(bad_request("`after` needs the order of `sort=oldest`")),
        "busiest" => found.sort_by(|a, b| activity(b).total_cmp(&activity(a))),
        "slowest" => found.sort_by_key(|open| Reverse(slowness(open))),
        _ => return Err(bad_request("sort must be oldest, busiest or slowest")),
    }
    let (shown, next) = page.cut(&found, |open| open.info.id.as_str());
    Ok(json::answer(&json!({
        "connections": shown.iter().map(open).collect::<Vec<_>>(),
        "total": total,
        "next": next.filter(|_| sorted == "oldest"),
    })))
}

/// `GET /v1/connections/{id}`: one of them, with its rooms.
pub(super) fn one(call: &Call<'_>) -> Result<Response, Response> {
    let id: ConnectionId = name(call)?;
    // The router says whether it can still be reached.
    let detail = call.shared.handle.connection(id.clone()).map_err(refused)?.ok_or_else(no_such_connection)?;
    let found = call.shared.handle.wanted_connections(|info| info.id == id);
    let mut answer = open(found.first().ok_or_else(no_such_connection)?);
    answer["rooms"] = json!(room_names(&detail.rooms));
    Ok(json::answer(&answer))
}

/// `GET /v1/closed`: those that ended.
pub(super) fn closed(call: &Call<'_>) -> Result<Response, Response> {
    let (page, filter) = ended(call)?;
    let found = call.shared.handle.closed_connections(&filter);
    Ok(page.answer("closed", &found, |(number, _)| *number, closed_connection))
}

/// `GET /v1/refused`: attempts that were refused.
pub(super) fn refusals(call: &Call<'_>) -> Result<Response, Response> {
    let (page, filter) = ended(call)?;
    let found = call.shared.handle.refused_attempts(&filter);
    Ok(page.answer("refused", &found, |(number, _)| *number, refused_attempt))
}

/// What of the past is asked for.
fn ended(call: &Call<'_>) -> Result<(Page<u64>, EndFilter), Response> {
    let page = Page::<u64>::of(call.head)?;
    let reason = |text| ReasonFilter::new(text).ok_or_else(|| bad_request("reason must be a close code, or its name"));
    let since = |text: &str| {
        let since = text.parse().ok().and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
        since.ok_or_else(|| bad_request("since must be milliseconds since 1970"))
    };
    let query = |name| call.head.query(name);
    let filter = EndFilter {
        account: query("account").map(valid).transpose()?,
        reason: query("reason").map(reason).transpose()?,
        since: query("since").map(since).transpose()?,
        before: page.after,
        limit: page.fetched(),
    };
    Ok((page, filter))
}

/// Ids count up, so the one that a page ended with has its place also after its connection has left.
pub(super) fn place(id: &ConnectionId) -> (usize, &str) {
    (id.as_str().len(), id.as_str())
}

fn mentions(info: &ConnectionInfo, search: &str) -> bool {
    let texts = [info.account.as_str(), &info.device, info.id.as_str(), &info.address.to_string()];
    texts.iter().any(|text| text.to_lowercase().contains(search))
}

fn activity(open: &OpenConnection) -> f64 {
    open.messages_per_second + open.frames_per_second
}

fn slowness(open: &OpenConnection) -> (usize, usize, Option<Duration>) {
    (open.queued_bytes, open.statistics.queue_high_water_bytes, open.statistics.median_round_trip)
}

/// What every connection has, registered a moment ago or long gone.
pub(super) fn info(info: &ConnectionInfo) -> Value {
    json!({
        "id": info.id.as_str(),
        "account": info.account.as_str(),
        "device": info.device,
        "dialect": info.dialect.name(),
        "address": info.address.to_string(),
        "since": unix_ms(info.since),
    })
}

fn open(open: &OpenConnection) -> Value {
    let own = json!({
        "messages_per_second": open.messages_per_second,
        "frames_per_second": open.frames_per_second,
        "queued_bytes": open.queued_bytes,
        "closing": open.closing.as_ref().map(|reason| Value::from(why(reason))),
    });
    let numbers = numbers(&open.statistics, open.heartbeat, open.background);
    joined([info(&open.info), numbers, own])
}

fn closed_connection((number, closed): &(u64, ClosedConnection)) -> Value {
    let own = json!({
        "number": number,
        "closed": unix_ms(closed.closed),
        "duration_ms": ms(closed.statistics.duration),
    });
    let numbers = numbers(&closed.statistics, closed.heartbeat, closed.background);
    joined([info(&closed.info), numbers, own, why(&closed.reason).into(), in_words(closed.explain())])
}

fn refused_attempt((number, refused): &(u64, RefusedAttempt)) -> Value {
    let own = json!({
        "number": number,
        "at": unix_ms(refused.at),
        "account": refused.account.as_ref().map(Account::as_str),
        "address": refused.address.to_string(),
        "status": refused.status,
    });
    joined([own, why(&refused.reason).into(), in_words(refused.explain())])
}

fn why(reason: &CloseReason) -> Map<String, Value> {
    let fields =
        [("code", reason.code().into()), ("reason", reason.kind().name().into()), ("text", reason.wire_text().into())];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

fn in_words(Explanation { cause, remedy, .. }: Explanation) -> Value {
    json!({ "cause": cause, "remedy": remedy })
}

fn numbers(statistics: &Statistics, heartbeat: HeartbeatTimes, background: Option<bool>) -> Value {
    json!({
        "background": background,
        "heartbeat": { "interval_ms": ms(heartbeat.interval), "timeout_ms": ms(heartbeat.timeout) },
        "last_heard_ms": ms(statistics.last_heard),
        "messages_received": statistics.messages_received,
        "bytes_received": statistics.bytes_received,
        "frames_sent": statistics.frames_sent,
        "bytes_sent": statistics.bytes_sent,
        "frames_dropped": statistics.frames_dropped,
        "queue_high_water_bytes": statistics.queue_high_water_bytes,
        "pings_sent": statistics.pings_sent,
        "pings_answered": statistics.pings_answered,
        "round_trip_ms": {
            "last": statistics.last_round_trip.map(fine_ms),
            "p50": statistics.median_round_trip.map(fine_ms),
            "max": statistics.max_round_trip.map(fine_ms),
        },
    })
}

/// The fields of all of them in one object.
fn joined<const N: usize>(parts: [Value; N]) -> Value {
    let fields =
        parts.into_iter().filter_map(|part| if let Value::Object(fields) = part { Some(fields) } else { None });
    Value::Object(fields.flatten().collect())
}

fn unix_ms(time: SystemTime) -> u64 {
    ms(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// With microseconds behind the point.
fn fine_ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
