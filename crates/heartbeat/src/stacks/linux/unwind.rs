//! The call chain of a thread, from where it is to where it started.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameOffset, NativeEndian, RegisterRule, UnwindContext,
    UnwindSection as _,
};

use super::{
    frame_pointer,
    memory::Memory,
    objects::{Object, object_at},
    registers::{FRAME_POINTER, RETURN_ADDRESS, Registers, VENDOR, code_address},
};

type Slice<'b> = gimli::EndianSlice<'b, NativeEndian>;

/// The maximum size of the unwind information of one function. Even for a function with a thousand pushes it is smaller.
const MOST_ENTRY_BYTES: u32 = 1 << 16;

/// The version and the encodings of the index that linkers create: a sorted table of pairs of offsets from its start.
const INDEX: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// A chain of calls.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The code addresses of its frames, innermost first.
    pub(super) frames: Vec<u64>,
    /// Whether it reaches the start of the thread.
    pub(super) is_complete: bool,
}

/// Follows the calls from a code address and the registers there, for at most `most` frames.
pub(super) fn chain(
    memory: &Memory,
    objects: &[Object],
    code: u64,
    registers: Registers,
    most: usize,
) -> Chain {
    let mut chain = Chain::default();
    let mut frame = Frame { code, registers, is_called: false };
    while chain.frames.len() < most {
        chain.frames.push(frame.place());
        frame = match frame.caller(memory, objects) {
            Caller::Frame(caller) => caller,
            Caller::None => {
                chain.is_complete = true;
                break;
            }
            Caller::Unknown => break,
        };
    }
    chain
}

struct Frame {
    code: u64,
    registers: Registers,
    /// Whether the address is a return address, so that the call is before it.
    is_called: bool,
}

enum Caller {
    Frame(Frame),
    /// The start of the thread.
    None,
    Unknown,
}

impl Frame {
    /// An address within the current instruction of the frame. A return address may already belong to the next function.
    fn place(&self) -> u64 {
        self.code - u64::from(self.is_called)
    }

    fn caller(&self, memory: &Memory, objects: &[Object]) -> Caller {
        self.unwound(memory, objects).unwrap_or(Caller::Unknown)
    }

    fn unwound(&self, memory: &Memory, objects: &[Object]) -> Option<Caller> {
        let object = object_at(objects, self.place())?;
        let entry = Entry::of(memory, object.unwind_index?, self.place())?;
        let section = entry.section();
        let bases = BaseAddresses::default().set_eh_frame(entry.at);
        let found = section.fde_from_offset(&bases, EhFrameOffset(entry.begin), EhFrame::cie_from_offset);
        let function = found.ok().filter(|function| function.contains(self.place()))?;
        let mut context = UnwindContext::new();
        let row = function.unwind_info_for_address(&section, &bases, &mut context, self.place()).ok()?;
        let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { return None };
        let mut known = self.registers.clone();
        if register == FRAME_POINTER && known.get(register).is_none() {
            // The registers of a blocked thread do not show it, and functions called since may not have saved it either.
            let begin = function.initial_address();
            known.set(register, frame_pointer::recover(memory, objects, begin, known.stack_pointer));
        }
        let frame_address = known.get(register)?.checked_add_signed(offset)?;
        // A stack grows downwards: otherwise it is damaged, or has changed in the meantime.
        if frame_address < self.registers.stack_pointer
            || (self.is_called && frame_address == self.registers.stack_pointer)
        {
            return None;
        }
        let value = |register| match row.register(register) {
            Some(RegisterRule::Offset(offset)) => {
                memory.stack_word(frame_address.checked_add_signed(offset)?)
            }
            Some(RegisterRule::ValOffset(offset)) => frame_address.checked_add_signed(offset),
            Some(RegisterRule::Register(other)) => known.get(other),
            // If a callee-saved register has no rule, it is unchanged.
            Some(RegisterRule::SameValue) | None => known.get(register),
            Some(_) => None,
        };
        if matches!(row.register(RETURN_ADDRESS), Some(RegisterRule::Undefined)) {
            return Some(Caller::None);
        }
        let code = code_address(value(RETURN_ADDRESS)?);
        if code == 0 {
            return Some(Caller::None);
        }
        object_at(objects, code)?;
        let mut registers = Registers::new(frame_address);
        Registers::kept().for_each(|register| registers.set(register, value(register)));
        Some(Caller::Frame(Self { code, registers, is_called: !function.is_signal_trampoline() }))
    }
}

/// The unwind information of one function, preceded by the part that it shares with others.
struct Entry {
    bytes: Vec<u8>,
    /// The start of the part that belongs to it.
    begin: usize,
    /// The address at which the bytes would begin in memory with this layout.
    at: u64,
}

impl Entry {
    /// The entry of the function at an address, found with the sorted index of its object.
    fn of(memory: &Memory, index: u64, address: u64) -> Option<Self> {
        let at = function_entry(memory, index, address)?;
        let mut own = record(memory, at)?;
        // The second word is the distance back to the shared part.
        let back = u32::from_ne_bytes(own.get(4..8)?.try_into().ok()?);
        let mut bytes = record(memory, at.checked_add(4)?.checked_sub(u64::from(back))?)?;
        let begin = bytes.len();
        own[4..8].copy_from_slice(&u32::try_from(begin + 4).ok()?.to_ne_bytes());
        bytes.extend(own);
        Some(Self { bytes, begin, at: at.checked_sub(begin as u64)? })
    }

    fn section(&self) -> EhFrame<Slice<'_>> {
        let mut section = EhFrame::new(&self.bytes, NativeEndian);
        section.set_vendor(VENDOR);
        section
    }
}

/// A record of unwind information, which begins with its length.
fn record(memory: &Memory, at: u64) -> Option<Vec<u8>> {
    let len = memory.half(at).filter(|len| (4..MOST_ENTRY_BYTES).contains(len))?;
    memory.bytes(at, len as usize + 4)
}

/// The address of the unwind information of the function at an address, found by binary search.
fn function_entry(memory: &Memory, index: u64, address: u64) -> Option<u64> {
    let head = memory.bytes(index, INDEX.len())?;
    if head != INDEX {
        return None;
    }
    let count = u64::from(memory.half(index.checked_add(8)?)?);
    let table = index.checked_add(12)?;
    let place = |value: u32| index.wrapping_add_signed(i64::from(value.cast_signed()));
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if place(memory.half(table.checked_add(middle * 8)?)?) <= address {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let at = low.checked_sub(1)?;
    Some(place(memory.half(table.checked_add(at * 8 + 4)?)?))
}
