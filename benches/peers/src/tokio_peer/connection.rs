//! The life of one connection's task: handshake, `register`, then whatever comes from either side.

use crate::frames::{ClientFrame, ErrorBody, INTERVAL_MS, Name, NoContent, ServerFrame, TIMEOUT_MS, Times, is_name};
use crate::hub::{Hub, Member};
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

const READ_BUFFER_BYTES: usize = 4 << 10;
const MAX_MESSAGE_BYTES: usize = 64 << 10;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(INTERVAL_MS);
const TIMEOUT: Duration = Duration::from_millis(TIMEOUT_MS);
/// What waits is sent together, so many messages at once.
const BATCH_MESSAGES: usize = 64;
const MAX_ROOMS: usize = 64;

/// Serves one client until it leaves.
pub(crate) async fn run(stream: TcpStream, hub: Arc<Hub>) {
    // Boxed, since what it needs is needed only once.
    let accepted = timeout(HANDSHAKE_DEADLINE, Box::pin(accept(stream))).await;
    let Ok(Ok((mut socket, account))) = accepted else { return };
    let (member, outgoing) = hub.member(&account);
    let mut session = Session { id: format!("c-{}", member.number), member, hub, rooms: Vec::new(), messages: 0 };
    if let Err(End { code, reason }) = session.serve(&mut socket, outgoing).await {
        let close = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = timeout(WRITE_DEADLINE, socket.close(Some(close))).await;
    }
}

/// The upgrade, and the account that asked for it.
async fn accept(stream: TcpStream) -> Result<(WebSocketStream<TcpStream>, String), Error> {
    stream.set_nodelay(true)?;
    let mut account = String::new();
    // The type is the library's.
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, response: Response| {
        let query = request.uri().query().unwrap_or_default();
        let named = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "user_id");
        account = named.map(|(_, name)| name.into_owned()).unwrap_or_default();
        if request.uri().path() != "/ws" {
            return Err(refusal(StatusCode::NOT_FOUND));
        }
        if is_name(&account) { Ok(response) } else { Err(refusal(StatusCode::BAD_REQUEST)) }
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let socket = accept_hdr_async_with_config(stream, check, Some(config)).await?;
    Ok((socket, account))
}

fn refusal(status: StatusCode) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    response
}

struct Session {
    id: String,
    member: Arc<Member>,
    hub: Arc<Hub>,
    rooms: Vec<Arc<str>>,
    messages: u64,
}

/// Why the server ends a connection.
struct End {
    code: u16,
    reason: &'static str,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        let (code, reason) = match error {
            Error::Capacity(_) => (CloseCode::Size, "too big"),
            Error::Utf8(_) => (CloseCode::Invalid, "invalid UTF-8"),
            _ => (CloseCode::Protocol, "protocol error"),
        };
        Self { code: code.into(), reason }
    }
}

