//! Frames on their way from the state to their connections: in order for each, and so that the many recipients of one
//! message do not stand before the few of another. Pure.
//!
//! What is for few is sent at once. What is for many is put to each of them at once, too, so that nothing overtakes it
//! there, but its recipients are then sent to a few at a time, with everybody else's messages in between.

use super::command::Slot;
use crate::outbound::Fifo;
use crate::protocol::wire::Bytes;
use std::collections::VecDeque;

/// How soon the recipients of frames have their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Before anything else is done.
    Prompt,
    /// With that of others in between.
    Wide,
}

/// All frames that are on their way.
#[derive(Default)]
pub(super) struct Deliveries {
    waiting: Vec<Waiting>,
    prompt: Vec<Slot>,
    wide: VecDeque<Slot>,
}

/// What waits for one connection.
#[derive(Default)]
struct Waiting {
    frames: Fifo<Bytes>,
    /// Whether it is on the list of that name.
    prompt: bool,
    wide: bool,
}

impl Deliveries {
    /// Somebody has this place from now on, and gets nothing that was meant for whoever had it before.
    pub(super) fn take_place(&mut self, slot: Slot) {
        let end = slot as usize + 1;
        self.waiting.resize_with(self.waiting.len().max(end), Waiting::default);
        self.forget(slot);
    }

    /// Nothing is sent to this place any more; says how much would have been.
    pub(super) fn forget(&mut self, slot: Slot) -> usize {
        let forgotten = self.take(slot);
        forgotten.len()
    }

    /// Frames for a connection, behind those that wait for it already.
    pub(super) fn put(&mut self, to: Slot, frames: impl IntoIterator<Item = Bytes>, urgency: Urgency) {
        let waiting = &mut self.waiting[to as usize];
        frames.into_iter().for_each(|frame| waiting.frames.push(frame));
        match urgency {
            Urgency::Prompt if !std::mem::replace(&mut waiting.prompt, true) => self.prompt.push(to),
            Urgency::Wide if !std::mem::replace(&mut waiting.wide, true) => self.wide.push_back(to),
            Urgency::Prompt | Urgency::Wide => {}
        }
    }

    /// Whose turn it is; perhaps one for whom nothing waits any more.
    pub(super) fn next(&mut self, urgency: Urgency) -> Option<Slot> {
        let next = match urgency {
            Urgency::Prompt => self.prompt.pop(),
            Urgency::Wide => self.wide.pop_front(),
        };
        if let Some(slot) = next {
            let waiting = &mut self.waiting[slot as usize];
            match urgency {
                Urgency::Prompt => waiting.prompt = false,
                Urgency::Wide => waiting.wide = false,
            }
        }
        next
    }

    /// All that waits for a connection, in order.
    pub(super) fn take(&mut self, to: Slot) -> Fifo<Bytes> {
        std::mem::take(&mut self.waiting[to as usize].frames)
    }

    /// How many are to be sent to before anything else is done.
    pub(super) fn prompt(&self) -> usize {
        self.prompt.len()
    }

    /// Whether something for many is on its way.
    pub(super) fn is_wide(&self) -> bool {
        !self.wide.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::wire::text_frame;

    fn taken(deliveries: &mut Deliveries, slot: Slot) -> Vec<Bytes> {
        deliveries.take(slot).into_iter().collect()
    }

    #[test]
    fn a_message_for_few_passes_one_for_many_but_not_at_those_who_get_both() {
        let (wide, prompt) = (text_frame("wide"), text_frame("prompt"));
        let mut deliveries = Deliveries::default();
        for slot in 0..4 {
            deliveries.take_place(slot);
            deliveries.put(slot, [wide.clone()], Urgency::Wide);
        }
        deliveries.put(2, [prompt.clone()], Urgency::Prompt);
        assert_eq!(deliveries.next(Urgency::Prompt), Some(2));
        assert_eq!(taken(&mut deliveries, 2), [wide.clone(), prompt]);
        assert_eq!(deliveries.next(Urgency::Prompt), None);
        let rest: Vec<_> = std::iter::from_fn(|| deliveries.next(Urgency::Wide)).collect();
        assert_eq!(rest, [0, 1, 2, 3]);
        assert_eq!(rest.into_iter().map(|slot| taken(&mut deliveries, slot).len()).sum::<usize>(), 3);
        assert!(!deliveries.is_wide());
    }

    #[test]
    fn whoever_takes_a_place_gets_nothing_of_its_predecessors() {
        let mut deliveries = Deliveries::default();
        deliveries.take_place(0);
        deliveries.put(0, [text_frame("old")], Urgency::Wide);
        deliveries.take_place(0);
        deliveries.put(0, [text_frame("new")], Urgency::Prompt);
        assert_eq!((deliveries.next(Urgency::Wide), deliveries.next(Urgency::Prompt)), (Some(0), Some(0)));
        assert_eq!(taken(&mut deliveries, 0), [text_frame("new")]);
    }
}
