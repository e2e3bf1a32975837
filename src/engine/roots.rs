//! Which checks stand behind which.

use super::table::Table;

/// A graph without circles: what each check depends on, and what depends on it.
#[derive(Debug)]
pub(crate) struct Roots<K> {
    of: Table<K, Vec<K>>,
    /// In order.
    behind: Table<K, Vec<K>>,
}

impl<K> Default for Roots<K> {
    fn default() -> Self {
        Self {
            of: Table::default(),
            behind: Table::default(),
        }
    }
}

impl<K: Copy + Ord> Roots<K> {
    /// What a check depends on from now on.
    ///
    /// # Errors
    ///
    /// The way round the circle that it would close, which begins and ends with the check. Nothing is changed then.
    pub(crate) fn set(&mut self, check: K, roots: Vec<K>) -> Result<(), Vec<K>> {
        for &root in &roots {
            if let Some(mut way) = self.way(root, check) {
                way.insert(0, check);
                return Err(way);
            }
        }
        self.release(check);
        for &root in &roots {
            match self.behind.get_mut(root) {
                None => _ = self.behind.insert(root, vec![check]),
                Some(behind) => {
                    if let Err(place) = behind.binary_search(&check) {
                        behind.insert(place, check);
                    }
                }
            }
        }
        if !roots.is_empty() {
            self.of.insert(check, roots);
        }
        Ok(())
    }

    /// Forgets a check that is gone.
    pub(crate) fn remove(&mut self, check: K) {
        self.release(check);
        for behind in self.behind.remove(check).into_iter().flatten() {
            if let Some(roots) = self.of.get_mut(behind) {
                roots.retain(|&root| root != check);
            }
        }
    }

    /// What a check depends on.
    pub(crate) fn of(&self, check: K) -> &[K] {
        self.of.get(check).map_or(&[], Vec::as_slice)
    }

    /// What depends on a check.
    pub(crate) fn behind(&self, check: K) -> impl Iterator<Item = K> {
        self.behind.get(check).into_iter().flatten().copied()
    }

    fn release(&mut self, check: K) {
        for root in self.of.remove(check).into_iter().flatten() {
            if let Some(behind) = self.behind.get_mut(root) {
                behind.retain(|&behind| behind != check);
                if behind.is_empty() {
                    self.behind.remove(root);
                }
            }
        }
    }

    /// A way from one check to what it depends on, however far that is.
    fn way(&self, from: K, to: K) -> Option<Vec<K>> {
        let mut before = Table::default();
        before.insert(from, None);
        let mut next = vec![from];
        while let Some(check) = next.pop() {
            if check == to {
                let step = |&check: &K| before.get(check).copied().flatten();
                let mut way: Vec<K> = std::iter::successors(Some(check), step).collect();
                way.reverse();
                return Some(way);
            }
            for &root in self.of(check) {
                if before.get(root).is_none() {
                    before.insert(root, Some(check));
                    next.push(root);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_circle_is_told_the_way_round() {
        let mut roots = Roots::default();
        roots.set("schema", vec!["postgres"]).unwrap();
        roots.set("postgres", vec!["vpn", "network"]).unwrap();
        let round = roots.set("network", vec!["schema"]).unwrap_err();
        assert_eq!(round, ["network", "schema", "postgres", "network"]);
        assert_eq!(roots.set("vpn", vec!["vpn"]), Err(vec!["vpn", "vpn"]));
        assert_eq!(roots.of("network"), [""; 0]);
        assert_eq!(Vec::from_iter(roots.behind("postgres")), ["schema"]);
        roots.remove("postgres");
        assert_eq!(roots.of("schema"), [""; 0]);
        assert_eq!(roots.set("network", vec!["schema"]), Ok(()));
    }

    proptest! {
        #[test]
        fn whatever_is_set_and_removed_there_is_no_circle_and_both_sides_agree(
            steps in proptest::collection::vec((0_u8..8, proptest::collection::vec(0_u8..8, 0..3), any::<bool>()), 0..40)
        ) {
            let mut roots = Roots::default();
            for (check, of, remove) in steps {
                match remove {
                    true => roots.remove(check),
                    false => _ = roots.set(check, of),
                }
                for check in 0..8 {
                    for &root in roots.of(check) {
                        prop_assert!(roots.behind(root).any(|behind| behind == check));
                        prop_assert!(roots.way(root, check).is_none());
                    }
                    for behind in roots.behind(check) {
                        prop_assert!(roots.of(behind).contains(&check));
                    }
                }
            }
        }
    }
}
