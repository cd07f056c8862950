//! The closed list of reasons for which a connection ends, with code, text and what a client should do next.
//!
//! The ranges of private codes say by themselves whether to return: 41xx with back-off, 42xx at once, 45xx not at all.

use std::borrow::Cow;
use std::fmt;

/// A close frame carries at most 125 bytes (RFC 6455 §5.5), two of which are the code.
const MAX_REASON_BYTES: usize = 123;

/// What kind of end it was. The registered codes are those of RFC 6455 §7.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseKind {
    /// The peer sent a Close frame of its own, with this code (1005 when it named none).
    PeerClosed(u16),
    /// The peer was gone without a Close frame: end of stream, or a reset.
    PeerGone,
    /// 1000: the server is done with this connection.
    Normal,
    /// 1001: the server stops.
    GoingAway,
    /// 1002: the peer broke the framing rules.
    ProtocolError,
    /// 1007: text that is not UTF-8.
    InvalidUtf8,
    /// 1008: too many fragments, or another rule of this server.
    Policy,
    /// 1009: a message or frame beyond the limit.
    TooBig,
    /// 1011: a failure of the server's own.
    Internal,
    /// 4100: the server had no room.
    OverCapacity,
    /// 4101: the outbound queue or the write deadline was exceeded.
    SlowConsumer,
    /// 4102: too many messages, control frames or attempts.
    RateLimit,
    /// 4103: the account or the address has too many connections.
    ConnectionLimit,
    /// 4104: the handshake or a message took too long to arrive.
    TooSlow,
    /// 4201: nothing was heard for the heartbeat timeout.
    HeartbeatTimeout,
    /// 4202: the configured lifetime is over.
    LifetimeReached,
    /// 4500: the peer could not prove who it is.
    AuthenticationFailed,
    /// 4501: the request made no sense.
    BadRequest,
    /// 4503: an operator or the embedding program ended it.
    Disconnected,
    /// 4505: a newer connection of the same account took its place.
    Replaced,
    /// A code of the embedding program's own, 3000 to 4999.
    Application(u16),
}

/// What a client should do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// At once, or after a random part of the advertised spread.
    AtOnce,
    /// After a delay that grows from attempt to attempt.
    BackOff,
    /// Not by itself: the same request would fail again.
    Never,
}

impl CloseKind {
    /// One of each kind; of those with codes of their own, a common one.
    pub(crate) const ALL: [Self; 21] = [
        Self::PeerClosed(1000),
        Self::PeerGone,
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::InvalidUtf8,
        Self::Policy,
        Self::TooBig,
        Self::Internal,
        Self::OverCapacity,
        Self::SlowConsumer,
        Self::RateLimit,
        Self::ConnectionLimit,
        Self::TooSlow,
        Self::HeartbeatTimeout,
        Self::LifetimeReached,
        Self::AuthenticationFailed,
        Self::BadRequest,
        Self::Disconnected,
        Self::Replaced,
        Self::Application(3000),
    ];

    /// The code that goes over the wire; 1005 and 1006 never do (RFC 6455 §7.4.1).
    #[must_use]
    pub fn code(self) -> u16 {
        self.row().0
    }

    /// The words with which the reason text begins.
    #[must_use]
    pub fn text(self) -> &'static str {
        self.row().1
    }

    /// What a client should do about it.
    #[must_use]
    pub fn reconnect(self) -> Reconnect {
        match self.code() {
            1001 | 1006 | 4200..=4299 => Reconnect::AtOnce,
            // 1005 and 1012 to 1015 are for proxies and their servers, which come and go.
            1005 | 1011..=1015 | 4100..=4199 => Reconnect::BackOff,
            _ => Reconnect::Never,
        }
    }

    /// A name for tables and metrics, in lower case: `heartbeat_timeout`. What peers and programs close with codes of their
    /// own has one name each, `peer_closed` and `application`, whatever the code.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PeerClosed(_) => "peer_closed",
            Self::PeerGone => "peer_gone",
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Policy => "policy",
            Self::TooBig => "too_big",
            Self::Internal => "internal_error",
            Self::OverCapacity => "over_capacity",
            Self::SlowConsumer => "slow_consumer",
            Self::RateLimit => "rate_limit",
            Self::ConnectionLimit => "connection_limit",
            Self::TooSlow => "too_slow",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::LifetimeReached => "lifetime_reached",
            Self::AuthenticationFailed => "authentication_failed",
            Self::BadRequest => "bad_request",
            Self::Disconnected => "disconnected",
            Self::Replaced => "replaced",
            Self::Application(_) => "application",
        }
    }

    /// The names of all kinds, each once.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::name)
    }

    fn row(self) -> (u16, &'static str) {
        match self {
            Self::PeerClosed(code) => (code, "closed by the peer"),
            Self::PeerGone => (1006, "peer gone"),
            Self::Normal => (1000, "normal"),
            Self::GoingAway => (1001, "going away"),
            Self::ProtocolError => (1002, "protocol error"),
            Self::InvalidUtf8 => (1007, "invalid UTF-8"),
            Self::Policy => (1008, "policy"),
            Self::TooBig => (1009, "too big"),
            Self::Internal => (1011, "internal error"),
            Self::OverCapacity => (4100, "over capacity"),
            Self::SlowConsumer => (4101, "slow consumer"),
            Self::RateLimit => (4102, "rate limit"),
            Self::ConnectionLimit => (4103, "connection limit"),
            Self::TooSlow => (4104, "too slow"),
            Self::HeartbeatTimeout => (4201, "heartbeat timeout"),
            Self::LifetimeReached => (4202, "lifetime reached"),
            Self::AuthenticationFailed => (4500, "authentication failed"),
            Self::BadRequest => (4501, "bad request"),
            Self::Disconnected => (4503, "disconnected by operator"),
            Self::Replaced => (4505, "replaced by a newer connection"),
            Self::Application(code) => (code, ""),
        }
    }
}

