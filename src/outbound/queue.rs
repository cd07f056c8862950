//! What waits for one socket: frames in order, each with the time since when it waits. Pure.

use super::fifo::Fifo;
use crate::protocol::wire::Bytes;
use std::io::IoSlice;
use std::time::Instant;

/// How many frames go into one system call.
pub(super) const MAX_SLICES: usize = 32;

/// A queue of frames whose head may be partly written. The head stays until its last byte has gone.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: Fifo<(Bytes, Instant)>,
    head_written: usize,
    bytes: usize,
}

impl Queue {
    pub(super) fn push(&mut self, frame: Bytes, now: Instant) {
        self.bytes += frame.len();
        self.frames.push((frame, now));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Bytes that still wait; what of the head has gone does not count.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when the head waits.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.frames.head().map(|(_, since)| *since)
    }

    /// Puts the next bytes to write into `slices`, in order; says how many slices that filled.
    pub(super) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut begin = self.head_written;
        for (slice, (frame, _)) in slices.iter_mut().zip(self.frames.iter()) {
            *slice = IoSlice::new(&frame[begin..]);
            begin = 0;
        }
        self.frames.len().min(slices.len())
    }

    /// Takes note that the first `written` bytes have gone; says how many frames that completed.
    pub(super) fn advance(&mut self, written: usize) -> u64 {
        self.bytes -= written;
        self.head_written += written;
        let mut completed = 0;
        while let Some((head, _)) = self.frames.head().filter(|(head, _)| self.head_written >= head.len()) {
            self.head_written -= head.len();
            self.frames.pop();
            completed += 1;
        }
        completed
    }

    /// Drops every frame of which no byte has gone; says how many that were. A frame once begun must be finished:
    /// its reader would take whatever came next for the rest of it.
    pub(super) fn drop_unbegun(&mut self) -> u64 {
        let begun = if self.head_written > 0 { self.frames.pop() } else { None };
        let dropped = std::mem::take(&mut self.frames).len();
        self.bytes = begun.as_ref().map_or(0, |(head, _)| head.len() - self.head_written);
        begun.into_iter().for_each(|head| self.frames.push(head));
        dropped as u64
    }

    /// Drops everything; says how many frames that were.
    pub(super) fn clear(&mut self) -> u64 {
        let dropped = self.frames.len() as u64;
        *self = Self::default();
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(queue: &Queue) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let filled = queue.fill(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_frame_that_was_begun_is_finished() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for frame in ["first", "second", "third"] {
            queue.push(frame.into(), now);
        }
        assert_eq!(queue.advance(7), 1);
        assert_eq!(queue.drop_unbegun(), 1);
        assert_eq!(content(&queue), b"cond");
        assert_eq!(queue.bytes(), 4);
        assert_eq!(queue.advance(4), 1);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_head_that_was_not_begun_may_be_dropped() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push("first".into(), now);
        queue.push("second".into(), now);
        assert_eq!(queue.advance(5), 1);
        assert_eq!(queue.drop_unbegun(), 1);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes(), 0);
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_whatever_the_socket_takes(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..150),
            takes in prop::collection::vec(1_usize..40, 1..50),
        ) {
            let (mut queue, now) = (Queue::default(), Instant::now());
            for frame in &frames {
                queue.push(frame.clone().into(), now);
            }
            let (mut out, mut completed) = (Vec::new(), 0);
            for take in takes.iter().cycle() {
                let available = content(&queue);
                if available.is_empty() {
                    break;
                }
                let n = available.len().min(*take);
                out.extend_from_slice(&available[..n]);
                completed += queue.advance(n);
                prop_assert_eq!(queue.bytes() + out.len(), frames.concat().len());
            }
            prop_assert_eq!(out, frames.concat());
            prop_assert_eq!(completed, frames.len() as u64);
        }
    }
}
