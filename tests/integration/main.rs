//! The integration tests: a real server, real sockets, one file per subject.
//!
//! | file | what it holds |
//! |---|---|
//! | `support` | a server on a free port, a client, and waiting for a condition |
//! | `architecture` | the layer table, and what no source file may do |
//! | `handshake` | every refusal; Host, Origin, proxies, subprotocols |
//! | `messages` | the native protocol between connections: delivery, rooms, presence, order |
//! | `heartbeats` | deadlines seen from outside: silence, chatter, dribble, negotiation |
//! | `closing` | the close handshake in both directions, codes, data in flight |
//! | `overload` | slow consumers, rates, limits, full servers |
//! | `embedding` | the library: handlers, handles, panics, two servers, shutdown |
//! | `command_line` | the binary: flags, exit codes, logs, signals |
//! | `scale` | many connections: memory, threads, shutdown, and a consumer that does not read |

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod command_line;
mod handshake;
mod scale;
mod support;
