//! A queue in which mostly one thing waits, or nothing: for that it needs no memory of its own, and it keeps none for more.

use std::collections::{VecDeque, vec_deque};
use std::{iter, option};

/// First in, first out.
#[derive(Debug)]
pub(crate) struct Fifo<T> {
    head: Option<T>,
    /// Empty while there is no head.
    others: VecDeque<T>,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self { head: None, others: VecDeque::new() }
    }
}

impl<T> Fifo<T> {
    pub(crate) fn push(&mut self, value: T) {
        match self.head {
            None => self.head = Some(value),
            Some(_) => self.others.push_back(value),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let head = self.head.take();
        self.head = self.others.pop_front();
        if self.others.is_empty() {
            self.others = VecDeque::new();
        }
        head
    }

    pub(crate) fn head(&self) -> Option<&T> {
        self.head.as_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.head.is_some()) + self.others.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.head.iter().chain(&self.others)
    }
}

impl<T> IntoIterator for Fifo<T> {
    type Item = T;
    type IntoIter = iter::Chain<option::IntoIter<T>, vec_deque::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.head.into_iter().chain(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_first_in_is_first_out(steps in prop::collection::vec(any::<bool>(), 0..60)) {
            let (mut fifo, mut model, mut next) = (Fifo::default(), VecDeque::new(), 0);
            for is_push in steps {
                if is_push {
                    fifo.push(next);
                    model.push_back(next);
                    next += 1;
                } else {
                    prop_assert_eq!(fifo.pop(), model.pop_front());
                }
                prop_assert_eq!((fifo.len(), fifo.is_empty(), fifo.head()), (model.len(), model.is_empty(), model.front()));
                prop_assert!(fifo.iter().eq(&model));
            }
            prop_assert!(fifo.into_iter().eq(model));
        }
    }
}
