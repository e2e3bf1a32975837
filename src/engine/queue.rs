//! Checks that wait for room to run.

use std::collections::BTreeMap;

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

const LANES: usize = 3;

/// A line for each [`Lane`], first come, first served. The lines take turns, so that none holds another up. Whatever is done
/// costs O(log n).
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// By the number that each was given when it came.
    lanes: [BTreeMap<u64, (Id, Moment)>; LANES],
    /// Those numbers.
    places: BTreeMap<Id, [Option<u64>; LANES]>,
    came: u64,
    /// Whose turn it is.
    turn: usize,
}

impl Queue {
    /// Puts a check in a line, unless it stands there.
    pub(crate) fn push(&mut self, lane: Lane, id: Id, now: Moment) {
        let lane = lane as usize;
        let place = self.places.entry(id).or_default().get_mut(lane);
        if let (Some(line), Some(place @ None)) = (self.lanes.get_mut(lane), place) {
            self.came += 1;
            *place = Some(self.came);
            line.insert(self.came, (id, now));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Id> {
        for turn in (self.turn..self.turn + LANES).map(|turn| turn % LANES) {
            let next = self.lanes.get_mut(turn).and_then(BTreeMap::pop_first);
            if let Some((_, (id, _))) = next {
                self.turn = turn + 1;
                self.forget(id, turn);
                return Some(id);
            }
        }
        None
    }

    /// Takes a check out of all lines.
    pub(crate) fn remove(&mut self, id: Id) {
        let places = self.places.remove(&id).unwrap_or_default();
        for (line, place) in self.lanes.iter_mut().zip(places) {
            if let Some(place) = place {
                line.remove(&place);
            }
        }
    }

    fn forget(&mut self, id: Id, lane: usize) {
        if let Some(places) = self.places.get_mut(&id) {
            if let Some(place) = places.get_mut(lane) {
                *place = None;
            }
            if places.iter().all(Option::is_none) {
                self.places.remove(&id);
            }
        }
    }

    /// The check that has waited longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(Id, Moment)> {
        let first = self.lanes.iter().filter_map(|line| line.first_key_value());
        first
            .min_by_key(|(came, _)| **came)
            .map(|(_, &first)| first)
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(BTreeMap::len).sum()
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
        queue.push(Lane::New, Id(1), moment(6));
        queue.push(Lane::Due, Id(1), moment(7));
        assert_eq!(queue.len(), 7);
        queue.remove(Id(1));
        assert_eq!(queue.len(), 5);
        let order: Vec<Id> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [3, 5, 0, 4, 2].map(Id));
        assert!(queue.places.is_empty());
    }
}
