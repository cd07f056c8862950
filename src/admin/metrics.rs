//! `GET /metrics`: what the server counts, its limits, and what the embedding program and the system count, for a monitor.
//!
//! Nothing here is counted on the way of a message: a request reads what the other threads have counted, once.

mod exposition;
mod process;

use super::Call;
use crate::clock;
use crate::connection::Shared;
use crate::http::Response;
use crate::limits::Occupancy;
use crate::metrics::{OwnMetric, OwnValue};
use crate::printable::Printable;
use crate::router::command::Population;
use exposition::{Family, Values, exposition};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long is waited for room in the router's inbox, and again for its answer: how many accounts and rooms there are.
/// Without it all else is still told.
const PATIENCE: Duration = Duration::from_secs(1);

/// `GET /metrics`.
pub(super) fn metrics(call: &Call<'_>) -> Result<Response, Response> {
    let mut families = of_server(call.shared);
    families.extend(process::families());
    add_own(&mut families, call.shared);
    Ok(Response::new(200, CONTENT_TYPE, exposition(families)))
}

fn of_server(shared: &Shared) -> Vec<Family> {
    let population = shared.router.population(PATIENCE).ok();
    [gauges(shared, population), counters(shared), histograms(shared)].concat()
}

fn gauges(shared: &Shared, population: Option<Population>) -> Vec<Family> {
    let Occupancy { connections, max_connections, handshakes, max_handshakes } = shared.places.occupancy();
    let (batches, max_batches) = shared.router.data_waiting();
    let known = |name, help, count: fn(&Population) -> usize| Some(Family::gauge(name, help, count(&population?)));
    let always = [
        Family::info("heartwire_build", "Always 1; which version this is", "version", env!("CARGO_PKG_VERSION")),
        Family::gauge(
            "heartwire_connections",
            "Connections that are there, those being opened or closing included",
            connections,
        ),
        Family::gauge("heartwire_connections_limit", "How many connections there may be", max_connections),
        Family::gauge("heartwire_handshakes", "Connections that are being opened", handshakes),
        Family::gauge("heartwire_handshakes_limit", "How many connections may be in their handshake", max_handshakes),
        Family::gauge(
            "heartwire_outbound_queued_bytes",
            "Bytes that wait for all connections together",
            shared.flusher.queued_bytes(),
        ),
        Family::gauge(
            "heartwire_outbound_queued_limit_bytes",
            "Bytes that may wait for all connections together; beyond, those with the most are closed",
            shared.config.queue_total_bytes,
        ),
        Family::gauge(
            "heartwire_outbound_queue_limit_bytes",
            "Bytes that may wait for one connection; beyond, it is closed",
            shared.config.queue_bytes,
        ),
        Family::gauge("heartwire_router_inbox_batches", "Batches of messages that wait for the router", batches),
        Family::gauge(
            "heartwire_router_inbox_limit_batches",
            "Batches that may wait for the router; beyond, their senders wait, 5 s at most",
            max_batches,
        ),
    ];
    let counted = [
        known("heartwire_accounts", "Accounts with a connection; absent while the router does not answer", |counted| {
            counted.accounts
        }),
        known("heartwire_rooms", "Rooms that a connection is in; absent while the router does not answer", |counted| {
            counted.rooms
        }),
    ];
    always.into_iter().chain(counted.into_iter().flatten()).collect()
}

