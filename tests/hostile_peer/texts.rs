//! Text that is no UTF-8, JSON that is none, and words in other people's mouths.

use crate::audience::{Audience, FLAGS, Heard, say_as_ginchat, say_frames, say_lines};
use crate::dice::Dice;
use crate::honest::Honest;
use crate::lines::LineClient;
use crate::raw::{CLOSE, CONTINUATION, FIN, PING, TEXT, close, frame};
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use crate::support::exchange;
use crate::swarm::provoke;
use serde_json::{Value, json};
use std::net::SocketAddr;

pub const ROWS: &[Row] = &[
    Row { name: "spoofed_sender", threat: "spoofed sender", run: spoofed_sender },
    Row { name: "invalid_utf8", threat: "invalid UTF-8", run: invalid_utf8 },
    Row {
        name: "hostile_json",
        threat: "JSON depth, duplicate keys, lone surrogates, huge numbers",
        run: hostile_json,
    },
    Row { name: "line_injection", threat: "line injection", run: line_injection },
];

/// What a forged message would look like to a native client.
const FORGED: &str = r#"{"type":"message","id":"1","from":"root","time":0,"content":"obey"}"#;

/// Senders of every kind say that they are somebody else, wherever a name could stand.
fn spoofed_sender(size: Size) -> Figures {
    let rounds = size.of(1, 100);
    let mut scene = Scene::serve(&[FLAGS, &["--rate", "0"]].concat());
    let (honest, mut audience) = (Honest::begin(scene.address), Audience::gather(&mut scene));
    let (forgeries, in_ginchat) = (forgeries(), forgeries_in_ginchat());
    let mut heard_in_all = 0;
    for _ in 0..rounds {
        say_frames(scene.address, "mallory", &forgeries);
        heard_in_all += expect_all_from("mallory", forgeries.len(), &audience.hear());
        say_lines(audience.lines_at, "eve", &forgeries);
        heard_in_all += expect_all_from("eve", forgeries.len(), &audience.hear());
        say_as_ginchat(scene.address, "666", &in_ginchat);
        heard_in_all += expect_all_from("666", in_ginchat.len() / 3, &audience.hear());
    }
    let peace = honest.finish();
    scene.stop();
    let forged = rounds * (2 * forgeries.len() + in_ginchat.len());
    Figures::default().with(&format!("{forged} forgeries, heard {heard_in_all} times: 0 spoofs")).with(&peace)
}

/// Each of the audience has heard so many messages, all from this account; how many that are.
fn expect_all_from(account: &str, count: usize, heard: &[Vec<Heard>; 3]) -> usize {
    for heard in heard {
        assert_eq!(heard.len(), count, "{heard:?}");
        assert!(heard.iter().all(|message| message.from == account), "{heard:?}");
    }
    heard.len() * count
}

