//! A back end that answers, and back ends that are down, slow, or lie: whoever asks is refused, and never kept waiting.

use super::http_server::{BackEndServer, response};
use super::{Guard, renewed, status};
use crate::support::{Client, address, configured, dial, eventually, exchange, serve_with, upgrade_request};
use heartwire::Server;
use heartwire::authenticators::{BackEnd, BackEndOptions};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ALICE: &str = r#"{"account":"alice"}"#;

fn asking(url: &str, change: impl FnOnce(&mut BackEndOptions)) -> Server {
    let mut options = BackEndOptions::new(url);
    // Long enough for the slowest machine, where an answer comes.
    options.timeout = Duration::from_secs(20);
    change(&mut options);
    let small_stacks = configured(|config| {
        config.stack_bytes = 128 << 10;
        config.handshake_deadline = Duration::from_secs(25);
        config.tcp_listen = config.listen.clone();
    });
    serve_with(small_stacks, Guard::new(BackEnd::new(options).unwrap()))
}

#[test]
fn the_back_end_sees_the_request_and_says_who_it_is() {
    let back_end = BackEndServer::start(|head, stream| {
        let response = match head {
            head if head.contains("bearer of-alice") => {
                response("200 OK", "", r#"{"account":"alice","rooms":["lobby"]}"#)
            }
            head if head.contains("bearer of-bob") => response("200 OK", "", r#"{"account":"bob"}"#),
            head if head.contains("bearer") => response("403 Forbidden", "", "SECRET"),
            _ => response("401 Unauthorized", "", "SECRET"),
        };
        stream.write_all(response.as_bytes()).unwrap();
    });
    let server = asking(&back_end.url(), |_| {});
    let mut client =
        Client::open(address(&server), "/ws?user_id=alice&token=of-alice", "Cookie: a=1\r\nAccept-Encoding: gzip\r\n");
    assert_eq!(client.json()["account"], "alice");
    let seen = back_end.requests().remove(0);
    assert!(seen.starts_with("get /auth?token=of-alice&user_id=alice http/1.1\r\n"), "{seen}");
    for line in ["cookie: a=1", "authorization: bearer of-alice", "x-forwarded-for: 127.0.0.1", "x-original-uri: /ws"] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{seen}");
    }
    assert!(seen.contains(&format!("\r\nhost: {}\r\n", back_end.address)), "{seen}");
    assert!(!seen.contains("sec-websocket-key") && !seen.contains("upgrade") && !seen.contains("gzip"), "{seen}");

    let long = format!("/ws?x={}", "'".repeat(7_000));
    assert_eq!(status(&server, &long, "of-alice"), 101, "escaped, it is three times as long");

    assert!(renewed(&mut client, "of-alice"));
    assert_eq!([renewed(&mut client, "of-bob"), renewed(&mut client, "of-carol")], [false; 2]);
    assert_eq!(status(&server, "/ws?user_id=bob", "of-alice"), 403);
    assert_eq!([status(&server, "/ws", "of-carol"), status(&server, "/ws", "")], [403, 401]);
    let refused = exchange(address(&server), upgrade_request("/ws", ""));
    assert!(refused.starts_with("HTTP/1.1 401 ") && !refused.contains("SECRET"), "{refused}");
}

#[test]
fn a_client_of_raw_tcp_is_asked_about_too() {
    let back_end = BackEndServer::saying(response("200 OK", "", ALICE));
    let server = asking(&back_end.url(), |_| {});
    let mut stream = dial(server.local_tcp_addrs()[0]);
    let hello = json!({"type": "hello", "user_id": "alice", "token": "of-alice", "device": "lamp"});
    writeln!(stream, "{hello}").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let register: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&register["type"], &register["account"]), (&json!("register"), &json!("alice")));
    let seen = back_end.requests().remove(0);
    assert!(seen.starts_with("get /auth?device=lamp&user_id=alice ") && seen.contains("bearer of-alice"), "{seen}");
}

