//! `heartwire bench scale`: what it prints and draws, what it leaves out and refuses, and its end by a signal.

use crate::process::heartwire;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::thread::sleep;
use std::time::Duration;

/// A sweep whose points are as short as they can be.
const SHORT: [&str; 6] = ["bench", "scale", "--duration", "200ms", "--warm-up", "50ms"];

fn scale(arguments: &[&str]) -> Output {
    heartwire(&[&SHORT, arguments].concat()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// A path for a picture, removed in the end.
struct Picture(PathBuf);

impl Picture {
    fn new(name: &str) -> Self {
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.svg", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // Where the test has failed, it may not be there.
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn every_combination_is_a_point_and_all_of_them_a_picture() {
    let picture = Picture::new("sweep");
    let varied =
        ["--connections", "2,4", "--senders", "2,4", "--stack", "128KiB", "--server", "", "--server", "--page off"];
    let output =
        scale(&[&varied[..], &["--rounds", "2", "--json", "--plot", picture.path(), "--", "--drain", "1s"]].concat());
    let notes = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{notes}");
    assert!(notes.contains("left out: 4 senders of 2 connections") && notes.contains("6 points, 2 rounds"), "{notes}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        found["machine"]["processors"].as_u64() > Some(0) && found["max_connections"].as_u64() > Some(0),
        "{found}"
    );
    assert_eq!(found["rounds"], 2);
    let points = found["points"].as_array().unwrap();
    let settings =
        points.iter().map(|point| format!("{}/{} {}", point["senders"], point["connections"], point["server"]));
    let plain = ["2/2", "2/4", "4/4"].map(|point| [format!("{point} \"\""), format!("{point} \"--page off\"")]);
    assert_eq!(settings.collect::<Vec<_>>(), plain.concat());
    for point in points {
        assert!(point["delivered"].as_u64() > Some(0) && point["lost"] == 0, "{point}");
        assert_eq!((&point["workload"], &point["stack_bytes"]), (&"relay".into(), &(128 << 10).into()));
    }
    let svg = fs::read_to_string(&picture.0).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("CPU time per ") && svg.contains("--page off"), "{svg}");
}

#[test]
fn it_says_in_words_what_the_machine_bears_or_prints_a_table_for_programs() {
    let one = ["--connections", "2", "--senders", "2"];
    let output = scale(&one);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(told.contains("delivered") && told.contains("\nThis machine bears at most "), "{told}");
    let output = scale(&[&one[..], &["--csv"]].concat());
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("workload,server,connections,") && lines[1].starts_with("relay,,2,2,"), "{lines:?}");
}

#[test]
fn what_the_machine_does_not_bear_is_left_out_and_said() {
    let output = scale(&["--connections", "2,1000000", "--senders", "2"]);
    assert!(
        text(&output.stderr).contains("left out: 1,000,000 connections: more than this machine bears"),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(0));
    let output = scale(&["--connections", "1000000"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(text(&output.stderr).contains("error: no point is left; this machine bears at most "), "{output:?}");
}

#[test]
fn nonsense_is_refused_before_anything_is_measured() {
    for (arguments, code, essence) in [
        (&["--connections", "3"][..], 2, "even number"),
        (&["--connections", "0"], 2, "even number"),
        (&["--senders", "2,x"], 2, "even number"),
        (&["--stack", "much"], 2, "a size is written"),
        (&["--rounds", "0"], 2, "--rounds"),
        (&["--duration", "0s"], 2, "--duration"),
        (&["--json", "--csv"], 2, "cannot be used with"),
        (&["--duration", "1h", "--rounds", "2"], 2, "at most an hour"),
        (&["--plot", "/nowhere/at/all.svg"], 1, "--plot /nowhere/at/all.svg: No such file"),
        (&["--server", "--potato"], 1, "--potato"),
        (&["--", "--potato"], 1, "--potato"),
    ] {
        let mut command = heartwire(&["bench", "scale"]);
        let output = command.args(arguments).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{arguments:?}: {output:?}");
        let last = text(&output.stderr).lines().last().unwrap();
        assert!(last.starts_with("error: ") && last.contains(essence), "{last}");
    }
}

#[test]
fn a_point_that_fails_costs_nothing_of_those_before_it() {
    let one = ["--connections", "2", "--senders", "2", "--server", "--page off", "--server", "--potato", "--json"];
    let output = scale(&one);
    let notes = text(&output.stderr);
    assert!(output.status.code() == Some(1) && notes.lines().last().unwrap().contains("--potato"), "{notes}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["points"][0]["server"], found["points"].as_array().unwrap().len()), (&"--page off".into(), 1));
}

#[test]
fn a_signal_ends_it_with_what_was_measured_so_far() {
    // Until one comes when something has been measured.
    for waited in [500, 1_000, 2_000, 4_000, 8_000, 16_000] {
        let one = ["bench", "scale", "--connections", "2", "--senders", "2", "--duration", "10m", "--warm-up", "0s"];
        let child = heartwire(&[&one[..], &["--rounds", "2", "--json"]].concat()).spawn().unwrap();
        sleep(Duration::from_millis(waited));
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.stdout.is_empty() {
            continue;
        }
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let points = found["points"].as_array().unwrap();
        assert_eq!((points.len(), &points[0]["interrupted"]), (1, &true.into()));
        return;
    }
    panic!("nothing was measured within 16 s");
}
