//! The integration tests: a real server, real sockets, one file per subject.
//!
//! | file | what it holds |
//! |---|---|
//! | `support` | a server on a free port, a client, and waiting for a condition |
//! | `raw` | a client made by hand: frames as bytes, and everything that the server sends |
//! | `gate` | a handler that blocks |
//! | `architecture` | the layer table, and what no source file may do |
//! | `handshake` | every refusal; Host, Origin, proxies, subprotocols |
//! | `messages` | the native protocol between connections: delivery, rooms, presence, order |
//! | `heartbeats` | deadlines seen from outside: silence, chatter, dribble, negotiation |
//! | `closing` | the close handshake in both directions, codes, data in flight |
//! | `overload` | slow consumers, rates, limits, full servers |
//! | `handlers` | what a handler decides, and whom its panic costs |
//! | `embedding` | the library: handles, kept connections, several servers, what does not start |
//! | `shutdown` | what a stop leaves behind, whom it waits for, and for how long |
//! | `command_line` | the binary: flags, exit codes, logs, signals |
//! | `client` | the blocking client: answers, reconnects, heartbeats, back-pressure |
//! | `duplex` | the full-duplex WebSocket without a server |
//! | `scale` | many connections: memory, threads, shutdown, and a consumer that does not read |

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod client;
mod closing;
mod command_line;
mod duplex;
mod embedding;
mod gate;
mod handlers;
mod handshake;
mod heartbeats;
mod messages;
mod overload;
mod raw;
mod scale;
mod shutdown;
mod support;
