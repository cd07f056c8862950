//! What a message means: the clocks it touches, the commands it becomes, the answers it gets at once.

use super::heartbeat::{Heartbeat, Sign, times_for};
use super::opening::time_left;
use super::rate::{MessageRate, Verdict as RateVerdict};
use crate::auth::Permissions;
use crate::config::{Config, Protocol};
use crate::handler::{Action, Connection, Handler, Message, Verdict};
use crate::limits::Failures;
use crate::outbound::Waiting;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::format::Format;
use crate::protocol::ginchat::{self, ClientMessage};
use crate::protocol::message::{Account, ClientFrame, ErrorCode, FrameId, Recipients, Room};
use crate::protocol::native;
use crate::protocol::wire::Bytes;
use crate::router::Frame;
use crate::router::command::Command;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tungstenite::Message as Decoded;

/// Turns the messages of one connection into commands for the router.
pub(super) struct Dispatch {
    connection: Connection,
    handler: Arc<dyn Handler>,
    failures: Arc<Failures>,
    config: Arc<Config>,
    permissions: Permissions,
    rate: MessageRate,
    /// Messages so far; those that are delivered carry this number in their id.
    messages: u64,
    /// Whether the client's page is hidden, as far as it has said.
    background: Option<bool>,
    commands: Vec<Command>,
}

impl Dispatch {
    pub(super) fn new(
        connection: Connection,
        handler: Arc<dyn Handler>,
        failures: Arc<Failures>,
        config: Arc<Config>,
        permissions: Permissions,
        now: Instant,
    ) -> Self {
        let rate = MessageRate::new(config.message_rate, now);
        let (messages, background, commands) = (0, None, Vec::new());
        Self { connection, handler, failures, config, permissions, rate, messages, background, commands }
    }

    /// How many messages were received.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether the client's page is hidden, as far as it has said.
    pub(super) fn background(&self) -> Option<bool> {
        self.background
    }

    /// The commands since the last call, in order.
    pub(super) fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// One message of the WebSocket connection, received at `now`.
    pub(super) fn websocket(&mut self, message: &Decoded, heartbeat: &mut Heartbeat, now: Instant) {
        match message {
            Decoded::Ping(_) => heartbeat.heard(Sign::Beat, now),
            Decoded::Pong(payload) => heartbeat.pong(payload, now),
            Decoded::Text(text) => self.data(Frame::Text(text), heartbeat, now),
            Decoded::Binary(bytes) => self.data(Frame::Binary(bytes), heartbeat, now),
            // The Close is answered where it is decoded; whole frames are never handed out on reading.
            Decoded::Close(_) | Decoded::Frame(_) => {}
        }
    }

    /// One line of the raw TCP connection, received at `now`. An empty one is no message, but a flood of them is a flood.
    pub(super) fn line(&mut self, line: &[u8], heartbeat: &mut Heartbeat, now: Instant) {
        let frame = Frame::Binary(line);
        if line.is_empty() {
            self.is_within_rate(frame, now);
        } else {
            self.data(frame, heartbeat, now);
        }
    }

    fn data(&mut self, frame: Frame<'_>, heartbeat: &mut Heartbeat, now: Instant) {
        self.messages += 1;
        if !self.is_within_rate(frame, now) {
            return;
        }
        if self.config.protocol == Protocol::Raw {
            return self.handler.frame(&self.connection, frame);
        }
        // The same JSON is accepted in both kinds of frame.
        let text = match frame {
            Frame::Text(text) => Ok(text),
            Frame::Binary(bytes) => std::str::from_utf8(bytes),
        };
        log::trace!("{} sent {} bytes", self.connection.id(), frame.len());
        let is_ginchat = matches!(self.connection.outbound.format(), Format::Ginchat(_));
        let understood = text.map_err(|error| (None, error.to_string())).and_then(|text| {
            if is_ginchat {
                let message = ginchat::decode(text).map_err(|bad| (None, bad.message))?;
                self.ginchat(message, heartbeat, now);
            } else {
                let frame = native::decode(text).map_err(|bad| (bad.id, bad.message))?;
                self.native(frame, heartbeat, now);
            }
            Ok(())
        });
        if let Err((id, message)) = understood {
            self.error(id.as_ref(), ErrorCode::BadRequest, &message);
        }
    }

    fn is_within_rate(&mut self, frame: Frame<'_>, now: Instant) -> bool {
        match self.rate.judge(now) {
            RateVerdict::Pass => return true,
            RateVerdict::Refuse { tell } => {
                if tell && self.config.protocol == Protocol::Native {
                    self.tell_rate(frame);
                }
            }
            RateVerdict::End => {
                let reason = CloseReason::new(CloseKind::RateLimit, "too many messages for 5 s");
                self.connection.outbound.close(reason, Waiting::Drop);
            }
        }
        false
    }

    #[inline(never)]
    fn ginchat(&mut self, message: ClientMessage, heartbeat: &mut Heartbeat, now: Instant) {
        match message {
            // Its clients expect no answer.
            ClientMessage::Heartbeat => heartbeat.heard(Sign::Beat, now),
            ClientMessage::Message { to, content } => self.message(Some(to), &content, None),
        }
    }

