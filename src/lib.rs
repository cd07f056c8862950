//! heartwire: a WebSocket messaging and push server without an async runtime.
//!
//! One OS thread per connection sleeps in `recv`, and the timeout of that `recv` is the deadline that every heartbeat
//! extends. One router thread, behind bounded channels, moves messages between accounts. Whoever sends to a client
//! writes to its socket without blocking; what the kernel does not take waits in a bounded queue.
//!
//! ```text
//!             accept         handshake                one per connection: reads only
//!   clients ─▶ listener ─▶ HTTP head, auth ─▶ connection ───────────┐ commands, one hand-over per recv
//!                                                                   ▼
//!                                               router: state (accounts, rooms), inbox and control inbox
//!                                                                   │ bytes, one send per connection and turn
//!                                                                   ▼
//!                                     outbound: write side + bounded queue ─▶ socket   (flusher: only what would block)
//! ```
//!
//! # Use
//!
//! ```no_run
//! use heartwire::{Anonymous, Config, Server};
//!
//! # fn main() -> Result<(), heartwire::Error> {
//! let server = Server::bind(Config::default(), Anonymous)?; // listens on 127.0.0.1:8080
//! server.wait() // until `Handle::stop`, or a failure
//! # }
//! ```
//!
//! A [`Server`] is started with a [`Config`] and a [`Handler`], which says who comes in and what passes. Its [`Handle`]
//! sends, from any thread. With [`Protocol::Native`] clients speak the JSON protocol of `docs/protocol.md`; with
//! [`Protocol::Raw`] every message goes to the handler, and what it means is yours.
//!
//! [`client`] is a blocking client of such a server. Without a server, [`duplex`] is a blocking WebSocket for either side
//! of any connection.
//!
//! What not every program needs is behind a feature: `admin` is the HTTP interface of `docs/http-api.md`
//! ([`config::AdminConfig`] turns it on), `auth` and `back-end` bring ready-made [`authenticators`] for a handler to pass
//! its questions on to, and `back-end` a [`webhook`] to tell a back end what happens.
//!
//! # How to read the source
//!
//! A module is a kind of thread, or a pure thing that no thread owns. Start with `connection`, whose `run` is the life of
//! a connection's thread, and follow a message: `connection` decodes and dispatches it, `router` decides who gets it,
//! `outbound` sends it. `handshake` and `listener` are what came before, `admin` is the door of a back end, `server` is
//! what holds it together. `protocol`, `config`, `http` and `proxy` are pure.
//!
//! # What always holds
//!
//! - The router's state does no I/O and reads no clock; the heartbeat's clocks take `now` as an argument.
//! - After the handshake only `outbound` writes to a socket, whole frames at a time, and never blocks.
//! - Every channel and every queue is bounded; every deadline is an absolute `Instant`.
//! - Registration precedes the first byte out, and a guard's drop unregisters.
//! - Every thread is named, joined as it ends, and cannot take the process with it.
//!
//! What is deliberately absent: an async runtime, `unsafe`, compression, TLS, history. `docs/architecture.md` says why.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "admin")]
pub mod admin;
mod auth;
#[cfg(any(feature = "auth", feature = "back-end"))]
pub mod authenticators;
pub mod client;
mod clock;
pub mod config;
mod connection;
pub mod duplex;
mod error;
#[cfg(any(heartwire_fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod handler;
mod handshake;
mod http;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod limits;
mod listener;
mod metrics;
mod outbound;
#[cfg(feature = "back-end")]
mod outgoing;
mod page;
mod printable;
mod protocol;
mod proxy;
mod record;
mod router;
#[cfg(any(feature = "admin", feature = "auth", feature = "back-end"))]
mod secret;
mod server;
mod socket;
mod threads;
#[cfg(feature = "back-end")]
pub mod webhook;

pub use auth::{Identity, Permissions, Refusal};
pub use config::{Config, Protocol};
pub use error::Error;
pub use handler::{Action, Anonymous, Connection, Handler, Idle, IdleAction, IdleKind, Message, Request, Verdict};
pub use limits::Admission;
pub use metrics::{OwnMetric, OwnValue};
pub use protocol::close::{CloseKind, CloseReason, Reconnect};
pub use protocol::message::{Account, ErrorCode, FrameId, HeartbeatTimes, InvalidName, Presence, Recipients, Room};
pub use protocol::native::InvalidPushType;
pub use record::{
    ClosedConnection, ConnectionId, ConnectionInfo, Dialect, EndFilter, Explanation, OpenConnection, ReasonFilter,
    RefusedAttempt, Statistics,
};
pub use router::{
    AccountInfo, ConnectionDetail, Counts, Frame, Handle, InvalidPush, PresenceChange, Push, Reach, RoomInfo,
    SendError, Target,
};
pub use server::Server;

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
