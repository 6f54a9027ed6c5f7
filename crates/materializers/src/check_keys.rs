//! The keys of rows seen so far, for finding duplicates.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hashbrown::HashTable;

/// The maximum number of bytes of keys that one check may hold, over all partitions.
pub const MAX_KEY_BYTES: usize = 64 << 20;

/// The overhead of a key: its end, and its table entry.
const BYTES_OF_KEY: usize = 32;

/// The remaining room for keys. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<AtomicUsize>);

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    fn take(&self, bytes: usize) -> bool {
        let left = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }
}

/// Different keys, compared byte by byte.
#[derive(Debug)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
    /// Indices of keys.
    table: HashTable<usize>,
    hasher: RandomState,
    room: Room,
}

/// The result of adding a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    New,
    Known,
    /// There is no room for it.
    Full,
}

impl Keys {
    pub(crate) fn new(room: Room) -> Self {
        let (bytes, ends, table) = (Vec::new(), Vec::new(), HashTable::new());
        Self { bytes, ends, table, hasher: RandomState::new(), room }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn add(&mut self, key: &[u8]) -> Added {
        let hash = self.hasher.hash_one(key);
        if self.knows(hash, key) {
            return Added::Known;
        }
        if !self.room.take(key.len() + BYTES_OF_KEY) {
            return Added::Full;
        }
        self.insert(hash, key);
        Added::New
    }

    /// Adds the keys of another part of the rows, and returns how many of them were already known.
    pub(crate) fn merge(&mut self, mut other: Self) -> u64 {
        if other.len() > self.len() {
            std::mem::swap(self, &mut other);
        }
        let mut known = 0;
        for index in 0..other.len() {
            let key = key_at(&other.bytes, &other.ends, index);
            let hash = self.hasher.hash_one(key);
            // Its room was already taken when it was added to the other part.
            if self.knows(hash, key) { known += 1 } else { self.insert(hash, key) }
        }
        known
    }

    fn knows(&self, hash: u64, key: &[u8]) -> bool {
        self.table.find(hash, |index| key_at(&self.bytes, &self.ends, *index) == key).is_some()
    }

    fn insert(&mut self, hash: u64, key: &[u8]) {
        let Self { bytes, ends, table, hasher, .. } = self;
        bytes.extend_from_slice(key);
        ends.push(bytes.len());
        table.insert_unique(hash, ends.len() - 1, |index| hasher.hash_one(key_at(bytes, ends, *index)));
    }
}

fn key_at<'k>(bytes: &'k [u8], ends: &[usize], index: usize) -> &'k [u8] {
    let start = index.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start..ends[index]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_their_bytes() {
        let room = Room::new(MAX_KEY_BYTES);
        let (mut a, mut b) = (Keys::new(room.clone()), Keys::new(room));
        for number in 0..10_000_u32 {
            assert_eq!(a.add(&number.to_le_bytes()), Added::New);
        }
        assert_eq!(a.add(&7_u32.to_le_bytes()), Added::Known);
        assert_eq!((a.add(b""), a.add(b""), a.add(b"\0")), (Added::New, Added::Known, Added::New));
        for number in 9_990..10_005_u32 {
            b.add(&number.to_le_bytes());
        }
        assert_eq!(b.merge(a), 10);
        assert_eq!(b.len(), 10_007);
    }

    #[test]
    fn too_many_keys_are_reported() {
        let room = Room::new(10 * (4 + BYTES_OF_KEY));
        let (mut a, mut b) = (Keys::new(room.clone()), Keys::new(room));
        let added: Vec<Added> = (0..8_u32).map(|number| a.add(&number.to_le_bytes())).collect();
        assert_eq!(added, [Added::New; 8]);
        let added: Vec<Added> = (8..11_u32).map(|number| b.add(&number.to_le_bytes())).collect();
        assert_eq!(added, [Added::New, Added::New, Added::Full]);
        assert_eq!((a.merge(b), a.len()), (0, 10));
        assert_eq!(a.add(&99_u32.to_le_bytes()), Added::Full);
    }
}
