//! Events for a back end: order, signatures, retries, losses, and how a webhook ends.

pub mod receiver;

use crate::support::{PATIENCE, account, eventually};
use heartwire::Recipients;
use heartwire::webhook::{Event, Webhook, WebhookOptions};
use receiver::{Answer, Post, Receiver};
use serde_json::json;
use serde_json::value::RawValue;
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SECRET: &[u8] = b"a secret for tests";
/// Longer than any test; a wait of it ends only by being woken.
const NEVER: Duration = Duration::from_secs(3_600);

/// Tries again at once.
fn options(url: &str) -> WebhookOptions {
    let mut options = WebhookOptions::new(url, SECRET.to_vec());
    (options.timeout, options.retry_first) = (PATIENCE, Duration::from_millis(1));
    options.retry_longest = Duration::from_millis(1);
    options
}

fn start(receiver: &Receiver, change: impl FnOnce(&mut WebhookOptions)) -> Webhook {
    let mut options = options(&receiver.url());
    change(&mut options);
    Webhook::start(options).unwrap()
}

fn online(name: &str) -> Event {
    Event::Presence { account: account(name), online: true, at: SystemTime::now() }
}

/// Who came online in these posts, in order.
fn names(posts: &[Post]) -> Vec<String> {
    let events = posts.iter().flat_map(|post| post.json["events"].as_array().unwrap());
    events.map(|event| event["account"].as_str().unwrap().to_owned()).collect()
}

/// Waits until nothing waits any more.
fn settled(webhook: &Webhook) {
    eventually("every event is delivered or dropped", || webhook.counts().waiting == 0);
}

