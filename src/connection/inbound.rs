//! The read side of one connection: how messages lie in its bytes. The counterpart of outbound.

use super::dispatch::Dispatch;
use super::heartbeat::Heartbeat;
use super::lines::{Lines, TooLong};
use super::websocket::WebSocket;
use crate::config::Config;
use crate::outbound::Outbound;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::format::Format;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;
use tungstenite::protocol::Role;

/// The receiving side of one connection.
pub(super) enum Inbound {
    /// Frames of RFC 6455.
    WebSocket(Box<WebSocket>),
    /// One JSON object a line, over raw TCP.
    Lines(Box<Lines>),
}

impl Inbound {
    /// The one that goes with the format in which the peer is answered.
    pub(super) fn new(format: &Format, config: &Config, now: Instant) -> Self {
        match format {
            Format::WebSocket | Format::Masked | Format::Ginchat(_) => {
                Self::WebSocket(Box::new(WebSocket::new(config, Role::Server, now)))
            }
            Format::Lines => Self::Lines(Box::new(Lines::new(config.max_message_bytes))),
        }
    }

    /// Since when a message is incomplete.
    pub(super) fn assembling_since(&self) -> Option<Instant> {
        match self {
            Self::WebSocket(websocket) => websocket.assembling_since(),
            Self::Lines(lines) => lines.assembling_since(),
        }
    }

    /// Dispatches what was received at `now`, until it is used up or the connection is ending.
    ///
    /// # Errors
    /// Why the server has to end it. Messages before that were dispatched.
    pub(super) fn decode(
        &mut self,
        received: &[u8],
        now: Instant,
        outbound: &Arc<Outbound>,
        dispatch: &mut Dispatch,
        heartbeat: &mut Heartbeat,
    ) -> Result<(), CloseReason> {
        match self {
            Self::WebSocket(websocket) => {
                websocket.decode(received, now, outbound, |message| dispatch.websocket(&message, heartbeat, now))
            }
            Self::Lines(lines) => {
                let split = lines.split(received, now, |line| {
                    if outbound.is_ending() {
                        return ControlFlow::Break(());
                    }
                    dispatch.line(line, heartbeat, now);
                    ControlFlow::Continue(())
                });
                heartbeat.answered_by_life(now);
                split.map(drop).map_err(|TooLong| CloseReason::new(CloseKind::TooBig, "a line is too long"))
            }
        }
    }
}