/// Why one connection ended: the kind, and what was particular about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    kind: CloseKind,
    detail: Cow<'static, str>,
}

impl CloseReason {
    /// A reason with a detail, which follows the kind's own words after a colon.
    pub fn new(kind: CloseKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// A reason with a code of the embedding program's own.
    ///
    /// # Errors
    /// `None` unless `code` is 3000 to 4999, the ranges for libraries and applications (RFC 6455 §7.4.2).
    pub fn application(code: u16, text: impl Into<Cow<'static, str>>) -> Option<Self> {
        (3000..=4999).contains(&code).then(|| Self::new(CloseKind::Application(code), text))
    }

    /// The kind, for a `match`.
    #[must_use]
    pub fn kind(&self) -> CloseKind {
        self.kind
    }

    /// The code, see [`CloseKind::code`].
    #[must_use]
    pub fn code(&self) -> u16 {
        self.kind.code()
    }

    /// The reason text of the close frame: at most 123 bytes, cut between characters.
    #[must_use]
    pub fn wire_text(&self) -> String {
        self.shortened().text()
    }

    /// The text as a close frame would carry it, however long the detail is.
    #[must_use]
    pub(crate) fn shortened(&self) -> Self {
        let left = MAX_REASON_BYTES.saturating_sub(self.text().len() - self.detail.len());
        let kept = self.detail.floor_char_boundary(left);
        let detail = match &self.detail {
            Cow::Borrowed(detail) => Cow::Borrowed(&detail[..kept]),
            // A copy has no room that it does not use.
            Cow::Owned(detail) => Cow::Owned(detail[..kept].to_owned()),
        };
        Self { kind: self.kind, detail }
    }

    fn text(&self) -> String {
        match (self.kind.text(), &*self.detail) {
            (text, "") => text.to_owned(),
            ("", detail) => detail.to_owned(),
            (text, detail) => format!("{text}: {detail}"),
        }
    }
}

impl From<CloseKind> for CloseReason {
    fn from(kind: CloseKind) -> Self {
        Self::new(kind, "")
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_private_code_says_whether_to_return() {
        assert_eq!(CloseKind::SlowConsumer.reconnect(), Reconnect::BackOff);
        assert_eq!(CloseKind::HeartbeatTimeout.reconnect(), Reconnect::AtOnce);
        assert_eq!(CloseKind::Replaced.reconnect(), Reconnect::Never);
        assert_eq!(CloseKind::Application(4150).reconnect(), Reconnect::BackOff);
        assert_eq!(CloseKind::PeerClosed(1013).reconnect(), Reconnect::BackOff);
        assert_eq!(CloseKind::PeerClosed(1010).reconnect(), Reconnect::Never);
    }

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = CloseKind::names().collect();
        assert_eq!(names.len(), CloseKind::ALL.len());
        assert!(
            names.iter().all(|name| name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit()))
        );
    }

    #[test]
    fn what_is_kept_of_a_reason_is_what_a_close_frame_carries() {
        let reason = CloseReason::new(CloseKind::Policy, "ü".repeat(100));
        assert_eq!(reason.shortened().to_string(), format!("1008 {}", reason.wire_text()));
        let short = CloseReason::new(CloseKind::Policy, "short");
        assert_eq!(short.shortened(), short);
        let bare = CloseReason::application(3000, "x".repeat(200)).unwrap();
        assert_eq!(bare.shortened().text().len(), MAX_REASON_BYTES);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = CloseReason::new(CloseKind::Policy, "ü".repeat(100));
        let text = reason.wire_text();
        assert_eq!(text.len(), 122, "8 bytes of words, then 57 whole characters of two bytes");
        assert!(text.starts_with("policy: ü"));
    }

    #[test]
    fn only_private_codes_are_an_applications_own() {
        assert!(CloseReason::application(1000, "").is_none());
        assert!(CloseReason::application(5000, "").is_none());
        assert_eq!(CloseReason::application(3000, "bye").map(|r| r.to_string()), Some("3000 bye".into()));
    }
}