#[test]
fn a_request_is_signed_and_says_what_happened() {
    let receiver = Receiver::start(|_, _| Answer::status(204));
    let webhook = start(&receiver, |_| {});
    let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let content = RawValue::from_string(r#"{ "text":"h\u0069" }"#.into()).unwrap();
    webhook.send(Event::Started);
    webhook.send(Event::Presence { account: account("älice"), online: false, at });
    let to = Some(Recipients::Accounts(vec![account("bob")]));
    webhook.send(Event::Message { id: "m1".into(), from: account("carol"), to, at, content });
    let counts = webhook.stop(PATIENCE);
    assert_eq!((counts.delivered, counts.dropped, counts.waiting, counts.failed_attempts), (3, 0, 0, 0));

    let posts = receiver.posts();
    let events: Vec<_> = posts.iter().flat_map(|post| post.json["events"].as_array().unwrap().clone()).collect();
    let expected = [
        json!({"type": "started"}),
        json!({"type": "offline", "account": "älice", "time": 1_700_000_000_000_u64}),
        json!({"type": "message", "id": "m1", "from": "carol", "to": ["bob"], "time": 1_700_000_000_000_u64,
               "content": {"text": "hi"}}),
    ];
    assert_eq!(events, expected);
    assert!(posts.last().unwrap().body.contains(r#"{ "text":"h\u0069" }"#), "content as it was written");
    for (number, post) in (1..).zip(&posts) {
        assert_eq!((&post.json["batch"], &post.json["dropped"]), (&json!(number), &json!(0)));
        assert_eq!(post.request_line, "POST /hook?key=query HTTP/1.1");
        assert_eq!(post.header("content-type"), "application/json");
        assert_eq!(post.header("user-agent"), concat!("heartwire/", env!("CARGO_PKG_VERSION")));
        let server = post.json["server"].as_str().unwrap();
        assert!(server.len() == 16 && server == posts[0].json["server"], "{server}");
        let timestamp = UNIX_EPOCH + Duration::from_secs(post.header("heartwire-timestamp").parse().unwrap());
        assert!(SystemTime::now().duration_since(timestamp).is_ok_and(|age| age < PATIENCE));
        assert!(post.is_signed_with(SECRET) && !post.is_signed_with(b"another secret"));
    }
}

#[test]
fn two_runs_have_different_names() {
    let receiver = Receiver::start(|_, _| Answer::status(200));
    for _ in 0..2 {
        let webhook = start(&receiver, |_| {});
        webhook.send(Event::Started);
        webhook.stop(PATIENCE);
    }
    let posts = receiver.posts();
    assert_ne!(posts[0].json["server"], posts[1].json["server"]);
}

#[test]
fn a_failed_batch_is_repeated_as_it_was_and_nothing_overtakes_it() {
    let receiver = Receiver::start(|n, _| Answer::status([503, 500, 429, 408, 425, 302, 200][n.min(6)]));
    let webhook = start(&receiver, |_| {});
    webhook.send(online("a"));
    eventually("the first attempt", || !receiver.posts().is_empty());
    webhook.send(online("b"));
    webhook.send(online("c"));
    settled(&webhook);
    let counts = webhook.counts();
    assert_eq!((counts.delivered, counts.dropped, counts.failed_attempts), (3, 0, 6));
    let posts = receiver.posts();
    assert!(posts[..7].iter().all(|post| post.body == posts[0].body && post.is_signed_with(SECRET)));
    assert_eq!(names(&posts[6..]), ["a", "b", "c"]);
    assert!(posts[7..].iter().all(|post| post.json["batch"] != 1));
}

#[test]
fn each_attempt_has_a_timestamp_of_its_own() {
    // One second is what a back end can ask for, and what tells two timestamps apart.
    let receiver = Receiver::start(|n, _| match n {
        0 => Answer::raw("HTTP/1.1 503 \r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"),
        _ => Answer::status(200),
    });
    let webhook = start(&receiver, |_| {});
    webhook.send(online("a"));
    settled(&webhook);
    let posts = receiver.posts();
    assert_eq!(posts.len(), 2);
    assert!(posts[1].at - posts[0].at >= Duration::from_secs(1), "Retry-After is respected");
    assert_ne!(posts[0].header("heartwire-timestamp"), posts[1].header("heartwire-timestamp"));
    assert!(posts[0].body == posts[1].body && posts[1].is_signed_with(SECRET));
}

#[test]
fn what_is_refused_is_not_repeated_and_the_next_batch_tells() {
    for status in [400, 404, 410, 413] {
        let receiver = Receiver::start(move |n, _| Answer::status(if n == 0 { status } else { 200 }));
        let webhook = start(&receiver, |_| {});
        webhook.send(online("a"));
        eventually("the loss is told although nothing else happens", || receiver.posts().len() == 2);
        webhook.send(online("b"));
        settled(&webhook);
        let counts = webhook.stop(PATIENCE);
        assert_eq!((counts.delivered, counts.dropped, counts.failed_attempts), (1, 1, 1));
        let told = |post: &Post| (post.json["batch"].clone(), post.json["dropped"].clone());
        let told: Vec<_> = receiver.posts().iter().map(told).collect();
        assert_eq!(told, [(json!(1), json!(0)), (json!(2), json!(1)), (json!(3), json!(0))], "{status}");
        assert_eq!(names(&receiver.posts()[1..]), ["b"]);
    }
}

#[test]
fn a_batch_is_given_up_after_its_time() {
    let receiver = Receiver::start(|n, _| Answer::status(if n == 0 { 503 } else { 200 }));
    let webhook = start(&receiver, |options| options.give_up_after = Duration::ZERO);
    webhook.send(online("a"));
    eventually("the loss is told", || receiver.posts().len() == 2);
    let counts = webhook.stop(PATIENCE);
    assert_eq!((counts.delivered, counts.dropped, counts.failed_attempts), (0, 1, 1));
    let told = &receiver.posts()[1].json;
    assert_eq!((&told["batch"], &told["dropped"], &told["events"]), (&json!(2), &json!(1), &json!([])));
}

#[test]
fn a_full_queue_drops_counts_and_tells_but_never_blocks() {
    let receiver = Receiver::start(|n, receiver| {
        if n == 0 {
            receiver.wait_until_opened();
        }
        Answer::status(200)
    });
    let webhook = start(&receiver, |options| options.queue_events = 10);
    webhook.send(online("first"));
    eventually("the first batch is under way", || receiver.posts().len() == 1);
    (0..1_000).for_each(|n| webhook.send(online(&n.to_string())));
    let counts = webhook.counts();
    assert_eq!((counts.waiting, counts.delivered, counts.dropped), (11, 0, 990));
    receiver.open();
    settled(&webhook);
    let posts = receiver.posts();
    assert_eq!(posts.iter().map(|post| post.json["dropped"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 990]);
    assert_eq!(names(&posts[1..]), (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!((webhook.counts().delivered, webhook.counts().dropped), (11, 990));
}

#[test]
fn many_threads_send_and_each_keeps_its_order() {
    const THREADS: usize = 8;
    const EACH: usize = 1_000;
    let receiver = Receiver::start(|n, _| Answer::status(if n % 7 == 3 { 503 } else { 200 }));
    let webhook = start(&receiver, |_| {});
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let webhook = &webhook;
            scope.spawn(move || (0..EACH).for_each(|n| webhook.send(online(&format!("{thread} {n}")))));
        }
    });
    let counts = webhook.stop(PATIENCE);
    assert_eq!((counts.delivered, counts.dropped), ((THREADS * EACH) as u64, 0));
    let taken: Vec<_> = receiver.posts().into_iter().filter(|post| post.status == 200).collect();
    assert!(taken.iter().all(|post| post.json["events"].as_array().unwrap().len() <= 100));
    let names = names(&taken);
    assert_eq!(names.len(), THREADS * EACH);
    for thread in 0..THREADS {
        let own = names.iter().filter_map(|name| name.strip_prefix(&format!("{thread} ")));
        assert!(own.map(|n| n.parse::<usize>().unwrap()).eq(0..EACH), "thread {thread}");
    }
    let connections = receiver.connections();
    assert!(connections < receiver.posts().len(), "connections are used again: {connections}");
}

#[test]
fn a_receiver_that_misbehaves_costs_an_attempt_and_no_more() {
    let long_head = format!("HTTP/1.1 200 \r\nContent-Length: 0\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let misbehaviours = [
        ("nothing", Answer::raw("")),
        ("garbage", Answer::raw("\u{1}\u{2}\r\n\r\n")),
        ("half a head", Answer::raw("HTTP/1.1 200 OK\r\nContent-")),
        ("a head too long", Answer::raw(&long_head)),
        ("a hang", Answer::Hang(String::new())),
        ("a hang within the head", Answer::Hang("HTTP/1.1 200 OK\r\n".into())),
    ];
    for (what, answer) in misbehaviours {
        let receiver = Receiver::start(move |n, _| if n == 0 { answer.clone() } else { Answer::status(200) });
        let webhook = start(&receiver, |options| options.timeout = Duration::from_millis(500));
        webhook.send(online("a"));
        settled(&webhook);
        let counts = webhook.counts();
        assert_eq!((counts.delivered, counts.dropped, receiver.posts().len() >= 2), (1, 0, true), "{what}");
    }
}

#[test]
fn the_status_decides_whatever_becomes_of_the_body() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    let endless = format!("{head}{}", "x".repeat(1 << 20));
    let receiver = Receiver::start(move |n, _| match n {
        0 => Answer::Hang(head.to_owned()),
        1 => Answer::raw(&endless),
        2 => Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"),
        _ => Answer::status(200),
    });
    let webhook = start(&receiver, |options| options.timeout = Duration::from_millis(500));
    for name in ["a", "b", "c", "d"] {
        webhook.send(online(name));
        settled(&webhook);
    }
    assert_eq!(names(&receiver.posts()), ["a", "b", "c", "d"], "each once");
    assert_eq!(webhook.counts().failed_attempts, 0);
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start(|_, _| Answer::status(200));
    let location = elsewhere.url();
    let receiver = Receiver::start(move |n, _| match n {
        0 => Answer::raw(&format!("HTTP/1.1 303 \r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")),
        _ => Answer::status(200),
    });
    let webhook = start(&receiver, |_| {});
    webhook.send(online("a"));
    settled(&webhook);
    assert_eq!((receiver.posts().len(), elsewhere.connections()), (2, 0));
}

#[test]
fn a_stop_delivers_what_waits() {
    let receiver = Receiver::start(|_, _| Answer::status(200));
    let webhook = start(&receiver, |_| {});
    (0..250).for_each(|n| webhook.send(online(&n.to_string())));
    webhook.send(Event::Stopping);
    let counts = webhook.stop(PATIENCE);
    assert_eq!((counts.delivered, counts.dropped), (251, 0));
    assert_eq!(
        receiver.posts().last().unwrap().json["events"].as_array().unwrap().last(),
        Some(&json!({"type": "stopping"}))
    );
    webhook.send(online("late"));
    assert_eq!((webhook.counts().waiting, webhook.counts().dropped), (0, 1));
    assert_eq!(webhook.stop(NEVER).dropped, 1, "again, at once");
}

#[test]
fn a_stop_ends_the_wait_after_a_failure() {
    let receiver = Receiver::start(|n, _| Answer::status(if n == 0 { 503 } else { 200 }));
    let webhook = start(&receiver, |options| (options.retry_first, options.retry_longest) = (NEVER, NEVER));
    webhook.send(online("a"));
    eventually("the attempt has failed", || webhook.counts().failed_attempts == 1);
    let counts = webhook.stop(PATIENCE);
    assert_eq!((counts.delivered, counts.dropped), (1, 0));
}

#[test]
fn a_stop_interrupts_a_back_end_that_hangs() {
    let receiver = Receiver::start(|_, _| Answer::Hang(String::new()));
    let webhook = start(&receiver, |options| options.timeout = 2 * PATIENCE);
    webhook.send(online("a"));
    webhook.send(online("b"));
    eventually("the attempt is under way", || receiver.posts().len() == 1);
    let began = Instant::now();
    let counts = webhook.stop(Duration::from_millis(50));
    assert!(began.elapsed() < PATIENCE);
    assert_eq!((counts.delivered, counts.dropped, counts.waiting), (0, 2, 0));
}

#[test]
fn a_stop_without_a_back_end_is_bounded() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let began = Instant::now();
    for url in [format!("http://{unused}/"), format!("https://{unused}/"), "http://host.invalid/".to_owned()] {
        let mut options = options(&url);
        // The lookup of a name cannot be interrupted.
        options.timeout = Duration::from_secs(1);
        let webhook = Webhook::start(options).unwrap();
        webhook.send(Event::Started);
        eventually("an attempt fails", || webhook.counts().failed_attempts > 0);
        let counts = webhook.stop(Duration::from_millis(50));
        assert_eq!((counts.delivered, counts.dropped), (0, 1), "{url}");
    }
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn a_drop_delivers_too_and_leaves_no_thread() {
    let receiver = Receiver::start(|_, _| Answer::status(200));
    let webhook = start(&receiver, |_| {});
    webhook.send(online("a"));
    drop(webhook);
    assert_eq!(names(&receiver.posts()), ["a"]);
}

#[test]
fn nothing_secret_is_shown() {
    let receiver = Receiver::start(|_, _| Answer::status(200));
    let options = options(&receiver.url());
    let shown = format!("{options:?} {:?}", Webhook::start(options.clone()).unwrap());
    assert!(!shown.contains("query") && !shown.contains("hook?") && !shown.contains(&format!("{SECRET:?}")), "{shown}");
}
