//! Which points a sweep measures, in which order, and how long that takes.

use super::super::report::number;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a point takes besides its connections and what is measured: a server's start and its end, memory that settles.
const FIXED: Duration = Duration::from_millis(500);
/// What a connection takes to be opened and closed again.
const CONNECTION: Duration = Duration::from_micros(400);

/// What is varied; every combination of it is a point.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    pub(super) connections: Vec<usize>,
    /// Empty for that of the server.
    pub(super) stacks: Vec<usize>,
    pub(super) senders: Vec<usize>,
    /// What servers are started with; empty for the defaults alone.
    pub(super) servers: Vec<String>,
    pub(super) rounds: u32,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) connections: usize,
    pub(super) stack_bytes: Option<usize>,
    pub(super) senders: usize,
    pub(super) server: String,
}

/// What is measured of a sweep.
#[derive(Debug)]
pub(super) struct Course {
    /// Those to be compared with each other beside each other.
    pub(super) points: Vec<Point>,
    /// What is not measured, and why, in words.
    pub(super) left_out: Vec<String>,
    /// About how long all of it takes.
    pub(super) time: Duration,
}

impl Sweep {
    /// The points that a machine has room for.
    pub(super) fn course(&self, max_connections: usize) -> Course {
        let mut course = Course { points: Vec::new(), left_out: Vec::new(), time: Duration::ZERO };
        for connections in sorted(&self.connections) {
            let some_connections = format!("{} connections", number(connections as f64));
            if connections > max_connections {
                course.left_out.push(format!("{some_connections}: more than this machine bears"));
                continue;
            }
            for senders in sorted(&self.senders) {
                if senders > connections {
                    course.left_out.push(format!("{} senders of {some_connections}", number(senders as f64)));
                    continue;
                }
                course.points.extend(self.variants(connections, senders));
            }
        }
        let round: Duration = course.points.iter().map(|point| self.time_of(point)).sum();
        course.time = round * self.rounds;
        course
    }

    /// The stacks and servers with which some connections and senders are measured.
    fn variants(&self, connections: usize, senders: usize) -> impl Iterator<Item = Point> {
        let stacks = sorted(&self.stacks).into_iter().map(Some);
        let stacks: Vec<_> = if self.stacks.is_empty() { vec![None] } else { stacks.collect() };
        let servers = if self.servers.is_empty() { vec![String::new()] } else { self.servers.clone() };
        let point =
            move |stack_bytes, server: &String| Point { connections, senders, stack_bytes, server: server.clone() };
        stacks.into_iter().flat_map(move |stack| servers.iter().map(|server| point(stack, server)).collect::<Vec<_>>())
    }

    fn time_of(&self, point: &Point) -> Duration {
        let connections = u32::try_from(point.connections).unwrap_or(u32::MAX);
        FIXED + CONNECTION * connections + self.warm_up + self.duration
    }
}

/// Each value once, the smallest first.
fn sorted(values: &[usize]) -> Vec<usize> {
    values.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep() -> Sweep {
        Sweep {
            connections: vec![2_000, 2, 50],
            stacks: Vec::new(),
            senders: vec![50, 2],
            servers: Vec::new(),
            rounds: 1,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(2),
        }
    }

    fn shown(course: &Course) -> Vec<String> {
        let text = |point: &Point| {
            let stack = point.stack_bytes.map(|stack| format!(" {stack}")).unwrap_or_default();
            format!("{}/{}{stack} {}", point.senders, point.connections, point.server).trim_end().to_owned()
        };
        course.points.iter().map(text).collect()
    }

    #[test]
    fn every_combination_is_measured_that_there_is_room_for() {
        let course = sweep().course(1_000);
        assert_eq!(shown(&course), ["2/2", "2/50", "50/50"]);
        assert_eq!(course.left_out, ["50 senders of 2 connections", "2,000 connections: more than this machine bears"]);
        assert_eq!(sweep().course(2_000).points.len(), 5);
        assert!(sweep().course(1).points.is_empty());
    }

    #[test]
    fn what_is_compared_is_measured_side_by_side() {
        let servers = ["", "--router helped"].map(str::to_owned).to_vec();
        let sweep = Sweep { connections: vec![2, 2], stacks: vec![128, 64], senders: vec![2], servers, ..sweep() };
        let expected = ["2/2 64", "2/2 64 --router helped", "2/2 128", "2/2 128 --router helped"];
        assert_eq!(shown(&sweep.course(10)), expected);
    }

    #[test]
    fn the_time_grows_with_all_that_is_asked_for() {
        let time = |sweep: &Sweep| sweep.course(100_000).time;
        let usual = time(&sweep());
        assert!(usual >= Duration::from_secs(5 * 3), "{usual:?}");
        assert_eq!(time(&Sweep { rounds: 3, ..sweep() }), usual * 3);
        assert_eq!(time(&Sweep { duration: Duration::from_secs(3), ..sweep() }), usual + Duration::from_secs(5));
        assert!(time(&Sweep { connections: vec![2, 50, 20_000], ..sweep() }) > usual);
    }
}