impl Session {
    /// Until the client leaves.
    ///
    /// # Errors
    /// Why the server ends it.
    async fn serve(
        &mut self,
        socket: &mut WebSocketStream<TcpStream>,
        mut outgoing: Receiver<Utf8Bytes>,
    ) -> Result<(), End> {
        // Nothing can overtake it: only this task writes.
        socket.feed(Message::Text(self.register())).await?;
        self.hub.enter(&self.member);
        write(socket, []).await?;

        let mut heard = Instant::now();
        let mut alarm = std::pin::pin!(sleep_until(heard + INTERVAL));
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                received = outgoing.recv_many(&mut batch, BATCH_MESSAGES) => {
                    if received == 0 || self.member.is_too_slow() {
                        return Err(End { code: 4101, reason: "slow consumer" });
                    }
                    write(socket, batch.drain(..).map(Message::Text)).await?;
                }
                incoming = socket.next() => {
                    heard = Instant::now();
                    let Some(message) = incoming else { return Ok(()) };
                    let mut answered = self.take(message?, socket).await?;
                    // What came together is answered together.
                    while answered {
                        match socket.next().now_or_never() {
                            Some(Some(message)) => drop(self.take(message?, socket).await?),
                            Some(None) => return Ok(()),
                            None => {
                                write(socket, []).await?;
                                answered = false;
                            }
                        }
                    }
                }
                () = &mut alarm => {
                    let silence = heard.elapsed();
                    if silence >= TIMEOUT {
                        return Err(End { code: 4201, reason: "heartbeat timeout" });
                    }
                    let mut next = heard + INTERVAL;
                    if silence >= INTERVAL {
                        write(socket, [Message::Ping(Bytes::new())]).await?;
                        next = (Instant::now() + INTERVAL).min(heard + TIMEOUT);
                    }
                    alarm.as_mut().reset(next);
                }
            }
        }
    }

    /// Does what a message asks for; says whether there is an answer to be flushed.
    async fn take(&mut self, message: Message, socket: &mut WebSocketStream<TcpStream>) -> Result<bool, End> {
        let answer = match &message {
            Message::Text(text) => self.answer(text),
            Message::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => self.answer(text),
                Err(_) => Some(error(None, 107, "bad_request", "not UTF-8")),
            },
            // The library answers pings and Close by itself, when it is asked for the next message.
            _ => None,
        };
        let answered = answer.is_some();
        if let Some(answer) = answer {
            socket.feed(Message::Text(answer)).await?;
        }
        Ok(answered)
    }

    fn answer(&mut self, text: &str) -> Option<Utf8Bytes> {
        let frame = match ClientFrame::read(text) {
            Ok(frame) => frame,
            Err(wrong) => return Some(error(None, 107, "bad_request", &wrong)),
        };
        let id = frame.id.as_deref();
        let delivered = match (&*frame.kind, frame.room.as_deref()) {
            ("heartbeat", _) => {
                let Times { interval_ms, timeout_ms } = Times::default();
                let content = NoContent::default();
                return Some(ServerFrame::Heartbeat { content, interval_ms, timeout_ms }.text());
            }
            ("message", _) => self.message(&frame),
            ("join", Some(room)) => self.join(room),
            ("leave", Some(room)) => {
                self.rooms.retain(|own| **own != *room);
                self.hub.leave(room, &self.member);
                Ok(0)
            }
            ("join" | "leave", None) => Err((107, "bad_request", "`room` is missing")),
            _ => Err((108, "not_available", "this server does not do that")),
        };
        match delivered {
            Ok(delivered) => id.map(|id| ServerFrame::Ack { id, delivered }.text()),
            Err((code, reason, message)) => Some(error(id, code, reason, message)),
        }
    }

    fn message(&mut self, frame: &ClientFrame<'_>) -> Result<usize, Refused> {
        let content = frame.content.ok_or((107, "bad_request", "`content` is missing"))?;
        self.messages += 1;
        let id = format!("{}.{}", self.id, self.messages);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let room = frame.room.as_deref();
        let text = || ServerFrame::Message { id: &id, from: &self.member.account, room, time, content }.text();
        match (&frame.to, room) {
            (Some(to), None) => {
                let to = to.iter().map(|Name(account)| &**account);
                Ok(self.hub.send_to_accounts(to, &text(), &self.member))
            }
            (None, Some(room)) if self.rooms.iter().any(|own| **own == *room) => {
                Ok(self.hub.send_to_room(room, &text(), &self.member))
            }
            (None, Some(_)) => Err((103, "permission_denied", "only members of a room may send to it")),
            _ => Err((107, "bad_request", "`to` or `room` is needed, and not both")),
        }
    }

    fn join(&mut self, room: &str) -> Result<usize, Refused> {
        if self.rooms.iter().all(|own| **own != *room) {
            if self.rooms.len() >= MAX_ROOMS {
                return Err((106, "limit_exceeded", "a connection may join 64 rooms"));
            }
            let room: Arc<str> = room.into();
            self.hub.join(&room, &self.member);
            self.rooms.push(room);
        }
        Ok(0)
    }

    fn register(&self) -> Utf8Bytes {
        let frame = ServerFrame::Register {
            content: NoContent::default(),
            connection: &self.id,
            account: &self.member.account,
            heartbeat: Times::default(),
            reconnect_spread_ms: 5_000,
            server: "tokio-peer",
        };
        frame.text()
    }
}

/// However it ends, nobody finds it any more.
impl Drop for Session {
    fn drop(&mut self) {
        self.hub.exit(&self.member, &self.rooms);
    }
}

/// Code, reason and message of an `error` frame.
type Refused = (u16, &'static str, &'static str);

fn error(id: Option<&str>, code: u16, reason: &'static str, message: &str) -> Utf8Bytes {
    ServerFrame::Error { id, error: ErrorBody { code, reason, message } }.text()
}

/// Sends these and what was fed before, together.
async fn write(
    socket: &mut WebSocketStream<TcpStream>,
    messages: impl IntoIterator<Item = Message>,
) -> Result<(), End> {
    let written = timeout(WRITE_DEADLINE, async {
        for message in messages {
            socket.feed(message).await?;
        }
        socket.flush().await
    });
    match written.await {
        Ok(written) => Ok(written?),
        Err(_) => Err(End { code: 4101, reason: "slow consumer" }),
    }
}
