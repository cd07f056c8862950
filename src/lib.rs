//! heartwire: a WebSocket messaging and push server without an async runtime.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod auth;
pub mod config;
mod connection;
mod error;
mod handler;
mod handshake;
mod http;
mod limits;
mod listener;
mod metrics;
mod outbound;
mod page;
mod printable;
pub mod protocol;
mod proxy;
mod router;
mod server;
mod threads;

pub use auth::{Identity, Permissions, Refusal};
pub use config::{Config, Protocol};
pub use error::Error;
pub use handler::{Anonymous, Connection, Handler, Idle, IdleKind, Message, Request, Statistics, Verdict};
pub use limits::Admission;
pub use protocol::close::{CloseKind, CloseReason, Reconnect};
pub use protocol::message::{Account, ErrorCode, Presence, Recipients, Room};
pub use router::{ConnectionId, ConnectionInfo, Counts, Frame, Handle, InvalidPush, Push, Reach, SendError, Target};
pub use server::Server;
