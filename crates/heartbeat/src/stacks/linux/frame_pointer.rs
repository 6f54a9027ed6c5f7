//! The frame pointer of a function that is not known otherwise, from how the function begins.

use super::{
    memory::Memory,
    objects::{Object, object_at},
};

/// Bytes at the begin of a function in which it makes its frame.
const PROLOGUE_BYTES: usize = 64;

/// The frame pointer of the function at an address that runs with this stack pointer. `None` where its code does not say how large its
/// frame is, or no call has returned to it.
pub(super) fn recover(memory: &Memory, objects: &[Object], function: u64, stack_pointer: u64) -> Option<u64> {
    let code = memory.bytes(function, PROLOGUE_BYTES)?;
    let candidate = stack_pointer.checked_add(frame_bytes(&code)?)?;
    let returns_to = memory.word(candidate.checked_add(8)?)?;
    object_at(objects, returns_to.checked_sub(1)?)?;
    is_behind_call(memory, returns_to).then_some(candidate)
}

/// Bytes between the stack pointer and the frame pointer of a function that begins with this code.
#[cfg(target_arch = "x86_64")]
fn frame_bytes(code: &[u8]) -> Option<u64> {
    const MARK: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
    const PUSH_FRAME_POINTER: &[u8] = &[0x55];
    const SET_FRAME_POINTER: &[u8] = &[0x48, 0x89, 0xe5];
    let code = code.strip_prefix(MARK).unwrap_or(code);
    let mut code = code.strip_prefix(PUSH_FRAME_POINTER)?.strip_prefix(SET_FRAME_POINTER)?;
    let mut bytes = 0;
    loop {
        code = match code {
            // push of a register
            [0x50..=0x57, rest @ ..] | [0x41, 0x50..=0x57, rest @ ..] => {
                bytes += 8;
                rest
            }
            // sub rsp, immediate
            [0x48, 0x83, 0xec, size, ..] => return Some(bytes + u64::from(*size)),
            [0x48, 0x81, 0xec, a, b, c, d, ..] => {
                return Some(bytes + u64::from(u32::from_le_bytes([*a, *b, *c, *d])));
            }
            _ => return Some(bytes),
        };
    }
}

/// Functions of this processor keep the frame pointer in front of their first call.
#[cfg(target_arch = "aarch64")]
fn frame_bytes(_: &[u8]) -> Option<u64> {
    None
}

/// Whether the instruction in front of an address is a call.
fn is_behind_call(memory: &Memory, address: u64) -> bool {
    let Some(code) = address.checked_sub(7).and_then(|from| memory.bytes(from, 7)) else { return false };
    // A call of an address relative to it; or `ff` with a second byte that says call, of two to seven bytes.
    code[2] == 0xe8 || (0..=5).any(|at| code[at] == 0xff && code[at + 1] >> 3 & 7 == 2)
}