    /// Not inlined, like its sibling: what it needs is not to lie on the stack while the frame is decoded.
    #[inline(never)]
    fn native(&mut self, frame: ClientFrame<'_>, heartbeat: &mut Heartbeat, now: Instant) {
        match frame {
            ClientFrame::Heartbeat { next, background } => {
                self.background = background.or(self.background);
                heartbeat.heard(Sign::Beat, now);
                if next.is_some() {
                    heartbeat.set_times(times_for(&self.config.heartbeat, next));
                }
                self.answer(&native::heartbeat(heartbeat.times()));
            }
            ClientFrame::Message { to, content, id } => self.message(Some(to), content, id),
            ClientFrame::Broadcast { content, id } => self.message(None, content, id),
            ClientFrame::Join { room, id } => self.join(room, id),
            ClientFrame::Leave { room, id } => self.commands.push(Command::Leave { room, id }),
            ClientFrame::Presence { accounts, watch, id } => self.presence(accounts, watch, id),
            ClientFrame::Token { token, id } => self.renew(&token.0, id.as_ref(), heartbeat, now),
        }
    }

    fn message(&mut self, to: Option<Recipients>, content: &RawValue, id: Option<FrameId>) {
        if let Some(refusal) = self.forbidden(to.is_none()) {
            return self.error(id.as_ref(), refusal.0, refusal.1);
        }
        let action = to.as_ref().map_or(Action::Broadcast, Action::Message);
        if let Err(why) = self.handler.authorize(&self.connection, &action) {
            return self.error(id.as_ref(), ErrorCode::PermissionDenied, &why);
        }
        let number = self.number();
        let mut message = Message { id: &number, to, content: Cow::Borrowed(content) };
        match self.handler.message(&self.connection, &mut message) {
            Verdict::Deliver => {}
            Verdict::Consume => return self.acknowledge(id.as_ref()),
            Verdict::Refuse(code, text) => return self.error(id.as_ref(), code, &text),
        }
        let room = match &message.to {
            Some(Recipients::Room(room)) => Some(room),
            _ => None,
        };
        let frame = native::message(&number, self.connection.account(), room, unix_ms(), &message.content);
        self.commands.push(match message.to {
            Some(to) => Command::Message { to, frame, id },
            None => Command::Broadcast { frame, id },
        });
    }

    /// The name of the message that was received last.
    fn number(&self) -> String {
        let connection = self.connection.id().as_str();
        // With room for the digits of any number.
        let mut number = String::with_capacity(connection.len() + 21);
        number.push_str(connection);
        // A String takes whatever is written.
        let _ = write!(number, ".{}", self.messages);
        number
    }

    fn forbidden(&self, broadcast: bool) -> Option<(ErrorCode, &'static str)> {
        if broadcast && !self.config.broadcast {
            Some((ErrorCode::NotAvailable, "broadcast is turned off on this server"))
        } else if broadcast && !self.permissions.broadcast {
            Some((ErrorCode::PermissionDenied, "this account may not broadcast"))
        } else if !self.permissions.message {
            Some((ErrorCode::PermissionDenied, "this account may not send messages"))
        } else {
            None
        }
    }

    fn join(&mut self, room: Room, id: Option<FrameId>) {
        if !self.permissions.join {
            return self.error(id.as_ref(), ErrorCode::PermissionDenied, "this account may not join rooms");
        }
        match self.handler.authorize(&self.connection, &Action::Join(&room)) {
            Ok(()) => self.commands.push(Command::Join { room, id }),
            Err(why) => self.error(id.as_ref(), ErrorCode::PermissionDenied, &why),
        }
    }

    fn presence(&mut self, accounts: Vec<Account>, watch: Option<bool>, id: Option<FrameId>) {
        if !self.permissions.presence {
            return self.error(id.as_ref(), ErrorCode::PermissionDenied, "this account may not see who is online");
        }
        let action = if watch == Some(true) { Action::Watch(&accounts) } else { Action::Presence(&accounts) };
        match self.handler.authorize(&self.connection, &action) {
            Ok(()) => self.commands.push(Command::Presence { accounts, watch, id }),
            Err(why) => self.error(id.as_ref(), ErrorCode::PermissionDenied, &why),
        }
    }

    /// Another token, which may move the end of this connection.
    fn renew(&mut self, token: &str, id: Option<&FrameId>, heartbeat: &mut Heartbeat, now: Instant) {
        let address = self.config.limited_address(self.connection.info().address.ip());
        if self.failures.may_try(address, now).is_err() {
            return self.error(id, ErrorCode::TooManyRequests, "too many attempts of this address have failed");
        }
        match self.handler.renew(&self.connection, token) {
            Ok(identity) if identity.account == *self.connection.account() => {
                self.permissions = identity.permissions;
                let expires_in = time_left(identity.expires);
                heartbeat.expires(expires_in.map(|time| now + time));
                if let Some(id) = id {
                    self.answer(&native::renewed(id, expires_in));
                }
            }
            Ok(_) => self.error(id, ErrorCode::PermissionDenied, "the token is another account's"),
            Err(refusal) => {
                if refusal.is_wrong_proof() {
                    self.failures.failed(address, now);
                }
                self.error(id, refusal.code, &refusal.message);
            }
        }
    }

    fn tell_rate(&self, frame: Frame<'_>) {
        let text = match frame {
            Frame::Text(text) => Some(text),
            Frame::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        };
        let id = text.and_then(native::id_of);
        self.error(id.as_ref(), ErrorCode::TooManyRequests, "too many messages: nothing is delivered above the rate");
    }

    fn acknowledge(&self, id: Option<&FrameId>) {
        if let Some(id) = id {
            self.answer(&native::ack(id, 0));
        }
    }

    fn error(&self, id: Option<&FrameId>, code: ErrorCode, message: &str) {
        self.answer(&native::error(id, code, message));
    }

    fn answer(&self, frame: &Bytes) {
        // A connection that is closing gets no answers any more; its drop is counted there.
        let _ = self.connection.outbound.tell(frame);
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