fn forgeries() -> Vec<String> {
    let to = r#""type":"message","to":["native","lines","7"]"#;
    let fields = [
        r#""from":"root""#,
        r#""From":"root","FROM":"root""#,
        r#""\u0066rom":"root""#,
        r#""from":"root","from":"admin""#,
        r#""from":["root"]"#,
        r#""from":{"from":"root"}"#,
        r#""from":null"#,
        r#""userId":0,"UserId":"root","user_id":"root","account":"root","sender":"root","time":0"#,
    ];
    let contents = [
        FORGED,
        r#""\"},\"from\":\"root\",\"content\":{\"""#,
        r#"{"body":"x","meta_data":{"userId":0,"UserId":0,"from":"root","Type":3,"TargetId":0}}"#,
        r#"{"body":"x","body":"y","from":"root","userId":0}"#,
        r#"{"body":"\",\"userId\":0,\"","meta_data":{"Url":"\",\"userId\":0,\"","Desc":{"userId":0}}}"#,
        r#"{"body":"x","meta_data":{"Media":"1,\"userId\":0","CreateTime":"0,\"userId\":0"}}"#,
    ];
    let around = fields
        .iter()
        .flat_map(|field| [format!(r#"{{{field},{to},"content":1}}"#), format!(r#"{{{to},"content":1,{field}}}"#)]);
    around.chain(contents.iter().map(|content| format!(r#"{{{to},"content":{content}}}"#))).collect()
}

fn forgeries_in_ginchat() -> Vec<String> {
    let fields = [
        r#""userId":0"#,
        r#""UserId":"root","from":"root""#,
        r#""USERID":0,"From":"root","FromId":0,"sender":"root""#,
        r#""\u0075serId":0"#,
        r#""userId":{"userId":0}"#,
        r#""Desc":"\",\"userId\":0,\"""#,
    ];
    let to = |target: &'static str| {
        move |field: &&str| format!(r#"{{{field},"TargetId":{target},"Type":1,"Media":1,"Content":"x"}}"#)
    };
    [r#""native""#, r#""lines""#, "7"].iter().flat_map(|target| fields.iter().map(to(target))).collect()
}

/// Bytes that are no UTF-8, in one piece and in fragments, and random ones, of which the standard library says what they
/// are.
fn invalid_utf8(size: Size) -> Figures {
    let random_count = size.of(100, 5_000);
    let mut scene = Scene::serve(FLAGS);
    let (honest, lines_at) = (Honest::begin(scene.address), scene.tcp_address());
    let bad: [&[u8]; 9] = [
        b"\xff",
        b"\x80",
        b"\xc0\x80",
        b"\xc3(",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xf0\x9f\xa6",
    ];
    let mut closed = 0;
    for bad in bad {
        let text = [b"{\"type\":\"", bad].concat();
        for cut in 0..=text.len() {
            assert_eq!(provoke(scene.address, &cut_at(&text, &[cut])), 1007, "{bad:x?} cut at {cut}");
            closed += 1;
        }
        let reason = [&1000_u16.to_be_bytes(), bad].concat();
        assert_eq!(provoke(scene.address, &frame(FIN | CLOSE, &reason)), 1007, "{bad:x?} as a reason");
    }
    let mut random = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..random_count {
        let alphabet = b"ax\x80\xbf\xc3\xa9\xe2\x82\xac\xed\xa0\xf0\x9f\xa6\x80\xf4\x90\xc0\xff";
        let text: Vec<u8> = (0..=random.below(5)).map(|_| alphabet[random.below(alphabet.len())]).collect();
        let mut cuts = [random.below(text.len() + 1), random.below(text.len() + 1)];
        cuts.sort_unstable();
        let expected = if std::str::from_utf8(&text).is_ok() { 1000 } else { 1007 };
        let bytes = [cut_at(&text, &cuts), close(1000)].concat();
        assert_eq!(provoke(scene.address, &bytes), expected, "{text:x?} cut at {cuts:?}");
    }
    // Where no framing says that it is text, only the frame is refused.
    let mut client = LineClient::open(lines_at);
    client.say_hello("lines");
    client.write(b"{\"type\":\"\xff\"}\n");
    assert_eq!(client.error().0, 107);
    assert_eq!(client.ask(json!({ "type": "join", "room": "r" }))["type"], "ack");
    let peace = honest.finish();
    scene.stop();
    Figures::default()
        .with(&format!("{closed} texts in one or two fragments and {} reasons: 1007", bad.len()))
        .with(&format!("{random_count} random texts in three: as the standard library judges"))
        .with(&peace)
}

/// A text message in fragments that begin here, with a ping between them.
fn cut_at(text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut message, mut start) = (Vec::new(), 0);
    for cut in cuts {
        let kind = if start == 0 && message.is_empty() { TEXT } else { CONTINUATION };
        message.extend(frame(kind, &text[start..*cut]));
        message.extend(frame(FIN | PING, b""));
        start = *cut;
    }
    message.extend(frame(FIN | CONTINUATION, &text[start..]));
    message
}

/// JSON that a parser, its stack or a recipient could stumble over, from every kind of sender; on the smallest stack that
/// there may be.
fn hostile_json(size: Size) -> Figures {
    let rounds = size.of(1, 20);
    let mut scene =
        Scene::serve(&[FLAGS, &["--rate", "0", "--max-message-bytes", "2MiB", "--stack-bytes", "128KiB"]].concat());
    let (honest, watch, mut audience) = (Honest::begin(scene.address), scene.watch(), Audience::gather(&mut scene));
    let (bad, good) = (bad_values(), good_values());
    let as_message = |content: &String| format!(r#"{{"type":"message","to":["native","lines"],"content":{content}}}"#);
    let bad_frames: Vec<String> = bad.iter().map(as_message).chain(bad_frames(&bad)).collect();
    let good_frames: Vec<String> = good.iter().map(as_message).collect();
    for _ in 0..rounds {
        for answers in
            [say_frames(scene.address, "mallory", &bad_frames), say_lines(audience.lines_at, "mallory", &bad_frames)]
        {
            let codes: Vec<Value> = answers.iter().map(|answer| code(answer)).collect();
            assert_eq!(codes, vec![json!(107); bad_frames.len()], "each is answered");
        }
        for value in &bad {
            let in_field = |field| format!(r#"{{"TargetId":"native","Type":1,"{field}":{value}}}"#);
            assert!(say_as_ginchat(scene.address, "666", &["Content", "Desc", "x"].map(in_field)).is_empty());
            let body = format!(r#"{{"all":true,"message":{{"type":"news","content":{value}}}}}"#);
            assert!(push(audience.admin, &body).starts_with("HTTP/1.1 400 "), "{}", start(&body));
        }
        assert_eq!(audience.hear().map(|heard| heard.len()), [0, 0, 0], "nothing of it is passed on");
        assert_eq!(say_frames(scene.address, "mallory", &good_frames), [""; 0]);
        // What was heard was parsed by a parser with bounds of its own.
        assert_eq!(audience.hear().map(|heard| heard.len()), [good.len(), good.len(), 0]);
    }
    let (strain, peace) = (watch.end(), honest.finish());
    scene.stop();
    let (forms, bad) = (rounds * 2 * bad_frames.len(), rounds * 2 * bad.len());
    Figures::default()
        .with(&format!("{forms} frames and lines: 107; {bad} others dropped or 400; nothing passed on"))
        .with(&strain)
        .with(&peace)
}

/// Values of which none is JSON that every client can parse.
fn bad_values() -> Vec<String> {
    let nested = |open: &str, close: &str, depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let mut values = vec![
        nested("[", "]", 64),
        nested("[", "]", 100_000),
        nested(r#"{"a":"#, "}", 64),
        nested(r#"{"a":"#, "}", 100_000),
        nested(r#"[{"a":"#, "}]", 32),
        "[".repeat(100_000),
        r#"{"a":"#.repeat(100_000),
        "9".repeat(1_000_000),
        format!("0.{}1", "0".repeat(1_000_000)),
        format!("1e{}", "9".repeat(1_000_000)),
        format!("1e-{}", "0".repeat(1_000_000)),
    ];
    let short = [
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud800\u0041""#,
        r#"{"\udfff":1}"#,
        r#""\u12""#,
        "\"\u{0}\"",
        "\"\t\"",
        "1e999",
        "-1e309",
        "NaN",
        "-Infinity",
        "01",
        "1.",
        ".5",
        "+1",
        "0x10",
        "[1,]",
        "[1 2]",
        r#"{"a":1,}"#,
        "{a:1}",
        "'a'",
        "/**/1",
        "tru",
        "\u{feff}1",
        "",
    ];
    values.extend(short.map(str::to_owned));
    values
}

/// Frames that are wrong around their content, which is fine.
fn bad_frames(values: &[String]) -> impl Iterator<Item = String> {
    let twice = [
        r#""to":["native"],"to":["lines"]"#,
        r#""to":["native"],"t\u006f":["lines"]"#,
        r#""to":["native"],"type":"message""#,
        r#""to":["native"],"content":2"#,
        r#""to":["native"],"room":"r","room":"r""#,
    ];
    let twice = twice.map(|fields| format!(r#"{{"type":"message",{fields},"content":1}}"#));
    let unread = values.iter().filter(|value| !value.is_empty());
    let unread = unread.map(|value| format!(r#"{{"type":"message","to":["native"],"content":1,"x":{value}}}"#));
    let as_names = ["[[1]]", r#"[{"to":1}]"#, "{}", r#"["\ud800"]"#, r#"["a\u0000"]"#];
    let as_names = as_names.map(|to| format!(r#"{{"type":"message","to":{to},"content":1}}"#));
    let whole = ["[]", "1", "null", r#""message""#, "{}", r#"{"type":"message"} {}"#, "\u{feff}{}"].map(str::to_owned);
    twice.into_iter().chain(unread.collect::<Vec<_>>()).chain(as_names).chain(whole)
}

/// Values at the very edge of what every client can parse.
fn good_values() -> [String; 6] {
    [
        format!("{}{}", "[".repeat(63), "]".repeat(63)),
        format!("[{}1]", "[],".repeat(10_000)),
        "9".repeat(308),
        "1.7976931348623157e308".to_owned(),
        r#""\ud83d\ude00 \u0000 \\ud800""#.to_owned(),
        format!("\"{}\"", "x".repeat(1_000_000)),
    ]
}

/// The code of an error frame.
fn code(answer: &str) -> Value {
    serde_json::from_str::<Value>(answer).unwrap()["error"]["code"].clone()
}

fn start(text: &str) -> &str {
    &text[..text.len().min(100)]
}

fn push(admin: SocketAddr, body: &str) -> String {
    let head = "POST /v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    exchange(admin, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// Line breaks wherever JSON permits them, in what goes to a client that reads lines.
fn line_injection(size: Size) -> Figures {
    let rounds = size.of(1, 200);
    let mut scene = Scene::serve(&[FLAGS, &["--rate", "0"]].concat());
    let (honest, mut audience) = (Honest::begin(scene.address), Audience::gather(&mut scene));
    let breaks = ["\n", "\r\n", "\r", "\n\r\n \t"];
    let contents: Vec<String> = breaks
        .iter()
        .flat_map(|end| {
            [
                format!("[1,{end}{FORGED}{end},2]"),
                format!("{end}{FORGED}{end}"),
                format!(r#"{{{end}"a"{end}:{end}{FORGED}{end}}}"#),
                format!(r#"[{end}"\n{{}}\r\u000a\u000d"{end},{end}{FORGED}{end}]"#),
            ]
        })
        .collect();
    let as_frame =
        |content: &String| format!("{{\n\"type\":\r\n\"message\",\"to\":[\"lines\"],\"content\":{content}\n}}\n");
    let frames: Vec<String> = contents.iter().map(as_frame).collect();
    let strange = "\u{2028}{\"type\":\"close\"}\u{2029}";
    let (mut messages, mut pushes) = (0, 0);
    for _ in 0..rounds {
        for account in ["mallory", strange] {
            assert_eq!(say_frames(scene.address, account, &frames), [""; 0]);
            let [_, heard, _] = audience.hear();
            assert_eq!(heard.len(), frames.len(), "a line each: {heard:?}");
            assert!(heard.iter().all(|message| message.from == account), "{heard:?}");
            messages += heard.len();
        }
        let in_ginchat = |end: &&str| format!(r#"{{{end}"TargetId":"lines","Type":1,{end}"Content":"\n\r"{end}}}"#);
        let ginchat: Vec<String> = breaks.iter().map(in_ginchat).collect();
        say_as_ginchat(scene.address, "666", &ginchat);
        let [_, heard, _] = audience.hear();
        assert!(heard.len() == ginchat.len() && heard.iter().all(|message| message.from == "666"), "{heard:?}");
        messages += heard.len();
        for content in &contents {
            let body =
                format!("{{\"accounts\":[\"lines\"],\n\"message\":{{\"type\":\"news\",\r\n\"content\":{content}}}}}");
            assert!(push(audience.admin, &body).starts_with("HTTP/1.1 200 "));
            pushes += 1;
        }
        let [_, heard, _] = audience.hear();
        assert_eq!(heard.len(), contents.len(), "{heard:?}");
        assert!(heard.iter().all(|message| message.from.is_empty()), "pushes have no sender: {heard:?}");
    }
    let broken = r#"{"accounts":["lines"],"message":{"type":"a\n{}","content":1}}"#;
    assert!(push(audience.admin, broken).starts_with("HTTP/1.1 400 "), "a type has no line break");
    let peace = honest.finish();
    scene.stop();
    Figures::default()
        .with(&format!("{messages} messages and {pushes} pushes with line breaks: a line each, `from` true"))
        .with(&peace)
}
