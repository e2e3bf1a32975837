//! The names of what is in flight, for the log of a drain.

use std::{
    cmp::Reverse,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;

/// Counts what is in flight by its name. Names are added when they first occur, and are kept.
#[derive(Debug, Default)]
pub(crate) struct Names {
    counts: ArcSwap<Vec<Arc<Count>>>,
}

#[derive(Debug)]
struct Count {
    name: Box<str>,
    in_flight: AtomicUsize,
}

/// Something in flight that has a name, until this is dropped.
#[derive(Debug)]
pub(crate) struct Named(Arc<Count>);

impl Names {
    /// The most names that are kept. What has a further name is counted without it.
    const MOST: usize = 64;

    /// The most characters of a name that are kept.
    const MAX_LEN: usize = 128;

    /// Something with this name begins.
    pub(crate) fn enter(&self, name: &str) -> Option<Named> {
        let name = match name.char_indices().nth(Self::MAX_LEN) {
            Some((end, _)) => name.get(..end).unwrap_or(name),
            None => name,
        };
        let known = |counts: &[Arc<Count>]| {
            let known = counts.iter().find(|count| &*count.name == name);
            known.cloned()
        };
        let count = known(&self.counts.load()).or_else(|| {
            self.counts.rcu(|counts| {
                let mut counts = Vec::clone(counts);
                if known(&counts).is_none() && counts.len() < Self::MOST {
                    counts.push(Arc::new(Count {
                        name: name.into(),
                        in_flight: AtomicUsize::new(0),
                    }));
                }
                counts
            });
            known(&self.counts.load())
        })?;
        count.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Named(count))
    }

    /// The names of what is in flight among `all`, each with its number, and the number of those
    /// without a name. `None` if nothing in flight has a name.
    pub(crate) fn describe(&self, all: usize) -> Option<String> {
        let counts = self.counts.load();
        let in_flight = counts
            .iter()
            .map(|count| (&*count.name, count.in_flight.load(Ordering::Relaxed)));
        let mut in_flight: Vec<_> = in_flight.filter(|&(_, number)| number > 0).collect();
        if in_flight.is_empty() {
            return None;
        }
        // The most frequent first. Equal ones stay in the order in which they first occurred.
        in_flight.sort_by_key(|&(_, number)| Reverse(number));
        let named: usize = in_flight.iter().map(|(_, number)| number).sum();
        let mut described: Vec<String> = in_flight
            .iter()
            .map(|(name, number)| format!("{name} ({number})"))
            .collect();
        if all > named {
            described.push(format!("{} without a name", all - named));
        }
        Some(described.join(", "))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_while_they_are_in_flight() {
        let names = Names::default();
        assert_eq!(names.describe(2), None);
        let report = names.enter("report");
        let orders = [names.enter("/orders/{id}"), names.enter("/orders/{id}")];
        assert_eq!(
            names.describe(4).unwrap(),
            "/orders/{id} (2), report (1), 1 without a name"
        );
        drop(orders);
        assert_eq!(names.describe(1).unwrap(), "report (1)");
        drop(report);
        assert_eq!(names.describe(0), None);
    }

    #[test]
    fn neither_many_nor_long_names_fill_the_memory() {
        let names = Names::default();
        let all: Vec<_> = (0..1_000).map(|n| names.enter(&format!("/{n}"))).collect();
        assert_eq!(all.iter().flatten().count(), Names::MOST);
        assert_eq!(names.counts.load().len(), Names::MOST);
        let long = Names::default();
        let _named = long.enter(&"é".repeat(10_000));
        assert_eq!(
            long.describe(1).unwrap(),
            format!("{} (1)", "é".repeat(128))
        );
    }
}
