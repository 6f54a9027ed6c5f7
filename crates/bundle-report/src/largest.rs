//! Keeps the largest few of many items.

/// Keeps the `limit` items with the largest keys; if keys are equal, the earlier ones.
#[derive(Debug)]
pub(crate) struct Largest<T> {
    limit: usize,
    /// Largest first.
    items: Vec<(u64, T)>,
}

impl<T> Largest<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, items: Vec::with_capacity(limit + 1) }
    }

    /// Adds an item, which is only created if it is large enough.
    pub(crate) fn offer(&mut self, key: u64, item: impl FnOnce() -> T) {
        // Rejected before it is created: of a million spans twenty are kept, and the others must not cost an allocation.
        if self.items.len() == self.limit && self.items.last().is_none_or(|(least, _)| key <= *least) {
            return;
        }
        let position = self.items.partition_point(|(other, _)| *other >= key);
        self.items.insert(position, (key, item()));
        self.items.truncate(self.limit);
    }

    /// The items, largest first.
    pub(crate) fn into_items(self) -> impl Iterator<Item = T> {
        self.items.into_iter().map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: usize, keys: &[u64], expected: &[(u64, usize)]) {
        let mut top = Largest::new(limit);
        for (position, key) in keys.iter().enumerate() {
            top.offer(*key, || (*key, position));
        }
        assert_eq!(top.into_items().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_largest_are_kept_in_order() {
        check(2, &[3, 1, 5, 3, 4], &[(5, 2), (4, 4)]);
        check(3, &[7, 7, 7, 7], &[(7, 0), (7, 1), (7, 2)]);
        check(2, &[1], &[(1, 0)]);
        check(0, &[1, 2], &[]);
    }
}
