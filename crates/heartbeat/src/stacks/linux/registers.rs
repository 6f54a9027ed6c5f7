//! The registers needed for unwinding, with their DWARF numbers for each processor.

use gimli::{Register, Vendor};

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub(super) const STACK_POINTER: u16 = 7;
    pub(super) const FRAME_POINTER: u16 = 6;
    pub(super) const RETURN_ADDRESS: u16 = 16;
    /// The callee-saved registers: rbx, rbp, r12 to r15.
    pub(super) const KEPT: &[u16] = &[3, 6, 12, 13, 14, 15];
    /// The bits of `asm/perf_regs.h` for the callee-saved registers, in ascending order, and the DWARF numbers.
    pub(super) const SAMPLED: &[(u32, u16)] = &[(1, 3), (6, 6), (20, 12), (21, 13), (22, 14), (23, 15)];
    pub(super) const SAMPLED_STACK_POINTER: u32 = 7;
    pub(super) const SAMPLED_CODE: u32 = 8;
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
    /// The bits of `asm/perf_regs.h`, and the DWARF numbers.
    pub(super) const SAMPLED: &[(u32, u16)] = &[
        (19, 19),
        (20, 20),
        (21, 21),
        (22, 22),
        (23, 23),
        (24, 24),
        (25, 25),
        (26, 26),
        (27, 27),
        (28, 28),
        (29, 29),
        (30, 30),
    ];
    pub(super) const SAMPLED_STACK_POINTER: u32 = 31;
    pub(super) const SAMPLED_CODE: u32 = 32;
    pub(super) const VENDOR: gimli::Vendor = gimli::Vendor::AArch64;
    /// The upper bits contain a signature.
    pub(super) const ADDRESS: u64 = (1 << 48) - 1;
}

pub(super) const FRAME_POINTER: Register = Register(numbers::FRAME_POINTER);
pub(super) const RETURN_ADDRESS: Register = Register(numbers::RETURN_ADDRESS);
pub(super) const VENDOR: Vendor = numbers::VENDOR;

/// The known registers of a frame: of a blocked thread at first only the stack pointer.
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

/// The registers that the system samples of a running thread, as a mask of their bits in `asm/perf_regs.h`.
pub(super) fn sampled_mask() -> u64 {
    use numbers::{SAMPLED, SAMPLED_CODE, SAMPLED_STACK_POINTER};
    let bits = SAMPLED.iter().map(|(bit, _)| *bit).chain([SAMPLED_STACK_POINTER, SAMPLED_CODE]);
    bits.fold(0, |mask, bit| mask | 1 << bit)
}

/// The code address and the registers of a sample, whose values are those of [`sampled_mask`] in the order of the bits.
pub(super) fn of_sample(values: &[u64]) -> Option<(u64, Registers)> {
    let mask = sampled_mask();
    let value = |bit: u32| {
        let position = (mask & ((1 << bit) - 1)).count_ones();
        values.get(position as usize).copied()
    };
    let mut registers = Registers::new(value(numbers::SAMPLED_STACK_POINTER)?);
    for (bit, number) in numbers::SAMPLED {
        registers.set(Register(*number), Some(value(*bit)?));
    }
    Some((value(numbers::SAMPLED_CODE)?, registers))
}

/// A code address without the other content of its bits.
pub(super) fn code_address(value: u64) -> u64 {
    value & numbers::ADDRESS
}

fn position(register: Register) -> Option<usize> {
    numbers::KEPT.iter().position(|kept| *kept == register.0)
}
