//! The picture of one search in the document, drawn from a simulated run.

use super::*;
use path::Silence;
use std::fmt::Write;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/adaptive-heartbeat.svg");

const TOLERATES: Duration = Duration::from_secs(5 * 60);

/// Pixels for each minute of the run and of the interval, and where the interval 0 is.
const ACROSS: f64 = 7.2;
const UP: f64 = 44.0;
const BASE: f64 = 350.0;

/// A part of the run, beside the other one.
struct Panel {
    left: f64,
    from: Duration,
    minutes: u32,
}

const PANELS: [Panel; 2] = [
    Panel { left: 70.0, from: Duration::ZERO, minutes: 60 },
    Panel { left: 566.0, from: Duration::from_secs((24 * 60 + 30) * 60), minutes: 40 },
];

#[test]
fn the_picture_shows_what_happens() {
    assert!(fs::read_to_string(FILE).unwrap() == draw(), "run the ignored test `draws_the_picture`");
}

#[test]
#[ignore = "writes docs/adaptive-heartbeat.svg"]
fn draws_the_picture() {
    fs::write(FILE, draw()).unwrap();
}

fn draw() -> String {
    let mut path = Path::new(adaptive(), TOLERATES);
    path.run_for(DAY + 2 * 60 * MINUTE);
    let mut svg = String::from(HEAD);
    for panel in &PANELS {
        panel.axes(&mut svg);
        panel.silences(&mut svg, &path.history);
    }
    svg.push_str(NOTES);
    svg
}

impl Panel {
    fn x(&self, time: Duration) -> f64 {
        self.left + (time.as_secs_f64() - self.from.as_secs_f64()) / 60.0 * ACROSS
    }

    fn right(&self) -> f64 {
        self.left + f64::from(self.minutes) * ACROSS
    }

    fn axes(&self, svg: &mut String) {
        let (left, right) = (self.left, self.right());
        for minute in 0..=6 {
            let y = y(minute * MINUTE);
            let class = if minute == 0 { "axis" } else { "grid" };
            writeln!(svg, r#"<path class="{class}" d="M{left:.1} {y:.1}H{right:.1}"/>"#).unwrap();
            if self.from.is_zero() {
                writeln!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{minute}</text>"#, left - 8.0, y + 5.0)
                    .unwrap();
            }
        }
        for minute in (0..=self.minutes).step_by(10) {
            let time = self.from + minute * MINUTE;
            let (x, minutes) = (self.x(time), time.as_secs() / 60);
            let label = format!("{}:{:02}", minutes / 60, minutes % 60);
            writeln!(svg, r#"<path class="axis" d="M{x:.1} {BASE:.1}v6"/>"#).unwrap();
            writeln!(svg, r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#, BASE + 22.0).unwrap();
        }
        let y = y(TOLERATES);
        writeln!(svg, r#"<path class="limit" d="M{left:.1} {y:.1}H{right:.1}"/>"#).unwrap();
    }

    /// Each silence as a line as high as it is long, which ends in a dot, or in a cross where the connection was lost.
    fn silences(&self, svg: &mut String, history: &[Silence]) {
        let end = self.from + self.minutes * MINUTE;
        let shown: Vec<_> = history.iter().filter(|silence| (self.from..end).contains(&silence.end)).collect();
        let mut line = String::new();
        for silence in &shown {
            let y = y(silence.interval);
            match line.is_empty() {
                true => write!(line, "M{:.1} {y:.1}", self.left).unwrap(),
                false => write!(line, "V{y:.1}").unwrap(),
            }
            write!(line, "H{:.1}", self.x(silence.end)).unwrap();
        }
        writeln!(svg, r#"<path class="silence" d="{line}"/>"#).unwrap();
        for silence in &shown {
            let (x, y) = (self.x(silence.end), y(silence.interval));
            if silence.lost {
                writeln!(svg, r#"<path class="lost" d="M{:.1} {:.1}l14 14m0 -14l-14 14"/>"#, x - 7.0, y - 7.0).unwrap();
            } else {
                writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5"/>"#).unwrap();
            }
        }
    }
}

fn y(interval: Duration) -> f64 {
    BASE - interval.as_secs_f64() / 60.0 * UP
}

const HEAD: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 430" font-family="sans-serif" font-size="14" fill="#222">
<title>The interval of an adaptive heartbeat on a path that forgets a connection after 5 minutes of silence</title>
<style>
path { fill: none; }
.axis { stroke: #222; }
.grid { stroke: #ddd; }
.limit { stroke: #b3261e; stroke-dasharray: 7 5; stroke-width: 1.5; }
.silence { stroke: #1a5fb4; stroke-width: 2; }
.lost { stroke: #b3261e; stroke-width: 3; }
circle { fill: #1a5fb4; }
.name { font-weight: bold; font-size: 16px; }
.bad { fill: #b3261e; }
</style>
<rect width="880" height="430" fill="#fff"/>
<text class="name" x="70" y="32">How long each silence was, on a path that forgets a connection after 5 min of it</text>
<text x="22" y="218" text-anchor="middle" transform="rotate(-90 22 218)">silence before a beat (min)</text>
<text x="462" y="404" text-anchor="middle">time since the first connection (h:min)</text>
"##;

const NOTES: &str = r#"<text class="bad" x="76" y="122">longer than this path tolerates</text>
<text class="bad" x="380" y="84" text-anchor="middle">lost: one step and 20 s back</text>
<text x="436" y="192" text-anchor="middle">settled at 4 min 10 s</text>
<text x="176" y="284">after three answers, a step</text>
<text class="bad" x="710" y="84" text-anchor="middle">one try a day: lost, and back</text>
<text x="534" y="354" text-anchor="middle">…</text>
<circle cx="660" cy="275" r="3.5"/>
<text x="676" y="280">a beat that was answered</text>
<path class="lost" d="M653 288l14 14m0 -14l-14 14"/>
<text x="676" y="300">a connection that was lost</text>
</svg>
"#;
