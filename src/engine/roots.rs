//! Pure: which checks depend on which.

use super::table::Table;

/// An acyclic graph: what each check depends on, and what depends on it.
#[derive(Debug)]
pub(crate) struct Roots<K> {
    of: Table<K, Vec<K>>,
    /// Sorted.
    dependents: Table<K, Vec<K>>,
}

impl<K> Default for Roots<K> {
    fn default() -> Self {
        Self {
            of: Table::default(),
            dependents: Table::default(),
        }
    }
}

impl<K: Copy + Ord> Roots<K> {
    /// Sets what a check depends on.
    ///
    /// # Errors
    ///
    /// Returns the path of the cycle that it would close, from the check back to the check. The
    /// graph is unchanged then.
    pub(crate) fn set(&mut self, check: K, roots: Vec<K>) -> Result<(), Vec<K>> {
        for &root in &roots {
            if let Some(mut path) = self.path(root, check) {
                path.insert(0, check);
                return Err(path);
            }
        }
        self.release(check);
        for &root in &roots {
            match self.dependents.get_mut(root) {
                None => _ = self.dependents.insert(root, vec![check]),
                Some(dependents) => {
                    if let Err(place) = dependents.binary_search(&check) {
                        dependents.insert(place, check);
                    }
                }
            }
        }
        if !roots.is_empty() {
            self.of.insert(check, roots);
        }
        Ok(())
    }

    /// Removes a check.
    pub(crate) fn remove(&mut self, check: K) {
        self.release(check);
        for dependent in self.dependents.remove(check).into_iter().flatten() {
            if let Some(roots) = self.of.get_mut(dependent) {
                roots.retain(|&root| root != check);
            }
        }
    }

    /// What a check depends on.
    pub(crate) fn of(&self, check: K) -> &[K] {
        self.of.get(check).map_or(&[], Vec::as_slice)
    }

    /// What depends on a check.
    pub(crate) fn dependents(&self, check: K) -> impl Iterator<Item = K> {
        self.dependents.get(check).into_iter().flatten().copied()
    }

    fn release(&mut self, check: K) {
        for root in self.of.remove(check).into_iter().flatten() {
            if let Some(dependents) = self.dependents.get_mut(root) {
                dependents.retain(|&dependent| dependent != check);
                if dependents.is_empty() {
                    self.dependents.remove(root);
                }
            }
        }
    }

    /// A path from one check to another that it depends on, directly or not.
    fn path(&self, from: K, to: K) -> Option<Vec<K>> {
        let mut before = Table::default();
        before.insert(from, None);
        let mut next = vec![from];
        while let Some(check) = next.pop() {
            if check == to {
                let step = |&check: &K| before.get(check).copied().flatten();
                let mut path: Vec<K> = std::iter::successors(Some(check), step).collect();
                path.reverse();
                return Some(path);
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
    fn a_cycle_is_reported_as_a_path() {
        let mut roots = Roots::default();
        roots.set("schema", vec!["postgres"]).unwrap();
        roots.set("postgres", vec!["vpn", "network"]).unwrap();
        let path = roots.set("network", vec!["schema"]).unwrap_err();
        assert_eq!(path, ["network", "schema", "postgres", "network"]);
        assert_eq!(roots.set("vpn", vec!["vpn"]), Err(vec!["vpn", "vpn"]));
        assert_eq!(roots.of("network"), [""; 0]);
        assert_eq!(Vec::from_iter(roots.dependents("postgres")), ["schema"]);
        roots.remove("postgres");
        assert_eq!(roots.of("schema"), [""; 0]);
        assert_eq!(roots.set("network", vec!["schema"]), Ok(()));
    }

    proptest! {
        #[test]
        fn no_change_closes_a_cycle_and_both_sides_agree(
            steps in proptest::collection::vec((0_u8..8, proptest::collection::vec(0_u8..8, 0..3), any::<bool>()), 0..40)
        ) {
            let mut roots = Roots::default();
            for (check, of, remove) in steps {
                if remove {
                    roots.remove(check);
                } else {
                    _ = roots.set(check, of);
                }
                for check in 0..8 {
                    for &root in roots.of(check) {
                        prop_assert!(roots.dependents(root).any(|dependent| dependent == check));
                        prop_assert!(roots.path(root, check).is_none());
                    }
                    for dependent in roots.dependents(check) {
                        prop_assert!(roots.of(dependent).contains(&check));
                    }
                }
            }
        }
    }
}
