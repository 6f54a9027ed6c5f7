//! Reads the memory of this process without risking a fault.

use std::{fs::File, io, os::unix::fs::FileExt as _, rc::Rc};

/// The memory of this process through the system: an unmapped address results in an error instead of a fault.
#[derive(Debug)]
pub(super) struct Memory {
    file: Rc<File>,
    /// The stack of the thread as it was at one moment; `None` where it does not change.
    stack: Option<StackCopy>,
}

/// The inner part of a stack.
#[derive(Debug)]
pub(super) struct StackCopy {
    /// The address of the first byte.
    pub(super) from: u64,
    pub(super) bytes: Vec<u8>,
}

impl StackCopy {
    fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.from)?).ok()?;
        let word = self.bytes.get(at..at.checked_add(8)?)?;
        Some(u64::from_ne_bytes(word.try_into().ok()?))
    }
}

impl Memory {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { file: Rc::new(File::open("/proc/self/mem")?), stack: None })
    }

    /// The same memory as a thread with this stack saw it.
    pub(super) fn with_stack(&self, stack: StackCopy) -> Self {
        Self { file: Rc::clone(&self.file), stack: Some(stack) }
    }

    /// A word of the stack. Of a copied stack none that is not copied: it may have changed since.
    pub(super) fn stack_word(&self, address: u64) -> Option<u64> {
        match &self.stack {
            Some(stack) => stack.word(address),
            None => self.word(address),
        }
    }

    /// Fills the buffer from an address. `None` if part of it cannot be read.
    pub(super) fn fill(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        self.file.read_exact_at(buffer, address).ok()
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
