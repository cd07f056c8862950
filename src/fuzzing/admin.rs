//! A request to the second listener: answered once, completely and in time, and only where its key opens what it asks for.

use super::pieces;
use super::request::assert_response;
use super::stage::{Deed, Stage};
use crate::admin::{self, Admin};
use crate::clock;
use crate::config::{AdminKey, AdminRole, Config};
use crate::handler::Anonymous;
use crate::threads::lock;
use std::time::Duration;

/// What a request that may do everything bears.
const KEY: &str = "hwk_0123456789abcdef0123456789abcdef";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const STATUSES: [u16; 14] = [200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 431, 500, 503];
/// How late a deadline may be.
const LATE: Duration = Duration::from_millis(100);

/// The first byte says whether a key is needed and how the rest arrives, which is what a client sends.
pub fn admin(input: &[u8]) {
    let Some((how, bytes)) = input.split_first() else { return };
    let is_guarded = *how >= 128;
    let mut config = Config { closed_connections: 4, ..Config::default() };
    if is_guarded {
        config.admin.keys = vec![AdminKey::new("operator", AdminRole::Admin, KEY)];
    }
    let (handshake, assembly, linger) = (config.handshake_deadline, config.assembly_deadline, config.linger);
    let stage = Stage::new(config, Anonymous);
    let begin = clock::now();
    let deeds = pieces(*how, bytes).map(|piece| Deed::Send(piece.to_vec()));
    let (accepted, world) = stage.enter("127.0.0.1:1".parse().unwrap(), 1 << 20, deeds.collect());
    admin::run(&accepted, &stage.shared, &Admin::new());
    let took = clock::now() - begin;
    assert!(took <= handshake + assembly + linger + LATE, "it took {took:?}");
    stage.clear(accepted);
    world.read_to_end();
    let outside = lock(&world.0);
    let answer = outside.read.strip_prefix(CONTINUE).unwrap_or(&outside.read);
    let body = assert_response(answer, &STATUSES);
    if answer.starts_with(b"HTTP/1.1 200 ") {
        let path = bytes.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let is_open =
            ["/v1", "/metrics"].iter().all(|guarded| !contains(path, guarded.as_bytes()) && !path.contains(&b'%'));
        assert!(!is_guarded || is_open || contains(bytes, KEY.as_bytes()), "it was answered without a key");
    } else {
        serde_json::from_slice::<serde_json::Value>(body).expect("a refusal is JSON");
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
