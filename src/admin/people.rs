//! Accounts, connections and rooms: who is there, who is a member of what, and who has to go.

use super::answers::refused;
use super::connections::place;
use super::json::{self, Names, Page};
use super::request::bad_request;
use super::{Call, connections, routes};
use crate::http::Response;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::message::{Account, InvalidName, Presence, Room};
use crate::record::ConnectionId;
use crate::router::{Handle, SendError, Target};
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;

/// The longest reason that a Close frame carries, less its code (RFC 6455 §5.5).
const MAX_REASON_BYTES: usize = 123;

/// `GET /v1/accounts`: who is online, or was put into a room.
pub(super) fn accounts(call: &Call<'_>) -> Result<Response, Response> {
    let page = Page::<Account>::of(call.head)?;
    let found = call.shared.handle.accounts(page.after.clone(), page.fetched()).map_err(refused)?;
    Ok(page.answer("accounts", &found, |presence| presence.account.as_str(), presence))
}

/// `GET /v1/accounts/{account}`: one of them. Nobody has to exist to be offline.
pub(super) fn account(call: &Call<'_>) -> Result<Response, Response> {
    let page = Page::<ConnectionId>::of(call.head)?;
    let mut info = call.shared.handle.account(name(call)?).map_err(refused)?;
    info.connections.retain(|found| page.after.as_ref().is_none_or(|after| place(&found.id) > place(after)));
    info.connections.sort_by(|one, other| place(&one.id).cmp(&place(&other.id)));
    let (connections, next) = page.cut(&info.connections, |found| found.id.as_str());
    Ok(json::answer(&json!({
        "account": info.presence.account.as_str(),
        "online": info.presence.online,
        "connections": connections.iter().map(connections::info).collect::<Vec<_>>(),
        "rooms": room_names(&info.rooms),
        "next": next,
    })))
}

/// `GET /v1/rooms`: rooms that a connection is in.
pub(super) fn rooms(call: &Call<'_>) -> Result<Response, Response> {
    let page = Page::<Room>::of(call.head)?;
    let found = call.shared.handle.rooms(page.after.clone(), page.fetched()).map_err(refused)?;
    Ok(page.answer(
        "rooms",
        &found,
        |info| info.room.as_str(),
        |info| json!({ "room": info.room.as_str(), "accounts": info.accounts, "connections": info.connections }),
    ))
}

/// `GET /v1/rooms/{room}/members`.
pub(super) fn members(call: &Call<'_>) -> Result<Response, Response> {
    let page = Page::<Account>::of(call.head)?;
    let found = call.shared.handle.members(name(call)?, page.after.clone(), page.fetched()).map_err(refused)?;
    Ok(page.answer("members", &found, |presence| presence.account.as_str(), presence))
}

/// `POST /v1/rooms/{room}/members`: puts accounts into a room.
pub(super) fn join(call: &Call<'_>) -> Result<Response, Response> {
    change_members(call, Handle::join_all)
}

/// `DELETE /v1/rooms/{room}/members`: takes them out of it.
pub(super) fn leave(call: &Call<'_>) -> Result<Response, Response> {
    change_members(call, Handle::leave_all)
}

type Change = fn(&Handle, Vec<Account>, Room) -> Result<usize, SendError>;

fn change_members(call: &Call<'_>, change: Change) -> Result<Response, Response> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        accounts: Names<Account>,
    }
    let room: Room = name(call)?;
    let Body { accounts: Names(accounts) } = json::object(&call.body)?;
    let all = accounts.len();
    // Whoever is told of a failure may say all of it again: who is a member already stays one.
    let changed = change(&call.shared.handle, accounts, room).map_err(refused)?;
    Ok(json::answer(&json!({ "changed": changed, "unchanged": all - changed })))
}

/// `POST /v1/disconnect`: ends the connections of an account, or one.
pub(super) fn disconnect(call: &Call<'_>) -> Result<Response, Response> {
    let Disconnect { account, connection, code, reason } = json::object(&call.body)?;
    let reason = close_reason(code, reason.unwrap_or_default())?;
    let end = |target: Target| call.shared.handle.disconnect(target, reason).map_err(refused);
    let connections = match (account, connection) {
        (Some(account), None) => end(valid::<Account>(&account)?.into())?,
        (None, Some(connection)) => match end(valid::<ConnectionId>(&connection)?.into())? {
            0 => return Err(no_such_connection()),
            connections => connections,
        },
        _ => return Err(bad_request("either `account` or `connection` says whom to disconnect")),
    };
    Ok(json::answer(&json!({ "connections": connections })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    account: Option<String>,
    connection: Option<String>,
    code: Option<u16>,
    reason: Option<String>,
}

fn close_reason(code: Option<u16>, text: String) -> Result<CloseReason, Response> {
    if text.len() > MAX_REASON_BYTES || text.chars().any(char::is_control) {
        return Err(bad_request(&format!("`reason` is at most {MAX_REASON_BYTES} bytes, without control characters")));
    }
    let own = [CloseKind::Disconnected, CloseKind::Normal, CloseKind::GoingAway];
    let kind = code.map_or(Some(CloseKind::Disconnected), |code| own.into_iter().find(|kind| kind.code() == code));
    match (kind, code) {
        (Some(kind), _) => Some(CloseReason::new(kind, text)),
        (None, code) => CloseReason::application(code.unwrap_or_default(), text),
    }
    .ok_or_else(|| bad_request("`code` must be 1000, 1001, or 3000 to 4999"))
}

/// The name in the path.
pub(super) fn name<T: FromStr<Err = InvalidName>>(call: &Call<'_>) -> Result<T, Response> {
    valid(&call.name)
}

pub(super) fn valid<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, Response> {
    text.parse().map_err(|error: InvalidName| bad_request(&error.to_string()))
}

pub(super) fn no_such_connection() -> Response {
    routes::not_found("there is no such connection")
}

fn presence(presence: &Presence) -> Value {
    let Presence { account, online, connections } = presence;
    json!({ "account": account.as_str(), "online": online, "connections": connections })
}

pub(super) fn room_names(rooms: &[Room]) -> Vec<&str> {
    rooms.iter().map(Room::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_that_a_server_may_say() {
        let said = |code, text: &str| close_reason(code, text.to_owned()).map(|reason| reason.to_string());
        assert_eq!(said(None, "").unwrap(), "4503 disconnected by operator");
        assert_eq!(said(None, "spam").unwrap(), "4503 disconnected by operator: spam");
        assert_eq!(said(Some(4503), "spam").unwrap(), "4503 disconnected by operator: spam");
        assert_eq!(said(Some(1000), "").unwrap(), "1000 normal");
        assert_eq!(said(Some(1001), "moved").unwrap(), "1001 going away: moved");
        assert_eq!(said(Some(3000), "mine").unwrap(), "3000 mine");
        assert_eq!(said(Some(4999), "").unwrap(), "4999 ");
        for code in [0, 999, 1002, 1005, 1006, 1011, 2999, 5000, 65_535] {
            assert!(said(Some(code), "").is_err(), "{code}");
        }
    }

    #[test]
    fn a_reason_fits_and_is_one_line() {
        assert!(close_reason(None, "x".repeat(123)).is_ok());
        assert!(close_reason(None, "x".repeat(124)).is_err());
        assert!(close_reason(None, "a\nb".into()).is_err());
    }
}
