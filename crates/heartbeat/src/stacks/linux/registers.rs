//! The registers needed for unwinding, with their DWARF numbers for each processor.

use gimli::{Register, Vendor};

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub(super) const STACK_POINTER: u16 = 7;
    pub(super) const FRAME_POINTER: u16 = 6;
    pub(super) const RETURN_ADDRESS: u16 = 16;
    /// The callee-saved registers: rbx, rbp, r12 to r15.
    pub(super) const KEPT: &[u16] = &[3, 6, 12, 13, 14, 15];
    pub(super) const VENDOR: gimli::Vendor = gimli::Vendor::Default;
    /// The bits of a code address that are significant.
    pub(super) const ADDRESS: u64 = u64::MAX;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    pub(super) const STACK_POINTER: u16 = 31;
    pub(super) const FRAME_POINTER: u16 = 29;
    pub(super) const RETURN_ADDRESS: u16 = 30;
    /// The callee-saved registers, and that of the return address.
    pub(super) const KEPT: &[u16] = &[19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30];
    pub(super) const VENDOR: gimli::Vendor = gimli::Vendor::AArch64;
    /// The upper bits contain a signature.
    pub(super) const ADDRESS: u64 = (1 << 48) - 1;
}

pub(super) const FRAME_POINTER: Register = Register(numbers::FRAME_POINTER);
pub(super) const RETURN_ADDRESS: Register = Register(numbers::RETURN_ADDRESS);
pub(super) const VENDOR: Vendor = numbers::VENDOR;

/// The known registers of a frame: at first only the stack pointer.
#[derive(Debug, Clone)]
pub(super) struct Registers {
    pub(super) stack_pointer: u64,
    kept: [Option<u64>; numbers::KEPT.len()],
}

impl Registers {
    pub(super) fn new(stack_pointer: u64) -> Self {
        Self { stack_pointer, kept: [None; numbers::KEPT.len()] }
    }

    pub(super) fn get(&self, register: Register) -> Option<u64> {
        if register.0 == numbers::STACK_POINTER {
            return Some(self.stack_pointer);
        }
        self.kept[position(register)?]
    }

    pub(super) fn set(&mut self, register: Register, value: Option<u64>) {
        if let Some(position) = position(register) {
            self.kept[position] = value;
        }
    }

    pub(super) fn kept() -> impl Iterator<Item = Register> {
        numbers::KEPT.iter().map(|number| Register(*number))
    }
}

/// A code address without the other content of its bits.
pub(super) fn code_address(value: u64) -> u64 {
    value & numbers::ADDRESS
}

fn position(register: Register) -> Option<usize> {
    numbers::KEPT.iter().position(|kept| *kept == register.0)
}
