//! That the pictures are SVG, and say what they should.

use super::super::report::tests::relay;
use super::*;

/// A sweep of two numbers of senders, and two servers of which one needs twice the memory.
fn points(two_servers: bool) -> Vec<Measured> {
    let servers: &[&str] = if two_servers { &["", "--page off"] } else { &[""] };
    let mut points = Vec::new();
    for (connections, senders) in [(2, 2), (500, 2), (500, 50), (10_000, 2), (10_000, 50)] {
        for server in servers {
            let mut run = Measured { server: (*server).into(), ..relay(connections, senders) };
            run.server_cost.as_mut().unwrap().resident_bytes_per_connection *= (1 + server.len()) as f64;
            points.push(run);
        }
    }
    points
}

#[test]
fn a_sweep_is_three_panels_with_a_line_for_each_setting() {
    let svg = sweep("10,000 threads: 11.9 KiB", "2 processors", &points(false)).unwrap();
    let texts = texts(&svg);
    let expected = [
        "10,000 threads: 11.9 KiB",
        "2 processors",
        "Latency of a message",
        "p50, 2 senders",
        "p99, 50 senders",
        "Memory per connection",
        "resident",
        "kernel",
        "Server CPU time per delivered message",
        "50 senders",
        "connections, a thread each",
    ];
    for text in expected {
        assert!(texts.iter().any(|found| found == text), "{text}: {texts:?}");
    }
    let ticks = |texts: &[String], wanted: &[&str]| {
        let count = |tick: &&str| texts.iter().filter(|text| text == tick).count();
        wanted.iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(ticks(&texts, &["1", "2", "10", "100", "1k", "10k"]), [3, 0, 3, 3, 3, 3], "{texts:?}");
    let few = texts_of(&[relay(2, 2), relay(4, 2)]);
    assert_eq!(ticks(&few, &["1", "2", "10", "100"]), [2, 0, 2, 0], "{few:?}");
}

#[test]
fn memory_has_a_line_for_each_setting_only_where_they_differ() {
    let labels = |points: &[Measured]| {
        let panel = panels::of_sweep(points).remove(1);
        panel.lines.into_iter().map(|line| line.label).collect::<Vec<_>>()
    };
    assert_eq!(labels(&points(false)), ["resident", "kernel"]);
    let apart = ["resident, defaults", "kernel, defaults", "resident, --page off", "kernel, --page off"];
    assert_eq!(labels(&points(true)), apart);
}

#[test]
fn few_connections_say_nothing_about_memory() {
    let panels = panels::of_sweep(&points(false));
    assert_eq!(panels[1].lines[0].points.iter().map(|(x, _)| *x).collect::<Vec<_>>(), [500.0, 10_000.0]);
    let few = panels::of_sweep(&points(false)[..1]);
    assert!(few.len() == 2 && few.iter().all(|panel| !panel.title.starts_with("Memory")), "{few:?}");
}

#[test]
fn what_is_not_known_is_not_drawn() {
    let mut runs = points(false);
    runs.iter_mut().for_each(|run| run.server_cost = None);
    assert_eq!(panels::of_sweep(&runs).len(), 1);
    assert_eq!(texts_of(&[]), ["title", "machine", "connections, a thread each"]);
}

#[test]
fn the_latency_of_one_run_is_a_line_to_the_longest() {
    let svg = latency("relay", "2 processors", &relay(50, 50).latency_us.unwrap()).unwrap();
    let texts = texts(&svg);
    for text in ["relay", "90 %", "99 %", "99.9 %", "longest", "longest 12 ms", "100 µs", "1 ms"] {
        assert!(texts.iter().any(|found| found == text), "{text}: {texts:?}");
    }
}

#[test]
fn names_are_text_whatever_they_hold() {
    let mut runs = points(true);
    runs[1].server = "--path <&\"'> \u{1}\u{1b}".into();
    let svg = sweep("<title> & more", "\u{0}", &runs).unwrap();
    let texts = texts(&svg);
    assert_eq!(texts[..2], ["<title> & more", "\\0"]);
    assert!(texts.iter().any(|text| text == "p50, 2 senders, --path <&\"'> \\u{1}\\u{1b}"), "{texts:?}");
    assert!(svg.chars().all(|c| !c.is_control() || c == '\n'), "what no XML may hold");
}

#[test]
fn no_label_is_upon_another_and_those_with_room_stay() {
    assert_eq!(apart(&[100, 20, 60]), [100, 20, 60]);
    assert_eq!(apart(&[100, 95]), [105, 90]);
    let places = apart(&[50; 8]);
    let mut sorted = places.clone();
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 14), "{places:?}");
    assert!(apart(&[]).is_empty());
}

#[test]
fn an_axis_is_never_without_length() {
    assert_eq!(decades([120.0, 3_000.0].into_iter()), 100.0..10_000.0);
    assert_eq!(decades([100.0].into_iter()), 100.0..1_000.0);
    assert_eq!(decades([0.0].into_iter()), 1.0..10.0);
    assert_eq!(decades(std::iter::empty()), 1.0..10.0);
}

/// The texts of a picture of these points.
fn texts_of(points: &[Measured]) -> Vec<String> {
    texts(&sweep("title", "machine", points).unwrap())
}

/// The texts of an SVG, in their order; fails where it is not well-formed.
fn texts(svg: &str) -> Vec<String> {
    let (mut open, mut texts, mut rest) = (Vec::new(), Vec::new(), svg);
    while let Some((text, behind)) = rest.split_once('<') {
        assert!(!text.contains('>'), "{text}");
        if open.last() == Some(&"text") && !text.trim().is_empty() {
            texts.push(unescaped(text.trim()));
        }
        let (tag, behind) = behind.split_once('>').expect("a tag ends");
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed");
            continue;
        }
        let (name, attributes) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag, ""));
        let mut parts = attributes.split('"');
        while let Some(key) = parts.next().map(str::trim).filter(|key| !key.is_empty()) {
            assert!(key.ends_with('=') && !key.contains(' '), "{attributes}");
            unescaped(parts.next().expect("a value in quotes"));
        }
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} are not closed, or {rest:?} follows");
    texts
}

/// The text that stands for this in XML.
fn unescaped(xml: &str) -> String {
    let mut parts = xml.split('&');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, rest) = part.split_once(';').expect("an entity ends");
        let character = [("lt", '<'), ("gt", '>'), ("amp", '&'), ("quot", '"'), ("apos", '\'')];
        text.push(character.iter().find(|(name, _)| *name == entity).expect(entity).1);
        text.push_str(rest);
    }
    text
}
