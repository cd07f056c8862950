//! The tracker on streams of frame headers: what one piece shows, any cut of it shows too.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const TEXT: u8 = 0x1;
const CONTINUATION: u8 = 0x0;
const PING: u8 = 0x9;
const FIN: u8 = 0x80;

/// A masked frame as a client sends it, with the shortest form of its length.
fn frame(first_byte: u8, payload_bytes: usize) -> Vec<u8> {
    let length = (payload_bytes as u64).to_be_bytes();
    let mut bytes = match payload_bytes {
        0..=125 => vec![first_byte, 0x80 | length[7]],
        126..=0xffff => [&[first_byte, 0x80 | 126], &length[6..]].concat(),
        _ => [&[first_byte, 0x80 | 127], &length[..]].concat(),
    };
    bytes.resize(bytes.len() + 4 + payload_bytes, 0xff);
    bytes
}

fn tracker(change: impl FnOnce(&mut Config)) -> (Frames, Instant) {
    let (mut config, start) = (Config::default(), Instant::now());
    change(&mut config);
    (Frames::new(&config, start), start)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Follows bytes that break no bound.
#[track_caller]
fn follow(frames: &mut Frames, bytes: &[u8], now: Instant) {
    assert_eq!(frames.advance(bytes, now), (bytes.len(), None));
}

fn kind(outcome: (usize, Option<CloseReason>)) -> (usize, Option<CloseKind>) {
    (outcome.0, outcome.1.map(|reason| reason.kind()))
}

#[test]
fn a_message_is_assembled_from_its_first_byte_to_its_last() {
    for payload_bytes in [0, 1, 125, 126, 300, 65_535, 65_536, 70_000] {
        let (mut frames, start) = tracker(|_| ());
        let bytes = frame(FIN | TEXT, payload_bytes);
        follow(&mut frames, &bytes[..1], start);
        follow(&mut frames, &bytes[1..bytes.len() - 1], start + seconds(1));
        assert_eq!(frames.since(), Some(start), "{payload_bytes}");
        follow(&mut frames, &bytes[bytes.len() - 1..], start + seconds(2));
        assert_eq!(frames.since(), None, "{payload_bytes}");
    }
}

#[test]
fn fragments_are_one_message_also_while_nothing_of_the_next_is_there() {
    let (mut frames, start) = tracker(|_| ());
    for (n, first_byte) in (0..).zip([TEXT, CONTINUATION, CONTINUATION]) {
        follow(&mut frames, &frame(first_byte, 10), start + seconds(n));
        assert_eq!(frames.since(), Some(start));
    }
    follow(&mut frames, &frame(FIN | CONTINUATION, 0), start + seconds(9));
    assert_eq!(frames.since(), None);
}

#[test]
fn control_frames_between_fragments_do_not_move_the_beginning_of_the_message() {
    let (mut frames, start) = tracker(|_| ());
    follow(&mut frames, &frame(TEXT, 10), start);
    for (n, byte) in (1..).zip(frame(FIN | PING, 3)) {
        follow(&mut frames, &[byte], start + seconds(n));
        assert_eq!(frames.since(), Some(start));
    }
    follow(&mut frames, &frame(FIN | CONTINUATION, 10), start + seconds(20));
    assert_eq!(frames.since(), None);
}

#[test]
fn a_control_frame_that_dribbles_in_alone_is_on_the_clock_until_its_end() {
    let (mut frames, start) = tracker(|_| ());
    follow(&mut frames, &frame(FIN | TEXT, 10), start);
    let ping = frame(FIN | PING, 3);
    for (n, byte) in (1..).zip(&ping[..ping.len() - 1]) {
        follow(&mut frames, &[*byte], start + seconds(n));
        assert_eq!(frames.since(), Some(start + seconds(1)));
    }
    follow(&mut frames, &ping[ping.len() - 1..], start + seconds(20));
    assert_eq!(frames.since(), None);
}

#[test]
fn the_next_message_begins_with_its_own_first_byte() {
    let (mut frames, start) = tracker(|_| ());
    let message = frame(FIN | TEXT, 10);
    follow(&mut frames, &message[..5], start);
    let rest_and_next = [&message[5..], &message[..1]].concat();
    follow(&mut frames, &rest_and_next, start + seconds(4));
    assert_eq!(frames.since(), Some(start + seconds(4)));
}

#[test]
fn a_message_may_have_as_many_fragments_as_configured_and_no_more() {
    let (mut frames, now) = tracker(|config| config.max_fragments = Some(3));
    let (begin, more, end) = (frame(TEXT, 5), frame(CONTINUATION, 5), frame(FIN | CONTINUATION, 5));
    let whole = [&begin[..], &more, &frame(FIN | PING, 0), &end].concat();
    follow(&mut frames, &whole, now);
    follow(&mut frames, &whole, now);
    let too_many = [&begin[..], &more, &more, &end].concat();
    let offset = begin.len() + 2 * more.len();
    let reason = CloseReason::new(CloseKind::Policy, "a message of more than 3 fragments");
    assert_eq!(frames.advance(&too_many, now), (offset, Some(reason)));
}

#[test]
fn without_a_bound_a_message_may_have_any_number_of_fragments() {
    let (mut frames, now) = tracker(|config| config.max_fragments = None);
    follow(&mut frames, &frame(CONTINUATION, 0).repeat(100_000), now);
}

#[test]
fn a_control_frame_is_too_long_as_soon_as_it_says_so() {
    for opcode in [0x8, PING, 0xa] {
        let (mut frames, now) = tracker(|_| ());
        follow(&mut frames, &frame(FIN | opcode, 125), now);
        let announced = [frame(FIN | TEXT, 1), frame(FIN | opcode, 126)[..8].to_vec()].concat();
        assert_eq!(kind(frames.advance(&announced, now)), (7, Some(CloseKind::ProtocolError)));
    }
}

#[test]
fn control_frames_above_the_rate_end_the_connection() {
    let rate = Rate { per_second: 2, burst: 3 };
    let (mut frames, start) = tracker(|config| config.control_rate = Some(rate));
    let (ping, text) = (frame(FIN | PING, 4), frame(FIN | TEXT, 4));
    follow(&mut frames, &[&ping[..], &text, &ping, &text, &ping, &text].concat(), start);
    follow(&mut frames, &ping, start + Duration::from_millis(500));
    let refused = frames.advance(&[&text[..], &ping, &text].concat(), start + Duration::from_millis(999));
    let reason = CloseReason::new(CloseKind::RateLimit, "too many control frames");
    assert_eq!(refused, (text.len(), Some(reason)));
}

#[test]
fn every_control_opcode_counts_and_no_rate_means_no_bound() {
    for opcode in 0x8..=0xf {
        let (mut frames, now) = tracker(|config| config.control_rate = Some(Rate { per_second: 1, burst: 1 }));
        let bytes = frame(FIN | opcode, 0);
        let refused = kind(frames.advance(&bytes.repeat(2), now));
        assert_eq!(refused, (bytes.len(), Some(CloseKind::RateLimit)), "{opcode:#x}");
    }
    let (mut frames, now) = tracker(|config| config.control_rate = None);
    follow(&mut frames, &frame(FIN | PING, 0).repeat(10_000), now);
}

#[test]
fn nothing_of_a_refused_frame_is_permitted_where_it_began_in_an_earlier_piece() {
    let (mut frames, now) = tracker(|config| config.control_rate = Some(Rate { per_second: 1, burst: 1 }));
    let ping = frame(FIN | PING, 4);
    follow(&mut frames, &[&ping[..], &ping[..5]].concat(), now);
    assert_eq!(kind(frames.advance(&ping[5..], now)), (0, Some(CloseKind::RateLimit)));
}

#[test]
fn the_longest_lengths_are_followed_without_overflow() {
    for length in [1_u64 << 63, u64::MAX, 1 << 32, u64::from(u32::MAX), 1 << 16] {
        let (mut frames, start) = tracker(|_| ());
        let header = [&[FIN | TEXT, 0x80 | 127][..], &length.to_be_bytes(), &[0; 4]].concat();
        follow(&mut frames, &header, start);
        let piece = [FIN | PING; 60_000];
        follow(&mut frames, &piece, start + seconds(1));
        assert_eq!(frames.since(), Some(start), "{length}");
        assert!(matches!(frames.part, Part::Payload { left } if left == length - 60_000), "{length}");
    }
}

#[test]
fn a_length_in_a_longer_form_than_needed_counts_as_what_it_says() {
    for header in [vec![FIN | TEXT, 0x80 | 126, 0, 5], vec![FIN | TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 5]] {
        let (mut frames, now) = tracker(|_| ());
        follow(&mut frames, &[&header[..], &[0; 4 + 4]].concat(), now);
        assert_eq!(frames.since(), Some(now));
        follow(&mut frames, &[0], now);
        assert_eq!(frames.since(), None);
    }
}

#[test]
fn a_frame_without_a_mask_is_followed_too() {
    let (mut frames, now) = tracker(|_| ());
    follow(&mut frames, &[FIN | TEXT, 2, 0], now);
    assert_eq!(frames.since(), Some(now));
    follow(&mut frames, &[0], now);
    assert_eq!(frames.since(), None);
}

/// Where each message, or control frame between messages, begins and ends in a stream.
struct Layout {
    bytes: Vec<u8>,
    spans: Vec<(usize, usize)>,
}

impl Layout {
    fn of(stream: &[(u8, usize)]) -> Self {
        let (mut bytes, mut spans, mut message) = (Vec::new(), Vec::new(), None);
        for (first_byte, payload_bytes) in stream {
            let begin = bytes.len();
            bytes.extend(frame(*first_byte, *payload_bytes));
            let control = first_byte & 0x08 != 0;
            if !control {
                message.get_or_insert(begin);
            }
            match message {
                None => spans.push((begin, bytes.len())),
                Some(first) if !control && first_byte & FIN != 0 => {
                    spans.push((first, bytes.len()));
                    message = None;
                }
                Some(_) => {}
            }
        }
        spans.extend(message.map(|first| (first, usize::MAX)));
        Self { bytes, spans }
    }

    /// The first byte of what is incomplete once `received` bytes are there.
    fn incomplete(&self, received: usize) -> Option<usize> {
        self.spans.iter().find(|(begin, end)| *begin < received && received < *end).map(|(begin, _)| *begin)
    }
}

fn stream() -> impl Strategy<Value = Vec<(u8, usize)>> {
    let first_byte = (any::<bool>(), prop::sample::select(vec![CONTINUATION, TEXT, 0x2, 0x7, 0x8, PING, 0xa, 0xf]));
    let payload_bytes = prop_oneof![6 => 0_usize..20, 3 => 120_usize..135, 1 => 65_530_usize..65_542];
    prop::collection::vec((first_byte.prop_map(|(fin, opcode)| u8::from(fin) << 7 | opcode), payload_bytes), 0..25)
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_shows_the_same_as_one_piece(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        near in prop::collection::vec(0_usize..400, 0..20),
        max_fragments in prop::option::of(1_u32..6),
        burst in prop::option::of(1_u32..8),
    ) {
        let layout = Layout::of(&stream);
        let total = layout.bytes.len();
        let limits = |config: &mut Config| {
            config.max_fragments = max_fragments;
            config.control_rate = burst.map(|burst| Rate { per_second: 1, burst });
        };
        let (mut whole, start) = tracker(limits);
        let (permitted, reason) = whole.advance(&layout.bytes, start);

        // Most streams are short: cuts near the beginning hit their headers.
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(total + 1)).chain(near).chain([0, total]).collect();
        cuts.retain(|cut| *cut <= total);
        cuts.sort_unstable();
        // Too little time for the rate to permit one more.
        let at = |piece: usize| start + Duration::from_nanos(piece as u64);
        let mut pieces = tracker(limits).0;
        for (piece, cut) in cuts.windows(2).enumerate() {
            let (begin, end) = (cut[0], cut[1]);
            let (taken, broken) = pieces.advance(&layout.bytes[begin..end], at(piece));
            if broken.is_some() {
                prop_assert_eq!(&broken, &reason);
                prop_assert_eq!(begin + taken, permitted.max(begin));
                prop_assert!(permitted < end);
                return Ok(());
            }
            prop_assert_eq!(taken, end - begin);
            // Its instant is that of the piece in which its first byte came.
            let since = layout.incomplete(end).map(|first| at(cuts.windows(2).position(|cut| first < cut[1]).unwrap()));
            prop_assert_eq!(pieces.since(), since);
        }
        prop_assert_eq!((permitted, reason), (total, None));
    }
}
