//! What the steps of a message take, each by itself: `cargo bench --bench micro --features internals`.
//!
//! For comparing two versions of the same step on the same machine. What a message costs a whole server, where wake-ups
//! and system calls are most of it, says `heartwire bench`.
#![allow(clippy::unwrap_used)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use heartwire::internals::{Crowd, ReadSide, WriteSide, decode, encode, translate_to_ginchat, translate_to_lines};
use heartwire::{Account, Recipients, Room};
use serde_json::value::RawValue;
use tungstenite::Bytes;

/// How many messages one recv brings.
const TOGETHER: [usize; 2] = [1, 8];
const RECIPIENTS: [usize; 2] = [1, 1_000];
/// Frames sent by one call.
const FRAMES: [usize; 2] = [1, 32];
/// How often a step is repeated between two looks at the clock: so seldom that what `push` sends meanwhile fits into the
/// kernel's buffers.
const REPETITIONS: u32 = 64;

const MESSAGE: &str = r#"{"type":"message","to":["u7"],"content":"how are you?","id":"17"}"#;

fn main() {
    divan::Divan::default().sample_size(REPETITIONS).config_with_args().run_benches();
}

#[divan::bench]
fn decode_a_message() -> bool {
    decode(black_box(MESSAGE))
}

#[divan::bench]
fn encode_a_delivery(bencher: Bencher<'_, '_>) {
    let (from, content) = (account(7), content());
    bencher.bench_local(|| encode(black_box("c-5f0c2b1e9d3a-17.4711"), &from, &content));
}

#[divan::bench(args = TOGETHER)]
fn read_frames(bencher: Bencher<'_, '_>, together: usize) {
    let length = u8::try_from(MESSAGE.len()).unwrap();
    let received = [&[0x81, 0x80 | length, 0, 0, 0, 0], MESSAGE.as_bytes()].concat().repeat(together);
    let mut read_side = ReadSide::default();
    bencher.counter(ItemsCount::new(together)).bench_local(|| {
        assert_eq!(read_side.decode(black_box(&received)), Ok(together));
    });
}

#[divan::bench(args = RECIPIENTS)]
fn translate_for_raw_tcp(bencher: Bencher<'_, '_>, recipients: usize) {
    let frame = delivery();
    bencher.counter(ItemsCount::new(recipients)).bench_local(|| translate_to_lines(black_box(&frame), recipients));
}

#[divan::bench(args = RECIPIENTS)]
fn translate_for_ginchat(bencher: Bencher<'_, '_>, recipients: usize) {
    let (frame, recipients) = (delivery(), (0..recipients).map(account).collect::<Vec<_>>());
    bencher
        .counter(ItemsCount::new(recipients.len()))
        .bench_local(|| translate_to_ginchat(black_box(&frame), &recipients));
}

#[divan::bench]
fn apply_a_message_to_an_account(bencher: Bencher<'_, '_>) {
    apply(bencher, 1_000, &Recipients::Accounts(vec![account(7)]), 1);
}

#[divan::bench(args = RECIPIENTS)]
fn apply_a_message_to_a_room(bencher: Bencher<'_, '_>, recipients: usize) {
    apply(bencher, recipients, &Recipients::Room(room()), recipients);
}

/// One of a crowd sends, and so many get it.
fn apply(bencher: Bencher<'_, '_>, accounts: usize, to: &Recipients, reached: usize) {
    let mut crowd = Crowd::new((0..accounts).map(account), account(accounts), &room()).unwrap();
    let frame = delivery();
    bencher.counter(ItemsCount::new(reached)).with_inputs(|| to.clone()).bench_local_values(|to| {
        assert_eq!(crowd.message(to, &frame), reached);
    });
}

#[divan::bench(args = FRAMES)]
fn push(bencher: Bencher<'_, '_>, frames: usize) {
    let write_side = std::cell::RefCell::new(WriteSide::new().unwrap());
    let frames = vec![delivery(); frames];
    bencher
        .counter(ItemsCount::new(frames.len()))
        .with_inputs(|| write_side.borrow_mut().drain().unwrap())
        .bench_local_values(|_| write_side.borrow().push(&frames).unwrap());
}

fn account(n: usize) -> Account {
    Account::new(&format!("u{n}")).unwrap()
}

fn room() -> Room {
    Room::new("lobby").unwrap()
}

fn content() -> Box<RawValue> {
    RawValue::from_string(r#""how are you?""#.to_owned()).unwrap()
}

fn delivery() -> Bytes {
    encode("c-5f0c2b1e9d3a-17.4711", &account(7), &content())
}
