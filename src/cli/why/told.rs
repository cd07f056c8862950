//! What is known, as text. Pure: the time is an argument.

use crate::cli::log::OneLine;
use crate::cli::times::{Moment, largest_units};
use heartwire::Account;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::{Duration, SystemTime};

/// How many accounts and addresses a summary names.
const MOST_NAMED: usize = 5;

/// What a server knows.
pub(super) struct Known {
    /// Those that are there; of a summary, none.
    pub(super) connections: Vec<Open>,
    /// The newest first.
    pub(super) closed: Vec<End>,
    /// Likewise.
    pub(super) refused: Vec<End>,
}

/// A connection that is there. What a peer may have written is shown by [`OneLine`] only.
#[derive(Deserialize)]
pub(super) struct Open {
    device: String,
    address: String,
    since: u64,
    last_heard_ms: u64,
    queued_bytes: u64,
    round_trip_ms: RoundTrip,
    closing: Option<Closing>,
}

#[derive(Deserialize)]
struct RoundTrip {
    p50: Option<f64>,
    max: Option<f64>,
}

#[derive(Deserialize)]
struct Closing {
    text: String,
}

/// An end or a refusal, as the server explains it.
#[derive(Deserialize)]
pub(super) struct End {
    /// When, in ms since 1970.
    #[serde(alias = "at")]
    closed: u64,
    account: Option<String>,
    #[serde(default)]
    device: String,
    address: String,
    duration_ms: Option<u64>,
    code: u16,
    reason: String,
    text: String,
    cause: String,
    remedy: String,
}

/// Ends that have the same reason and ask for the same.
struct Group<'a> {
    newest: &'a End,
    oldest: &'a End,
    ends: Vec<&'a End>,
}

/// Everything about one account: whether it is there, then why it was not.
pub(super) fn of_account(account: &Account, known: &Known, now: SystemTime) -> String {
    let name = OneLine(account.as_str());
    let Known { connections, closed, refused } = known;
    if connections.is_empty() && closed.is_empty() && refused.is_empty() {
        return format!(
            "Nothing is known of {name}: it is not connected, and no end and no refusal of it is remembered.\n\
             Perhaps it has never come to this server, or never came as far as to say who it is (heartwire why without an \
             account\nshows those, too); or the server was started after that, or has forgotten it: it remembers the last \
             10,000 ends (serve\n--closed-connections) and 1,000 refusals. --since and --reason leave out more.\n"
        );
    }
    let mut text = match connections.iter().filter(|open| open.closing.is_none()).count() {
        0 if connections.is_empty() => format!("{name} is not connected.\n"),
        0 => format!("{name} is not connected any more, but still taking leave:\n"),
        1 => format!("{name} is connected:\n"),
        n => format!("{name} is connected, {n} times:\n"),
    };
    text.extend(connections.iter().map(|open| format!("  {}\n", Here(open, now))));
    if closed.is_empty() {
        text += "\nNo end of its connections is remembered.\n";
    } else {
        text += &format!(
            "\n{}, the newest first:\n",
            times(closed.len(), "end of its connections", "ends of its connections")
        );
        text.extend(groups(closed).iter().map(|group| told(group, now)));
    }
    if !refused.is_empty() {
        let attempts = times(refused.len(), "refused attempt", "refused attempts");
        text += &format!("\n{attempts} by somebody who said to be {name}, which nothing proved, the newest first:\n");
        text.extend(groups(refused).iter().map(|group| told(group, now)));
    }
    text
}

/// All ends and refusals by their reasons, the most frequent first.
pub(super) fn summary(known: &Known, now: SystemTime) -> String {
    let Known { closed, refused, .. } = known;
    if closed.is_empty() && refused.is_empty() {
        return "No end of a connection and no refusal is remembered: nothing has ended since the server was started, or \
                --since and\n--reason leave out everything.\n"
            .into();
    }
    let mut text = String::new();
    for (ends, one, many) in [(closed, "connection ended", "connections ended"), (refused, "refusal", "refusals")] {
        let Some(oldest) = ends.last() else { continue };
        let separator = if text.is_empty() { "" } else { "\n" };
        text += &format!("{separator}{} since {}:\n", times(ends.len(), one, many), Moment(oldest.closed));
        let mut groups = groups(ends);
        groups.sort_by_key(|group| std::cmp::Reverse(group.ends.len()));
        text.extend(groups.iter().map(|group| counted(group, now)));
    }
    text
}

