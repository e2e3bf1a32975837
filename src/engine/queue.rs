//! Checks that wait for room to run.

use std::collections::VecDeque;

use super::{board::Id, clock::Moment};

/// Why a check waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Its time has come.
    Due,
    /// Somebody asked for a run.
    Asked,
    /// It is new, and nobody sees it before it has run.
    New,
}

/// A line for each [`Lane`], first come, first served. The lines take turns, so that none holds another up.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lanes: [VecDeque<(Id, Moment)>; 3],
    /// Whose turn it is.
    turn: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, lane: Lane, id: Id, now: Moment) {
        if let Some(line) = self.lanes.get_mut(lane as usize) {
            line.push_back((id, now));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Id> {
        let count = self.lanes.len();
        for turn in (self.turn..self.turn + count).map(|turn| turn % count) {
            let next = self.lanes.get_mut(turn).and_then(VecDeque::pop_front);
            if let Some((id, _)) = next {
                self.turn = turn + 1;
                return Some(id);
            }
        }
        None
    }

    /// Takes a check out of all lines.
    pub(crate) fn remove(&mut self, id: Id) {
        for line in &mut self.lanes {
            line.retain(|&(waiting, _)| waiting != id);
        }
    }

    /// The check that has waited longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(Id, Moment)> {
        let first = self.lanes.iter().filter_map(VecDeque::front);
        first.min_by_key(|(_, since)| since.mono).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::moment;

    #[test]
    fn the_lines_take_turns_and_each_is_first_come_first_served() {
        let mut queue = Queue::default();
        for (lane, id) in [
            (Lane::New, 0),
            (Lane::New, 1),
            (Lane::New, 2),
            (Lane::Due, 3),
            (Lane::Due, 4),
            (Lane::Asked, 5),
        ] {
            queue.push(lane, Id(id), moment(id));
        }
        assert_eq!(queue.oldest(), Some((Id(0), moment(0))));
        queue.remove(Id(1));
        assert_eq!(queue.len(), 5);
        let order: Vec<Id> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [3, 5, 0, 4, 2].map(Id));
    }
}
