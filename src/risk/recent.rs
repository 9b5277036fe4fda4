//! A table with a limit: what was not touched for longest goes.
//!
//! Two generations: when the younger is full it becomes the older, and what was in the older is forgotten. A look-up
//! brings an entry back into the younger. So at most twice `limit` entries are held, and an entry that is in use stays.

use std::collections::BTreeMap;

/// A bounded table.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    limit: usize,
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    /// A table that never forgets an entry before `limit` others were touched after it.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, young: BTreeMap::new(), old: BTreeMap::new() }
    }

    /// The entry, made if it is not there.
    pub(super) fn entry(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(key) {
            let value = self.old.remove(key).unwrap_or_else(make);
            if self.young.len() >= self.limit {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key.clone(), value);
        }
        self.young.get_mut(key).expect("it was put there if it was not")
    }

    /// The entry, if it is there; it does not count as touched.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// How many are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
