//! `heartwire why`: what a running server remembers of ends and refusals, in plain words.

mod told;

use super::admin_client::Server;
use super::peer::one_line;
use super::values::Time;
use super::{Failure, print};
use clap::Args;
use heartwire::Account;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use told::{End, Known, Open};

/// The most that the server answers at once.
const PAGE: usize = 1_000;

/// The flags of `heartwire why`.
#[derive(Args)]
pub(super) struct Flags {
    /// Whose connections; without it, a summary of all by reason
    #[arg(value_name = "ACCOUNT")]
    account: Option<Account>,

    /// Only what happened within this time, as in 30m or 2days
    #[arg(long, value_name = "TIME")]
    since: Option<Time>,

    /// Only this reason, by name or code, as in replaced or 4201
    #[arg(long, value_name = "NAME")]
    reason: Option<String>,

    /// How many ends to look at, and how many refusals, from the newest on
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: usize,

    /// Print what the server answers, as one object of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: Server,
}

/// Asks, and prints the answer. The exit code says whether anything is known.
pub(super) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let now = SystemTime::now();
    let query = query(flags, now);
    let connections = match &flags.account {
        Some(account) => {
            let query = [("account", account.as_str()), ("limit", &PAGE.to_string())];
            page(&flags.server, "connections", &query)?.0
        }
        None => Vec::new(),
    };
    let closed = pages(&flags.server, "closed", &query, flags.limit)?;
    let refused = pages(&flags.server, "refused", &query, flags.limit)?;
    let is_known = !(connections.is_empty() && closed.is_empty() && refused.is_empty());
    let text = if flags.json {
        one_line(&json!({ "connections": connections, "closed": closed, "refused": refused }).to_string()) + "\n"
    } else {
        let known =
            Known { connections: read::<Open>(connections)?, closed: read::<End>(closed)?, refused: read(refused)? };
        match &flags.account {
            Some(account) => told::of_account(account, &known, now),
            None => told::summary(&known, now),
        }
    };
    print(text.as_bytes())?;
    Ok(if is_known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the past is asked for with.
fn query(flags: &Flags, now: SystemTime) -> Vec<(&'static str, String)> {
    let since = flags.since.map(|Time(ago)| {
        let since = now.checked_sub(ago).and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        since.unwrap_or_default().as_millis().to_string()
    });
    let account = flags.account.as_ref().map(ToString::to_string);
    let parameters = [("account", account), ("since", since), ("reason", flags.reason.clone())];
    parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// All pages of a list of the past, up to `most` of its entries.
fn pages(server: &Server, list: &str, query: &[(&str, String)], most: usize) -> Result<Vec<Value>, Failure> {
    let (mut entries, mut after) = (Vec::new(), None);
    while entries.len() < most {
        let limit = PAGE.min(most - entries.len()).to_string();
        let mut query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        query.push(("limit", &limit));
        query.extend(after.as_deref().map(|after| ("after", after)));
        let (more, next) = page(server, list, &query)?;
        entries.extend(more);
        let Some(next) = next else { break };
        after = Some(next.to_string());
    }
    Ok(entries)
}

/// One page: its entries, and what the next one comes after.
fn page(server: &Server, list: &str, query: &[(&str, &str)]) -> Result<(Vec<Value>, Option<u64>), Failure> {
    let answer: Value =
        serde_json::from_str(&server.get(&format!("/v1/{list}"), query)?).map_err(|_| none_of_ours())?;
    let entries = answer[list].as_array().ok_or_else(none_of_ours)?;
    Ok((entries.clone(), answer["next"].as_u64()))
}

fn read<T: DeserializeOwned>(entries: Vec<Value>) -> Result<Vec<T>, Failure> {
    entries.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().map_err(|_| none_of_ours())
}

fn none_of_ours() -> Failure {
    Failure::Run("this is no answer of a heartwire server".into())
}

#[cfg(test)]
mod tests;
