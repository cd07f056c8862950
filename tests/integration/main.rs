//! The integration tests: a real server, real sockets, one file per subject.
//!
//! | file | what it holds |
//! |---|---|
//! | `support` | a server on a free port, a client, and waiting for a condition |
//! | `raw` | a client made by hand: frames as bytes, and everything that the server sends |
//! | `lines` | the same for raw TCP: every line that the server sends |
//! | `process` | the binary as a process: its command, its log, its end |
//! | `vitals` | threads, descriptors, memory and CPU time of a process |
//! | `gate` | a handler that blocks |
//! | `architecture` | the layer table, and what no source file may do |
//! | `handshake` | every refusal; Host, Origin, proxies, subprotocols |
//! | `messages` | the native protocol between connections: delivery, rooms, presence, order |
//! | `routing` | what is for many and for few at the same time, with either way of doing the router's work |
//! | `presence` | who has come and gone: once for each account |
//! | `authentication` | tokens, JSON Web Tokens and the back end's word, good and bad |
//! | `tcp` | raw TCP: `hello`, lines, clients without an account, their deadlines and limits |
//! | `ginchat` | the dialect beside the native protocol, in all directions |
//! | `heartbeats` | deadlines seen from outside: silence, chatter, dribble, negotiation |
//! | `closing` | the close handshake in both directions, codes, data in flight |
//! | `overload` | slow consumers, rates, limits, full servers |
//! | `handlers` | what a handler decides, and whom its panic costs |
//! | `embedding` | the library: handles, kept connections, several servers, what does not start |
//! | `shutdown` | what a stop leaves behind, whom it waits for, and for how long |
//! | `command_line` | the binary: flags, exit codes, logs, signals |
//! | `configuration` | the file of settings, its checks and its printing, and what SIGHUP changes |
//! | `admin` | the HTTP interface: every route, and everything that is not one |
//! | `talking` | `chat` in a pipe, and `listen` |
//! | `bench` | `heartwire bench`: every workload in small, servers that do not behave, how it ends |
//! | `client` | the blocking client: answers, reconnects, heartbeats, back-pressure |
//! | `duplex` | the full-duplex WebSocket without a server |
//! | `ancestors` | the servers that this one replaces, each with a client that behaves as that system's own |
//! | `webhook` | events for a back end: order, signatures, retries, losses, its end |
//! | `why` | `heartwire why`: for each reason a scripted connection that ends so, and what is said of it |
//! | `pushing` | a back end that pushes as fast as it can |
//! | `scale` | many connections: memory, threads, shutdown, and a consumer that does not read |

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod ancestors;
mod architecture;
mod authentication;
mod bench;
mod client;
mod closing;
mod command_line;
mod configuration;
mod duplex;
mod embedding;
mod gate;
mod ginchat;
mod handlers;
mod handshake;
mod heartbeats;
mod lines;
mod messages;
mod overload;
mod presence;
mod process;
mod pushing;
mod raw;
mod routing;
mod scale;
mod shutdown;
mod support;
mod sweep;
mod talking;
mod tcp;
mod vitals;
mod webhook;
mod why;
