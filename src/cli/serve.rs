//! `heartwire serve`: a server with the flags' configuration, until a signal or a failure ends it.

use super::Failure;
use super::flags::Flags;
use heartwire::{Anonymous, Config, Error, Handle, Server};
use log::{error, info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

/// How long a server whose core has failed may still say 1011 to its connections.
const DRAIN_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT; a server that fails later than at its start says so in the log.
pub(super) fn run(flags: Flags) -> Result<ExitCode, Failure> {
    super::log::init(flags.log_format())?;
    let config = flags.into_config()?;
    raise_descriptor_limit();
    let invitation = Invitation::new(&config);
    let drain = config.drain;
    let server = Server::bind(config, Anonymous).map_err(|error| refused(&error))?;
    stop_on_signals(server.handle(), drain).map_err(|error| Failure::Run(format!("signals: {error}")))?;
    info!("{}", invitation.text(server.local_addrs()));
    if let Some(address) = server.local_tcp_addrs().first() {
        info!("raw TCP on {}: nc {}", list(server.local_tcp_addrs()), host_and_port(reachable(*address)));
    }
    info!("{}", server.admission());
    let served = server.wait();
    if let Err(error) = &served {
        error!("the server failed: {error}");
    }
    let drained = server.shutdown(if served.is_ok() { drain } else { DRAIN_AFTER_FAILURE });
    match &drained {
        Ok(()) => info!("stopped"),
        Err(error) => error!("the shutdown failed: {error}"),
    }
    Ok(if served.is_ok() && drained.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn refused(error: &Error) -> Failure {
    if error.is_configuration() { Failure::Usage(error.to_string()) } else { Failure::Run(error.to_string()) }
}

/// Every connection is a descriptor, and the usual soft limit of 1,024 is there for programs that call `select`.
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!("the limit of open files stays at {current:?}: {error}");
    }
}

/// The first signal stops the server, the second one the process: in its handler, which nothing can keep waiting.
fn stop_on_signals(handle: Handle, drain: Duration) -> io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
        signal_hook::flag::register(signal, Arc::clone(&stopping))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
            info!("{name}: stopping within {}; a second signal ends at once", humantime::format_duration(drain));
            handle.stop();
        }
    })?;
    Ok(())
}

/// What the first line of the log says about how to try the server.
struct Invitation {
    page: bool,
    path: String,
}

impl Invitation {
    fn new(config: &Config) -> Self {
        Self { page: config.page, path: config.path.clone() }
    }

    fn text(&self, listening: &[SocketAddr]) -> String {
        let list = list(listening);
        let Some(address) = listening.first().copied().map(reachable) else {
            return "listening nowhere".into();
        };
        let page = if self.page { format!("open http://{address}/ in two browser tabs, or ") } else { String::new() };
        format!("listening on {list}: {page}websocat 'ws://{address}{}?user_id=alice'", self.path)
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn host_and_port(address: SocketAddr) -> String {
    format!("{} {}", address.ip(), address.port())
}

/// The address under which this machine reaches what listens on `address`, which may stand for all of its own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(page: bool, addresses: &[&str]) -> String {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Invitation { page, path: "/ws".into() }.text(&addresses)
    }

    #[test]
    fn the_first_line_says_how_to_try_it() {
        let expected = "listening on 127.0.0.1:8080: open http://127.0.0.1:8080/ in two browser tabs, \
                        or websocat 'ws://127.0.0.1:8080/ws?user_id=alice'";
        assert_eq!(invitation(true, &["127.0.0.1:8080"]), expected);
        let expected = "listening on 0.0.0.0:80, [::1]:81: websocat 'ws://127.0.0.1:80/ws?user_id=alice'";
        assert_eq!(invitation(false, &["0.0.0.0:80", "[::1]:81"]), expected);
        let expected = "listening on [::]:80: websocat 'ws://[::1]:80/ws?user_id=alice'";
        assert_eq!(invitation(false, &["[::]:80"]), expected);
    }
}
