//! What the machine bears and the token bucket, on machines and clocks of paper.

use super::*;
use std::collections::HashMap;

fn small_machine() -> Machine {
    Machine {
        max_map_count: Some(65_530),
        open_files: Some(1_048_576),
        processes: None,
        cgroup_pids: None,
        threads_max: Some(120_000),
        pid_max: Some(4_194_304),
        threads_running: 5,
    }
}

fn budget(threads: u64) -> Budget {
    Budget { threads, limited_by: "vm.max_map_count", remedy: "sysctl vm.max_map_count" }
}

#[test]
fn the_tightest_limit_makes_the_budget() {
    let machine = small_machine();
    assert_eq!(thread_budget(&machine), budget(13_100), "four fifths of 65,530 / 4, less the 5 that run");

    let tight = |change: fn(&mut Machine)| {
        let mut machine = machine.clone();
        change(&mut machine);
        let Budget { threads, limited_by, .. } = thread_budget(&machine);
        (threads, limited_by)
    };
    assert_eq!(tight(|m| m.open_files = Some(1_064)), (795, "RLIMIT_NOFILE"));
    assert_eq!(tight(|m| m.open_files = Some(10)), (0, "RLIMIT_NOFILE"));
    assert_eq!(tight(|m| m.processes = Some(500)), (395, "RLIMIT_NPROC"));
    assert_eq!(tight(|m| m.cgroup_pids = Some(100)), (75, "pids.max"));
    assert_eq!(tight(|m| m.threads_max = Some(1_001)), (795, "kernel.threads-max"));
    assert_eq!(tight(|m| m.pid_max = Some(4)), (0, "kernel.pid_max"));
    assert_eq!(tight(|m| m.max_map_count = None), (95_995, "kernel.threads-max"));
}

#[test]
fn where_nothing_is_known_little_is_assumed() {
    let machine = Machine { open_files: Some(1 << 20), ..Machine::default() };
    assert_eq!(thread_budget(&machine).threads, 1_638);
    assert_eq!(thread_budget(&Machine { open_files: Some(164), ..machine }).limited_by, "RLIMIT_NOFILE");
}

#[test]
fn this_machine_can_be_read() {
    let machine = Machine::read();
    assert!(machine.threads_running >= 1);
    assert!(!cfg!(target_os = "linux") || machine.pid_max.is_some());
}

#[test]
fn the_smallest_limit_of_the_enclosing_groups_counts() {
    let files = HashMap::from([
        ("/sys/fs/cgroup/system.slice/heartwire.service/pids.max", "max\n"),
        ("/sys/fs/cgroup/system.slice/pids.max", "400\n"),
        ("/sys/fs/cgroup/pids/docker/pids.max", "300\n"),
        ("/sys/fs/cgroup/pids/pids.max", "700\n"),
    ]);
    let smallest = |groups: &str| smallest_pids_max(groups, |path| files.get(path.to_str()?).map(ToString::to_string));
    assert_eq!(smallest("0::/system.slice/heartwire.service\n"), Some(400));
    assert_eq!(smallest("9:name=systemd:/a\n8:pids:/docker/0a1b\n4:memory:/a:b\n"), Some(300));
    assert_eq!(smallest("8:cpu,pids:/of/the/host\n0::/\n"), Some(700), "the mount begins at the group itself");
    assert_eq!(smallest("0::/../system.slice\n"), Some(400), "a group outside of the namespace does not lead out");
    assert_eq!(smallest("0::/\n"), None);
    assert_eq!(smallest("nonsense\n\n"), None);
}

#[test]
fn connections_handshakes_and_fixed_threads_all_take_their_part() {
    for room in 2..2_000_usize {
        let admission = admission(None, &budget(room as u64 + 7), 7).unwrap();
        let threads = |connections: usize| connections + (connections / 4).max(1);
        let Admission { max_connections, max_handshakes, .. } = admission;
        assert!(max_handshakes >= (max_connections / 4).max(1));
        assert!(max_connections >= 1 && max_connections + max_handshakes <= room, "too many for {room}");
        assert!(threads(max_connections + 1) > room, "{max_connections} leave some of {room} unused");
    }
}

#[test]
fn a_small_server_lets_its_clients_come_at_once() {
    let handshakes = |max| admission(Some(max), &budget(10_000), 7).unwrap().max_handshakes;
    assert_eq!([1, 4, 16, 64, 100].map(handshakes), [1, 4, 16, 16, 25]);
}

