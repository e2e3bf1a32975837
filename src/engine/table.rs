//! A map whose keys are mostly added in order.

/// A sorted vector: O(log n) to find an entry, O(1) to append one, O(n) to insert one elsewhere and
/// to remove one.
///
/// The entries of checks are kept like this: their numbers grow, and adding or removing a check is
/// O(n) anyway. A tree would do as well, but its code takes several kilobytes for each type.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V>(Vec<(K, V)>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Ord, V> Table<K, V> {
    fn place(&self, key: K) -> Result<usize, usize> {
        match self.0.last() {
            Some(last) if last.0 >= key => self.0.binary_search_by_key(&key, |entry| entry.0),
            _ => Err(self.0.len()),
        }
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let (_, value) = self.0.get(self.place(key).ok()?)?;
        Some(value)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let place = self.place(key).ok()?;
        let (_, value) = self.0.get_mut(place)?;
        Some(value)
    }

    /// Inserts a value. Returns the one from before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.get_mut(key) {
            Some(old) => Some(std::mem::replace(old, value)),
            None => {
                let place = self.place(key).unwrap_or_else(|place| place);
                self.0.insert(place, (key, value));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let place = self.place(key).ok()?;
        Some(self.0.remove(place).1)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = K> {
        self.0.iter().map(|&(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_is_a_map_in_the_order_of_its_keys(
            steps in prop::collection::vec((0_u8..16, any::<Option<u8>>()), 0..64)
        ) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for (key, value) in steps {
                match value {
                    Some(value) => prop_assert_eq!(table.insert(key, value), map.insert(key, value)),
                    None => prop_assert_eq!(table.remove(key), map.remove(&key)),
                }
                prop_assert_eq!(table.get(key), map.get(&key));
                prop_assert_eq!(table.get_mut(key), map.get_mut(&key));
                prop_assert!(table.keys().eq(map.keys().copied()));
                prop_assert!(table.values().eq(map.values()));
                prop_assert_eq!(table.len(), map.len());
            }
        }
    }
}