fn counters(shared: &Shared) -> Vec<Family> {
    let metrics = &shared.metrics;
    let refused = metrics.refused.by_reason().into_iter();
    let closed = metrics.closed.by_reason_and_code().into_iter();
    let dropped = [
        ("outbound_frames", &metrics.frames_dropped),
        ("commands", &metrics.commands_dropped),
        ("untold_frames", &metrics.frames_untold),
        ("presence_changes", &metrics.presence_untold),
    ];
    let counter = |name, help, value: u64| Family::new(name, help, Values::Counter(value.into()));
    let labelled =
        |name, help, values: Vec<(exposition::Labels, u64)>| Family::new(name, help, Values::Counters(values));
    vec![
        counter("heartwire_connections_accepted", "Connections accepted", metrics.accepted.get()),
        labelled(
            "heartwire_connections_refused",
            "Connections refused, at accept or in the handshake, by reason",
            refused.map(|(reason, count)| (vec![("reason", reason.into())], count)).collect(),
        ),
        counter("heartwire_connections_opened", "Connections registered", metrics.opened.get()),
        labelled(
            "heartwire_connections_closed",
            "Registered connections that ended, by reason and close code; a code that anybody may invent is `other`",
            closed
                .map(|((reason, code), count)| (vec![("reason", reason.into()), ("code", code.into())], count))
                .collect(),
        ),
        counter(
            "heartwire_messages_received",
            "Messages received from registered connections, heartbeats included",
            metrics.messages_received.get(),
        ),
        counter(
            "heartwire_received_bytes",
            "Bytes received from registered connections, framing included",
            metrics.bytes_received.get(),
        ),
        counter(
            "heartwire_frames_sent",
            "Frames handed to the kernel, pings, closes and answers to refused clients included",
            metrics.frames_sent.get(),
        ),
        counter("heartwire_sent_bytes", "Bytes handed to the kernel", metrics.bytes_sent.get()),
        counter(
            "heartwire_router_helped",
            "Batches and pushes applied in the router's place by threads that helped",
            metrics.helped.get(),
        ),
        counter("heartwire_pings_sent", "Pings sent by the server", metrics.pings_sent.get()),
        counter("heartwire_pings_answered", "Pings that were answered", metrics.round_trip.snapshot().count),
        labelled(
            "heartwire_dropped",
            "What was dropped, by kind: frames that waited for a connection that closed; commands that the router did \
             not take; frames that a dialect has no word for; changes of presence that the program was not told",
            dropped.map(|(kind, counter)| (vec![("kind", kind.into())], counter.get())).into(),
        ),
        counter(
            "heartwire_strangers_closed",
            "Raw TCP connections that ended without an account",
            metrics.strangers_closed.get(),
        ),
    ]
}

fn histograms(shared: &Shared) -> Vec<Family> {
    let metrics = &shared.metrics;
    [
        ("heartwire_round_trip_seconds", "Seconds from a ping to its answer", &metrics.round_trip),
        (
            "heartwire_router_latency_seconds",
            "Seconds from the hand-over of messages or a push to the router until their frames were handed out",
            &metrics.router_latency,
        ),
        (
            "heartwire_router_turn_batches",
            "Batches that waited when a turn of the router began that found any",
            &metrics.router_turn,
        ),
        (
            "heartwire_handshake_seconds",
            "Seconds from accept to registration; on raw TCP with the time before `hello`",
            &metrics.handshake,
        ),
        (
            "heartwire_outbound_queue_bytes",
            "Bytes that waited for a connection after a push that did not all go out",
            &metrics.outbound_queue,
        ),
    ]
    .map(|(name, help, histogram)| Family::new(name, help, Values::Histogram(histogram.snapshot())))
    .into()
}

/// Asks the program for what it counts itself, and adds what can stand beside all else.
fn add_own(families: &mut Vec<Family>, shared: &Shared) {
    let Ok(metrics) = catch_unwind(AssertUnwindSafe(|| shared.handler.metrics())) else {
        if shared.reminders.due("metrics", clock::now()) {
            log::error!("the handler panicked in `metrics`");
        }
        return;
    };
    let mut names: BTreeSet<String> = families.iter().map(|family| family.name().to_owned()).collect();
    for metric in metrics {
        let name = metric.checked_name().and_then(|name| match names.insert(name.to_owned()) {
            true => Ok(name.to_owned()),
            false => Err("there is one of this name already"),
        });
        match name {
            Ok(name) => families.push(own(name, &metric)),
            Err(why) if shared.reminders.due(&format!("metric {}", metric.name), clock::now()) => {
                log::warn!("the program's metric {} is left out: {why}", Printable(&metric.name));
            }
            Err(_) => {}
        }
    }
}

fn own(name: String, metric: &OwnMetric) -> Family {
    let value = match metric.value {
        OwnValue::Counter(value) => Values::Counter(value.into()),
        OwnValue::Gauge(value) => Values::Gauge(value.into()),
    };
    Family::new(name, metric.help.to_string(), value)
}
