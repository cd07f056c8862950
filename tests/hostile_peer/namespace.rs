//! A network namespace for the server, and two cables to it, one of which can be pulled. Needs root and `ip`.

use crate::scene::run_by;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// Gone, with both cables, when it is dropped.
pub struct Namespace {
    name: String,
}

/// The cable that is pulled, and the one that stays: the network's first three numbers. This side is 1, the server's 2.
const CABLES: [(&str, &str); 2] = [("cut", "10.203.113"), ("stay", "10.203.114")];

impl Namespace {
    /// `None` where that cannot be had.
    pub fn new() -> Option<Self> {
        let namespace = Self { name: format!("hw-{}", std::process::id()) };
        let name = &namespace.name;
        let mut commands = vec![format!("netns add {name}")];
        for (cable, network) in CABLES {
            let end = namespace.end(cable);
            commands.push(format!("link add {end} type veth peer name {cable} netns {name}"));
            commands.push(format!("address add {network}.1/24 dev {end}"));
            commands.push(format!("link set {end} up"));
            commands.push(format!("-n {name} address add {network}.2/24 dev {cable}"));
            commands.push(format!("-n {name} link set {cable} up"));
        }
        commands.push(format!("-n {name} link set lo up"));
        commands.push(format!("netns exec {name} true"));
        commands.iter().all(|command| ip(command)).then_some(namespace)
    }

    /// This command, run in the namespace.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]);
        run_by(inside, command)
    }

    /// The flags by which the server listens at the end of both cables.
    pub fn listen_flags(&self) -> [String; 4] {
        let [cut, stay] = CABLES.map(|(_, network)| format!("{network}.2:0"));
        ["--listen".into(), cut, "--listen".into(), stay]
    }

    /// Where it listens, as its log says: at the end of the cable to be pulled, and of the other one.
    pub fn addresses(&self, line: &str) -> [SocketAddr; 2] {
        CABLES.map(|(_, network)| {
            let start = line.find(&format!("{network}.2:")).expect(line);
            let end = line[start..].find([',', ' ']).expect(line);
            line[start..start + end].trim_end_matches(':').parse().expect(line)
        })
    }

    /// From now on nothing goes through the first cable, and nobody is told.
    pub fn pull_the_cable(&self) {
        let (cable, _) = CABLES[0];
        assert!(ip(&format!("link set {} down", self.end(cable))));
    }

    /// The name of this end of a cable.
    fn end(&self, cable: &str) -> String {
        format!("{cable}-{}", std::process::id())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cables go with it.
        ip(&format!("netns delete {}", self.name));
    }
}

fn ip(arguments: &str) -> bool {
    let run = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}