/// The newest first.
fn groups(ends: &[End]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for end in ends {
        let same = |group: &&mut Group<'_>| {
            let other = group.newest;
            (other.code, &other.reason, &other.remedy) == (end.code, &end.reason, &end.remedy)
        };
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.oldest = end;
                group.ends.push(end);
            }
            None => groups.push(Group { newest: end, oldest: end, ends: vec![end] }),
        }
    }
    groups
}

/// A group by its newest end.
fn told(group: &Group<'_>, now: SystemTime) -> String {
    let Group { newest, oldest, ends } = group;
    let lasted =
        newest.duration_ms.map(|ms| format!(", after {}", length(Duration::from_millis(ms)))).unwrap_or_default();
    let from = From { address: &newest.address, device: &newest.device };
    let text = format!(
        "\n{} ({}){lasted}, {from}\n  {} {}\n",
        Moment(newest.closed),
        Ago(newest.closed, now),
        newest.code,
        OneLine(&newest.text)
    );
    let repeated = match ends.len() {
        1 => String::new(),
        n => format!("  The same {n} times since {}.\n", Moment(oldest.closed)),
    };
    text + &words(newest, "Why") + &repeated
}

/// A group by how many it has.
fn counted(group: &Group<'_>, now: SystemTime) -> String {
    let Group { newest, ends, .. } = group;
    let head = format!(
        "\n{} × {} ({}), the last {} ({})\n",
        ends.len(),
        OneLine(&newest.reason),
        newest.code,
        Moment(newest.closed),
        Ago(newest.closed, now)
    );
    let accounts = most_frequent(ends.iter().filter_map(|end| end.account.as_deref()));
    let hosts =
        most_frequent(ends.iter().map(|end| end.address.rsplit_once(':').map_or(&*end.address, |(host, _)| host)));
    let named = |what: &str, names: String| if names.is_empty() { names } else { format!("  {what}: {names}\n") };
    let why = if ends.len() == 1 { "Why" } else { "Why, the last time" };
    head + &named("Accounts", accounts) + &named("Addresses", hosts) + &words(newest, why)
}

fn words(end: &End, why: &str) -> String {
    format!("  {why}: {}\n  What to do: {}\n", OneLine(&end.cause), OneLine(&end.remedy))
}

/// `alice 12, bob 3 and 7 others`.
fn most_frequent<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let others = counts.len().saturating_sub(MOST_NAMED);
    let named: Vec<_> =
        counts.iter().take(MOST_NAMED).map(|(name, count)| format!("{} {count}", OneLine(name))).collect();
    named.join(", ") + &if others == 0 { String::new() } else { format!(" and {others} others") }
}

fn times(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A connection that is there, on one line.
struct Here<'a>(&'a Open, SystemTime);

impl Display for Here<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(open, now) = self;
        let from = From { address: &open.address, device: &open.device };
        write!(f, "since {} ({}), {from}; ", Moment(open.since), Ago(open.since, *now))?;
        match (open.round_trip_ms.p50, open.round_trip_ms.max) {
            (Some(median), Some(max)) => write!(f, "round trip {median} ms, {max} ms at most; ")?,
            _ => f.write_str("round trip not known yet; ")?,
        }
        let heard = Duration::from_millis(open.last_heard_ms);
        write!(f, "{} bytes wait for it; last heard {} ago", open.queued_bytes, length(heard))?;
        open.closing.as_ref().map_or(Ok(()), |closing| write!(f, "; closing: {}", OneLine(&closing.text)))
    }
}

/// Where a client is.
struct From<'a> {
    address: &'a str,
    device: &'a str,
}

impl Display for From<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "from {}", OneLine(self.address))?;
        if self.device.is_empty() { Ok(()) } else { write!(f, ", device {}", OneLine(self.device)) }
    }
}

/// How long ago a moment was.
struct Ago(u64, SystemTime);

impl Display for Ago {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Another machine's clock may be ahead of this one's.
        write!(f, "{} ago", length(self.1.duration_since(Moment(self.0).time()).unwrap_or_default()))
    }
}

/// A length of time in words: `1h 12m`, `59s`, `40ms`.
fn length(time: Duration) -> String {
    largest_units(time).join(" ")
}
