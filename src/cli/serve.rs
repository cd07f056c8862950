//! `heartwire serve`: a server with the flags' configuration, until a signal or a failure ends it.

use super::Failure;
use super::gate::{Gate, Reporter};
use super::reload::Running;
use super::settings::Settings;
use super::setup::{Absent, Parts};
use heartwire::{Config, Error, Server};
use log::{error, info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

/// How long a server whose core has failed may still say 1011 to its connections.
const DRAIN_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// What the webhook has at least to report the end.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT, and reads its settings anew at SIGHUP; a server that fails later than at its start says
/// so in the log.
pub(super) fn run(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    // One that comes during the start waits: by default it would end the process.
    let signals = Signals::new([SIGHUP]).map_err(|error| no_signals(&error))?;
    let settings = Settings::load(arguments)?;
    super::log::init(settings.flags()?.log_format())?;
    let setup = settings.setup()?;
    let authentication = setup.authentication.to_string();
    let Parts { config, authenticator, webhook } = setup.open(Absent::Make)?;
    raise_descriptor_limit();
    let invitation = Invitation::new(&config, authenticator.is_some(), authentication);
    let (gate, drain) = (Gate::new(authenticator), config.drain);
    let server = {
        let mut reporter = gate.reporter();
        let admin = config.admin.listen.clone();
        let server = Server::bind(config, gate.clone()).map_err(|error| refused(&error, &admin))?;
        let started = webhook.as_ref().map(Reporter::start).transpose();
        *reporter = started.map_err(|error| Failure::Run(error.to_string()))?;
        server
    };
    let first = settings.clone();
    let (latest, waiting) = (settings, BTreeSet::new());
    let mut running = Running { arguments, first, latest, waiting, gate: gate.clone(), webhook, drain };
    let served = serve(&server, signals, &mut running, &invitation).map_err(|error| no_signals(&error))?;
    Ok(conclude(server, &served, running.drain, &gate))
}

/// Stops a server that was asked to stop, or that has failed, and has that reported; the exit code says whether all of it
/// went well.
fn conclude(server: Server, served: &Result<(), Error>, drain: Duration, gate: &Gate) -> ExitCode {
    if let Err(error) = served {
        error!("the server failed: {error}");
    }
    let drain = if served.is_ok() { drain } else { DRAIN_AFTER_FAILURE };
    let end = Instant::now() + drain;
    let drained = server.shutdown(drain);
    let reporter = gate.reporter().take();
    if let Some(reporter) = reporter {
        reporter.stop(end.saturating_duration_since(Instant::now()).max(LAST_REPORTS));
    }
    match &drained {
        Ok(()) => info!("stopped"),
        Err(error) => error!("the shutdown failed: {error}"),
    }
    if served.is_ok() && drained.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Until the server stops or fails: this thread waits for it, another one for signals.
fn serve(
    server: &Server,
    mut signals: Signals,
    running: &mut Running<'_>,
    invitation: &Invitation,
) -> io::Result<Result<(), Error>> {
    add_stops(&signals)?;
    let waiting = signals.handle();
    thread::scope(|scope| {
        thread::Builder::new().name("signals".into()).spawn_scoped(scope, || obey(&mut signals, server, running))?;
        invitation.log(server);
        let served = server.wait();
        waiting.close();
        Ok(served)
    })
}

/// Adds the signals to stop. The second one ends the process: in its handler, which nothing can keep waiting.
fn add_stops(signals: &Signals) -> io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
        signal_hook::flag::register(signal, Arc::clone(&stopping))?;
        signals.add_signal(signal)?;
    }
    Ok(())
}

fn no_signals(error: &io::Error) -> Failure {
    Failure::Run(format!("signals: {error}"))
}

fn obey(signals: &mut Signals, server: &Server, running: &mut Running<'_>) {
    for signal in signals.forever() {
        if signal == SIGHUP {
            running.reload(server);
            continue;
        }
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
        let drain = humantime::format_duration(running.drain);
        info!("{name}: stopping within {drain}; a second signal ends at once");
        server.handle().stop();
    }
}

fn refused(error: &Error, admin: &[SocketAddr]) -> Failure {
    match error {
        // Whoever starts a second server has given it another address for clients, and may not know of this one.
        Error::Listen(address, _) if admin.contains(address) => {
            Failure::Run(format!("{error}: --admin-listen takes another address for the HTTP API, or off"))
        }
        error if error.is_configuration() => Failure::Usage(error.to_string()),
        error => Failure::Run(error.to_string()),
    }
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

/// What the first line of the log says about how to try the server.
struct Invitation {
    page: bool,
    path: String,
    authenticates: bool,
    authentication: String,
}

impl Invitation {
    fn new(config: &Config, authenticates: bool, authentication: String) -> Self {
        Self { page: config.page, path: config.path.clone(), authenticates, authentication }
    }

    /// How to try the server, and what it bears.
    fn log(&self, server: &Server) {
        info!("{}", self.text(server.local_addrs()));
        if let Some(address) = server.local_tcp_addrs().first() {
            info!("raw TCP on {}: nc {}", list(server.local_tcp_addrs()), host_and_port(reachable(*address)));
        }
        if let Some(address) = server.local_admin_addrs().first() {
            info!(
                "HTTP API on {}: http://{}/ shows how it goes",
                list(&server.local_admin_addrs()),
                reachable(*address)
            );
        }
        info!("authentication: {}", self.authentication);
        info!("{}", server.admission());
    }

    fn text(&self, listening: &[SocketAddr]) -> String {
        let list = list(listening);
        let Some(address) = listening.first().copied().map(reachable) else {
            return "listening nowhere".into();
        };
        let (query, fragment) = match self.authenticates {
            true => ("token=TOKEN", "#alice&token=TOKEN in a browser tab"),
            false => ("user_id=alice", " in two browser tabs"),
        };
        let page = if self.page { format!("open http://{address}/{fragment}, or ") } else { String::new() };
        format!("listening on {list}: {page}websocat 'ws://{address}{}?{query}'", self.path)
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
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn a_server_that_has_failed_is_over_soon_and_its_end_is_a_failure() {
        let mut config = Config::default();
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let gate = Gate::new(None);
        let server = Server::bind(config, gate.clone()).unwrap();
        // It will not answer the Close: a stop that was asked for would wait for that.
        let mut client = TcpStream::connect(server.local_addrs()[0]).unwrap();
        let request = "GET /ws?user_id=a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
        let (failure, begun) = (Err(Error::Failed("the router panicked: on purpose".into())), Instant::now());
        let code = conclude(server, &failure, Duration::from_secs(100), &gate);
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
        assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    }

    fn invitation(page: bool, addresses: &[&str]) -> String {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let authentication = String::new();
        Invitation { page, path: "/ws".into(), authenticates: false, authentication }.text(&addresses)
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
