//! What a back end is told of, and how that is written.

use crate::protocol::message::{Account, Recipients};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::time::{SystemTime, UNIX_EPOCH};

/// Something that a back end wants to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server has started: of those whom it reported online before, nobody is.
    Started,
    /// The server stops. Those who are still online are not reported offline one by one.
    Stopping,
    /// An account has come online, or has gone.
    Presence {
        /// Whose presence it is.
        account: Account,
        /// Whether it is online now.
        online: bool,
        /// Since when.
        at: SystemTime,
    },
    /// A client has sent a message.
    Message {
        /// The id under which its recipients get it.
        id: String,
        /// Its authenticated sender.
        from: Account,
        /// To whom it goes; `None` for a broadcast.
        to: Option<Recipients>,
        /// When it was received.
        at: SystemTime,
        /// What it says, as its sender wrote it.
        content: Box<RawValue>,
    },
}

impl Event {
    /// Its JSON in a batch.
    pub(super) fn into_json(self) -> serde_json::Result<Box<RawValue>> {
        to_raw_value(&match &self {
            Self::Started => Written::Started,
            Self::Stopping => Written::Stopping,
            Self::Presence { account, online, at } => {
                let (account, time) = (account.as_str(), unix_ms(*at));
                if *online { Written::Online { account, time } } else { Written::Offline { account, time } }
            }
            Self::Message { id, from, to, at, content } => {
                let (to, room) = match to {
                    Some(Recipients::Accounts(accounts)) => {
                        (Some(accounts.iter().map(Account::as_str).collect()), None)
                    }
                    Some(Recipients::Room(room)) => (None, Some(room.as_str())),
                    None => (None, None),
                };
                let all = to.is_none() && room.is_none();
                Written::Message { id, from: from.as_str(), to, room, all, time: unix_ms(*at), content }
            }
        })
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Written<'a> {
    Started,
    Stopping,
    Online {
        account: &'a str,
        time: u64,
    },
    Offline {
        account: &'a str,
        time: u64,
    },
    Message {
        id: &'a str,
        from: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<Vec<&'a str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        all: bool,
        time: u64,
        content: &'a RawValue,
    },
}

/// Milliseconds since 1970; what was before counts as then.
fn unix_ms(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Room;
    use std::time::Duration;

    fn written(event: Event) -> String {
        event.into_json().unwrap().get().to_owned()
    }

    fn account(name: &str) -> Account {
        Account::new(name).unwrap()
    }

    fn message(to: Option<Recipients>) -> String {
        let (at, content) = (UNIX_EPOCH + Duration::from_millis(1_700_000_000_123), r#"{ "a": 1.50,"b":"\u00e4\n" }"#);
        let content = RawValue::from_string(content.into()).unwrap();
        written(Event::Message { id: "m1".into(), from: account("alice"), to, at, content })
    }

    #[test]
    fn presence_and_the_server_itself() {
        assert_eq!(written(Event::Started), r#"{"type":"started"}"#);
        assert_eq!(written(Event::Stopping), r#"{"type":"stopping"}"#);
        let presence = |online, at| written(Event::Presence { account: account("al\"ice"), online, at });
        let at = UNIX_EPOCH + Duration::from_micros(1_999);
        assert_eq!(presence(true, at), r#"{"type":"online","account":"al\"ice","time":1}"#);
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(presence(false, before), r#"{"type":"offline","account":"al\"ice","time":0}"#);
    }

    #[test]
    fn a_message_says_to_whom_and_its_content_is_untouched() {
        let rest = r#""time":1700000000123,"content":{ "a": 1.50,"b":"\u00e4\n" }}"#;
        let start = r#"{"type":"message","id":"m1","from":"alice","#;
        let to = Recipients::Accounts(vec![account("bob"), account("carol")]);
        assert_eq!(message(Some(to)), format!(r#"{start}"to":["bob","carol"],{rest}"#));
        let room = Recipients::Room(Room::new("lobby").unwrap());
        assert_eq!(message(Some(room)), format!(r#"{start}"room":"lobby",{rest}"#));
        assert_eq!(message(None), format!(r#"{start}"all":true,{rest}"#));
    }
}