/// What a back end does instead of answering.
fn lies() -> Vec<(&'static str, BackEndServer)> {
    let body = |body: &str| BackEndServer::saying(response("200 OK", "", body));
    let large = format!(r#"{{"account":"alice","x":"{}"}}"#, "x".repeat(64 << 10));
    vec![
        ("nothing", BackEndServer::start(|_, _| {})),
        ("no HTTP", BackEndServer::saying("SSH-2.0-OpenSSH\r\n\r\n")),
        ("an early end", BackEndServer::saying("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")),
        ("no JSON", body("alice")),
        ("no account", body("{}")),
        ("no valid account", body(r#"{"account":"a\nb"}"#)),
        ("too large", body(&large)),
        ("an error", BackEndServer::saying(response("500 Internal Server Error", "", ALICE))),
        ("not found", BackEndServer::saying(response("404 Not Found", "", ALICE))),
        ("a redirect", BackEndServer::saying(response("302 Found", "Location: /elsewhere\r\n", ALICE))),
        (
            "an upgrade",
            BackEndServer::saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        ),
        ("an endless head", endless("HTTP/1.1 200 OK\r\n", "X: y\r\n")),
        ("an endless body", endless("HTTP/1.1 200 OK\r\n\r\n", r#"{"account":"alice"}"#)),
        ("endless chunks", endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n{\r\n")),
        ("endless interim answers", endless("", "HTTP/1.1 100 Continue\r\n\r\n")),
    ]
}

fn endless(first: &'static str, then: &'static str) -> BackEndServer {
    BackEndServer::start(move |_, stream| {
        let mut next = stream.write_all(first.as_bytes());
        while next.is_ok() {
            next = stream.write_all(then.as_bytes());
        }
    })
}

#[test]
fn a_back_end_that_lies_is_as_good_as_none() {
    for (what, back_end) in lies() {
        let server = asking(&back_end.url(), |options| options.timeout = Duration::from_secs(3));
        assert_eq!(status(&server, "/ws?user_id=alice", "T"), 503, "{what}");
        let asked = back_end.requests();
        assert_eq!(asked.len(), 1, "{what}: {asked:?}");
    }
}

#[test]
fn a_back_end_that_is_down_is_as_good_as_none() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = asking(&format!("http://{free}/auth"), |_| {});
    assert_eq!(status(&server, "/ws?user_id=alice", "T"), 503);
    // Speaks no TLS.
    let back_end = BackEndServer::saying(response("200 OK", "", ALICE));
    let server =
        asking(&format!("https://{}/auth", back_end.address), |options| options.timeout = Duration::from_secs(3));
    assert_eq!(status(&server, "/ws?user_id=alice", "T"), 503);
    let server = asking("http://host.invalid/auth", |_| {});
    assert_eq!(status(&server, "/ws?user_id=alice", "T"), 503);
}

/// Lets whoever waits go on, once it is opened.
#[derive(Clone, Default)]
struct Barrier(Arc<(Mutex<bool>, Condvar)>);

impl Barrier {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |open| !*open).unwrap());
    }
}

#[test]
fn a_back_end_that_is_silent_or_dribbles_is_waited_for_no_longer_than_configured() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let silent = BackEndServer::start(move |_, _| held.wait());
    let dribbling = BackEndServer::start(|_, stream| {
        let answer = response("200 OK", "", &format!("{ALICE}{}", " ".repeat(60_000)));
        for byte in answer.bytes() {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    // Both would take longer than anybody's patience here, also for those who wait for their turn.
    for back_end in [&silent, &dribbling] {
        let server = asking(&back_end.url(), |options| {
            (options.timeout, options.concurrency) = (Duration::from_millis(300), 1);
        });
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..5).map(|_| scope.spawn(|| status(&server, "/ws", "T"))).collect();
            for client in clients {
                assert_eq!(client.join().unwrap(), 503);
            }
        });
    }
    barrier.open();
}

#[test]
fn whoever_had_to_wait_for_its_turn_is_not_kept_waiting_then() {
    let (first, second) = (Barrier::default(), Barrier::default());
    let held = [first.clone(), second.clone()];
    let back_end = BackEndServer::start(move |head, stream| {
        held[usize::from(head.contains("second"))].wait();
        // The first one answers; nobody waits for the second any more.
        let _ = stream.write_all(response("200 OK", "", ALICE).as_bytes());
    });
    let server = asking(&back_end.url(), |options| {
        (options.timeout, options.concurrency) = (Duration::from_secs(3), 1);
    });
    std::thread::scope(|scope| {
        let served = scope.spawn(|| status(&server, "/ws", "first"));
        eventually("the first asks", || back_end.requests().len() == 1);
        let waiting = scope.spawn(|| status(&server, "/ws", "second"));
        // Time for the second to stand in line; where it is not enough, it finds its place free.
        std::thread::sleep(Duration::from_millis(200));
        first.open();
        assert!([101, 503].contains(&served.join().unwrap()));
        assert_eq!(waiting.join().unwrap(), 503);
    });
    second.open();
}

#[test]
fn no_more_questions_are_asked_at_once_than_configured() {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&inside), Arc::clone(&most));
    let back_end = BackEndServer::start(move |_, stream| {
        highest.fetch_max(1 + counted.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        counted.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(response("200 OK", "", ALICE).as_bytes()).unwrap();
    });
    let server = asking(&back_end.url(), |options| options.concurrency = 2);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..10).map(|_| scope.spawn(|| status(&server, "/ws", "T"))).collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), 101);
        }
    });
    assert_eq!(back_end.requests().len(), 10);
    assert!(most.load(Ordering::SeqCst) <= 2);
}

