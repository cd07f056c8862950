//! What a running server says of its connections and of itself.

use super::super::Failure;
use super::super::admin_client::Server;
use super::super::log::OneLine;
use super::super::times::Moment;
use super::super::values::{Words, word_for};
use super::table::Table;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The table.
    List(Listing),
    /// The connection of this id.
    One(String),
}

/// Which connections, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) sort: Sort,
    pub(super) limit: u16,
    /// What is in their account, device, address or id; empty for all.
    pub(super) search: String,
}

/// Which connections come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Busiest,
    Slowest,
    Oldest,
}

/// The words for an order.
pub(super) const SORTS: Words<Sort> =
    &[("busiest", Sort::Busiest), ("slowest", Sort::Slowest), ("oldest", Sort::Oldest)];

/// What was answered.
#[derive(Debug)]
pub(super) enum Reply {
    List(Box<Answer>),
    One(Vec<Field>),
}

/// A name and what stands behind it.
pub(super) type Field = (String, String);

/// The connections that were asked for, and how the server is at that moment.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) connections: Vec<Connection>,
    pub(super) table: Table,
    /// How many match, those included that are more than was asked for.
    pub(super) matching: u64,
    pub(super) metrics: Metrics,
    pub(super) at: Instant,
}

/// What is shown of a connection in the table.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) device: String,
    pub(super) dialect: String,
    pub(super) address: String,
    /// In ms since 1970, by the server's clock.
    pub(super) since: u64,
    /// Whether its page is hidden, once it has said so.
    pub(super) background: Option<bool>,
    pub(super) last_heard_ms: u64,
    pub(super) messages_received: u64,
    pub(super) frames_sent: u64,
    pub(super) frames_dropped: u64,
    pub(super) messages_per_second: f64,
    pub(super) frames_per_second: f64,
    pub(super) queued_bytes: u64,
    pub(super) queue_high_water_bytes: u64,
    pub(super) pings_sent: u64,
    pub(super) pings_answered: u64,
    pub(super) round_trip_ms: RoundTrip,
    pub(super) closing: Option<Closing>,
}

/// Of the times that pings took, in ms; none before the first was answered.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RoundTrip {
    pub(super) p50: Option<f64>,
}

/// Why a connection is about to end.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Closing {
    pub(super) reason: String,
}

/// How the server is; a limit of 0 is one that it does not have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Metrics {
    pub(super) connections: u64,
    pub(super) connections_limit: u64,
    pub(super) inbox_batches: u64,
    pub(super) inbox_limit_batches: u64,
    pub(super) queued_bytes: u64,
    pub(super) queued_limit_bytes: u64,
    pub(super) counts: Counts,
}

/// What has happened since the server's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) dropped: u64,
    pub(super) ended: u64,
}

impl Counts {
    /// What has happened since an earlier look; `None` where the server has started anew in between.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        Some(Self {
            received: self.received.checked_sub(earlier.received)?,
            sent: self.sent.checked_sub(earlier.sent)?,
            dropped: self.dropped.checked_sub(earlier.dropped)?,
            ended: self.ended.checked_sub(earlier.ended)?,
        })
    }
}

/// Asks the server, and waits for its answer.
pub(super) fn ask(server: &Server, question: &Question) -> Result<Reply, Failure> {
    match question {
        Question::List(listing) => list(server, listing).map(|answer| Reply::List(Box::new(answer))),
        Question::One(id) => {
            let connection: Value = parse(&server.get(&format!("/v1/connections/{id}"), &[])?)?;
            Ok(Reply::One(fields(&connection)))
        }
    }
}

/// The same for the table alone.
pub(super) fn list(server: &Server, listing: &Listing) -> Result<Answer, Failure> {
    let limit = listing.limit.to_string();
    let mut query = vec![("sort", word_for(SORTS, &listing.sort)), ("limit", &limit)];
    query.extend((!listing.search.is_empty()).then_some(("search", listing.search.as_str())));
    let connections = server.get("/v1/connections", &query)?;
    let metrics = server.get("/metrics", &[])?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Answer::read(&connections, &metrics, Instant::now(), u64::try_from(now_ms.as_millis()).unwrap_or(u64::MAX))
}

impl Answer {
    /// What these two bodies say; `now_ms` are ms since 1970, by which the ages are told.
    pub(super) fn read(connections: &str, metrics: &str, at: Instant, now_ms: u64) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Page {
            connections: Vec<Connection>,
            total: u64,
        }
        let Page { connections, total } = parse(connections)?;
        let table = Table::of(&connections, now_ms);
        let metrics = Metrics::read(metrics).ok_or_else(no_answer)?;
        Ok(Self { connections, table, matching: total, metrics, at })
    }
}

fn parse<T: DeserializeOwned>(body: &str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|_| no_answer())
}

fn no_answer() -> Failure {
    Failure::Run("this is no answer of a heartwire server".into())
}

impl Metrics {
    /// What a page of metrics says; `None` for any other page.
    fn read(page: &str) -> Option<Self> {
        let value = |family| sum(page, family).unwrap_or(0);
        Some(Self {
            connections: sum(page, "heartwire_connections")?,
            connections_limit: value("heartwire_connections_limit"),
            inbox_batches: value("heartwire_router_inbox_batches"),
            inbox_limit_batches: value("heartwire_router_inbox_limit_batches"),
            queued_bytes: value("heartwire_outbound_queued_bytes"),
            queued_limit_bytes: value("heartwire_outbound_queued_limit_bytes"),
            counts: Counts {
                received: value("heartwire_messages_received_total"),
                sent: value("heartwire_frames_sent_total"),
                dropped: value("heartwire_dropped_total"),
                ended: value("heartwire_connections_closed_total"),
            },
        })
    }
}

/// The sum of the samples of this name, whatever their labels, as a whole number.
fn sum(page: &str, name: &str) -> Option<u64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            // None of the values that stand in labels here has a brace in it.
            Some(labelled) => labelled.split_once("} ")?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split(' ').next()?.parse::<f64>().ok()
    });
    // What is no whole number, or too large for one, saturates; nothing here is either.
    values.reduce(|sum, value| sum + value).map(|sum| sum as u64)
}

/// All that is said of a connection, objects and lists taken apart.
pub(super) fn fields(connection: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    collect("", connection, &mut fields);
    fields
}

fn collect(name: &str, value: &Value, fields: &mut Vec<Field>) {
    let inner = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| collect(&inner(key), value, fields)),
        Value::Array(list) if !list.is_empty() => list.iter().for_each(|value| collect(name, value, fields)),
        value => {
            let mut text = match value {
                Value::Null | Value::Array(_) => "-".into(),
                Value::String(text) => OneLine(text).to_string(),
                other => other.to_string(),
            };
            if let ("since", Some(ms)) = (name, value.as_u64()) {
                text = format!("{text} ({})", Moment(ms));
            }
            fields.push((OneLine(name).to_string(), text));
        }
    }
}

#[cfg(test)]
mod tests;