#[test]
fn the_smaller_of_configuration_and_machine_wins() {
    let configured = admission(Some(10_000), &budget(13_000), 10).unwrap();
    let text = "at most 10000 connections, 2500 of them in their handshake, limited by max-connections";
    assert_eq!(configured.to_string(), text);

    let machine = admission(Some(10_000), &budget(5_010), 10).unwrap();
    assert_eq!(machine, admission(None, &budget(5_010), 10).unwrap());
    let text = "at most 4000 connections, 1000 of them in their handshake, limited by vm.max_map_count \
                (raised by sysctl vm.max_map_count)";
    assert_eq!(machine.to_string(), text);

    let exactly = admission(Some(4_000), &budget(5_010), 10).unwrap();
    assert_eq!(exactly.remedy, None);
}

#[test]
fn a_machine_without_room_for_one_connection_is_an_error() {
    let error = admission(Some(1), &budget(8), 7).unwrap_err();
    let text = "no room for one connection: 9 threads are needed, vm.max_map_count leaves 8 \
                (raised by sysctl vm.max_map_count)";
    assert_eq!(error.to_string(), text);
    assert_eq!(admission(Some(1), &budget(9), 7).unwrap().max_connections, 1);
    assert_eq!(admission(None, &budget(u64::MAX), 7).unwrap().max_handshakes, (u64::MAX / 5) as usize - 2);
}

const NANOSECOND: Duration = Duration::from_nanos(1);

fn bucket(per_second: u32, burst: u32) -> (TokenBucket, Instant) {
    let start = Instant::now();
    (TokenBucket::new(Rate { per_second, burst }, start), start)
}

#[test]
fn a_burst_passes_and_then_the_rate() {
    let (mut bucket, start) = bucket(10, 3);
    assert!((0..3).all(|_| bucket.take(1, start)));
    let next = start + Duration::from_millis(100);
    assert_eq!(bucket.wait_for(1, start), Duration::from_millis(100));
    assert!(!bucket.take(1, next - NANOSECOND));
    assert!(bucket.take(1, next));
    assert!(!bucket.take(1, next));
}

#[test]
fn a_rate_that_divides_no_second_does_not_drift() {
    let (mut bucket, start) = bucket(3, 2);
    assert!(bucket.take(2, start));
    for tokens in 1..=3_000_u64 {
        let due = start + Duration::from_nanos((tokens * 1_000_000_000).div_ceil(3));
        assert!(!bucket.take(1, due - NANOSECOND), "token {tokens} came early");
        assert!(bucket.take(1, due), "token {tokens} came late");
    }
}

#[test]
fn looking_often_changes_nothing() {
    let (mut bucket, start) = bucket(7, 1);
    assert!(bucket.take(1, start));
    let due = Duration::from_nanos(142_857_143);
    for nanoseconds in (0..142_857_143).step_by(10_007) {
        let now = start + Duration::from_nanos(nanoseconds);
        assert!(!bucket.take(1, now));
        assert_eq!(now + bucket.wait_for(1, now), start + due);
    }
    assert!(bucket.take(1, start + due));
}

#[test]
fn a_bucket_holds_no_more_than_its_burst() {
    let (mut bucket, start) = bucket(u32::MAX, u32::MAX);
    let later = start + Duration::from_secs(100 * 366 * 24 * 3600);
    assert!(bucket.take(u32::MAX.into(), later));
    assert_eq!(bucket.wait_for(1, later), NANOSECOND);
    assert_eq!(bucket.wait_for(u32::MAX.into(), later), Duration::from_secs(1));
}

#[test]
fn more_than_the_burst_passes_only_when_full_and_is_owed() {
    let (mut bucket, start) = bucket(100, 200);
    assert!(bucket.take(1, start));
    let full = start + Duration::from_millis(10);
    assert_eq!(bucket.wait_for(256, start), Duration::from_millis(10));
    assert!(!bucket.take(256, full - NANOSECOND));
    assert!(bucket.take(256, full));
    assert!(bucket.take(0, full), "nothing can always be taken");
    assert_eq!(bucket.wait_for(1, full), Duration::from_millis(570), "56 are owed before the next one");
    assert!(!bucket.take(1, full + Duration::from_millis(570) - NANOSECOND));
    assert!(bucket.take(1, full + Duration::from_millis(570)));
}

#[test]
fn a_clock_read_earlier_refills_nothing_twice() {
    let (mut bucket, start) = bucket(1, 1);
    let later = start + Duration::from_secs(1);
    assert!(bucket.take(1, later));
    assert!(!bucket.take(1, start));
    assert!(bucket.take(0, start));
    assert_eq!(bucket.wait_for(1, later), Duration::from_secs(1));
}