/// How often the back end was asked when two clients, then one with another cookie, come with the same token.
fn asked(headers: &str, body: &str) -> usize {
    let back_end = BackEndServer::saying(response("200 OK", headers, body));
    let server = asking(&back_end.url(), |_| {});
    for cookie in ["a=1", "a=1", "a=2"] {
        let mut client = Client::open(address(&server), "/ws?token=T", &format!("Cookie: {cookie}\r\n"));
        assert_eq!(client.json()["account"], "alice");
    }
    back_end.requests().len()
}

#[test]
fn an_answer_is_given_again_only_to_the_same_question_and_only_if_it_says_so() {
    let after = |seconds: f64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        json!({"account": "alice", "expires_at": now + seconds}).to_string()
    };
    assert_eq!(asked("Cache-Control: private, max-age=600\r\n", ALICE), 2);
    assert_eq!(asked("Cache-Control: max-age=600\r\n", &after(600.0)), 2);
    assert_eq!(asked("", ALICE), 3);
    assert_eq!(asked("Cache-Control: no-store, max-age=600\r\n", ALICE), 3);
}

#[test]
fn a_no_is_asked_about_again_and_an_end_in_the_past_is_a_no() {
    let back_end = BackEndServer::saying(response("401 Unauthorized", "Cache-Control: max-age=600\r\n", ""));
    let server = asking(&back_end.url(), |_| {});
    assert_eq!([status(&server, "/ws", "T"), status(&server, "/ws", "T")], [401, 401]);
    assert_eq!(back_end.requests().len(), 2);
    let body = r#"{"account":"alice","expires_at":1000000000}"#;
    let back_end = BackEndServer::saying(response("200 OK", "Cache-Control: max-age=600\r\n", body));
    let server = asking(&back_end.url(), |_| {});
    assert_eq!([status(&server, "/ws", "T"), status(&server, "/ws", "T")], [401, 401]);
    assert_eq!(back_end.requests().len(), 2);
}

#[test]
fn a_server_stops_while_its_back_end_is_silent() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let back_end = BackEndServer::start(move |_, _| held.wait());
    let server = asking(&back_end.url(), |options| options.timeout = Duration::from_secs(1));
    let mut stream = dial(address(&server));
    stream.write_all(upgrade_request("/ws", "").as_bytes()).unwrap();
    eventually("it asks", || back_end.requests().len() == 1);
    server.shutdown(Duration::from_secs(20)).unwrap();
    barrier.open();
}
