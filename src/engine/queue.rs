//! Checks that wait for a permit to run.

use std::{collections::BTreeSet, time::Duration};

use super::id::Id;

/// Why a check is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It is due.
    Due,
    /// A reader requested a run.
    Requested,
    /// It is new, and readers do not see it before its first run.
    New,
}

const LANES: usize = 3;

/// Since when a check has been queued in each lane.
pub(crate) type Places = [Option<Duration>; LANES];

/// A queue for each [`Lane`], first in, first out. The lanes take turns, so that none starves
/// another. Each operation costs O(log n).
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lanes: [BTreeSet<(Duration, Id)>; LANES],
    /// The lane whose turn it is.
    turn: usize,
}

impl Queue {
    /// Queues a check in a lane, unless it is queued there.
    pub(crate) fn push(&mut self, lane: Lane, id: Id, now: Duration, places: &mut Places) {
        let index = lane as usize;
        if let (Some(lane), Some(place @ None)) = (self.lanes.get_mut(index), places.get_mut(index))
        {
            *place = Some(now);
            lane.insert((now, id));
        }
    }

    /// Removes and returns the next check. It may still be queued in other lanes.
    pub(crate) fn pop(&mut self) -> Option<Id> {
        for turn in (self.turn..self.turn + LANES).map(|turn| turn % LANES) {
            let next = self.lanes.get_mut(turn).and_then(BTreeSet::pop_first);
            if let Some((_, id)) = next {
                self.turn = turn + 1;
                return Some(id);
            }
        }
        None
    }

    /// Removes a check from all lanes.
    pub(crate) fn remove(&mut self, id: Id, places: &mut Places) {
        for (lane, place) in self.lanes.iter_mut().zip(places) {
            if let Some(since) = place.take() {
                lane.remove(&(since, id));
            }
        }
    }

    /// The check that has been queued longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(Duration, Id)> {
        self.lanes.iter().filter_map(BTreeSet::first).min().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(BTreeSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_take_turns_and_each_is_first_in_first_out() {
        let mut queue = Queue::default();
        let mut places = [Places::default(); 6];
        let seconds = Duration::from_secs;
        for (lane, id) in [
            (Lane::New, 0),
            (Lane::New, 2),
            (Lane::New, 1),
            (Lane::Due, 3),
            (Lane::Due, 4),
            (Lane::Requested, 5),
        ] {
            // Number 2 came before number 1.
            let now = seconds([0, 2, 1, 3, 4, 5][id]);
            queue.push(lane, Id(id as u64), now, &mut places[id]);
        }
        assert_eq!(queue.oldest(), Some((seconds(0), Id(0))));
        queue.push(Lane::New, Id(1), seconds(6), &mut places[1]);
        queue.push(Lane::Due, Id(1), seconds(7), &mut places[1]);
        assert_eq!(places[1], [Some(seconds(7)), None, Some(seconds(2))]);
        assert_eq!(queue.len(), 7);
        queue.remove(Id(2), &mut places[2]);
        assert_eq!(places[2], Places::default());
        let order: Vec<Id> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [3, 5, 0, 4, 1, 1].map(Id));
        queue.remove(Id(1), &mut places[1]);
        assert_eq!(queue.len(), 0);
    }
}
