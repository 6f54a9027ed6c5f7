//! Reads the memory of this process without risking a fault.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// The memory of this process through the system: an unmapped address results in an error instead of a fault.
#[derive(Debug)]
pub(super) struct Memory(File);

impl Memory {
    pub(super) fn open() -> io::Result<Self> {
        File::open("/proc/self/mem").map(Self)
    }

    /// Fills the buffer from an address. `None` if part of it cannot be read.
    pub(super) fn fill(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        self.0.read_exact_at(buffer, address).ok()
    }

    pub(super) fn bytes(&self, address: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.fill(address, &mut bytes)?;
        Some(bytes)
    }

    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.fill(address, &mut bytes)?;
        Some(u64::from_ne_bytes(bytes))
    }

    pub(super) fn half(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.fill(address, &mut bytes)?;
        Some(u32::from_ne_bytes(bytes))
    }
}
