//! Recovers the unknown frame pointer of a function from its prologue.

use super::{
    memory::Memory,
    objects::{Object, object_at},
};

/// How many bytes at the beginning of a function may set up its frame.
const PROLOGUE_BYTES: usize = 64;

/// The frame pointer of the function at an address that runs with this stack pointer. `None` if its code does not show the size of
/// its frame, or the result is not a plausible frame.
pub(super) fn recover(memory: &Memory, objects: &[Object], function: u64, stack_pointer: u64) -> Option<u64> {
    let code = memory.bytes(function, PROLOGUE_BYTES)?;
    let candidate = stack_pointer.checked_add(frame_bytes(&code)?)?;
    let returns_to = memory.stack_word(candidate.checked_add(8)?)?;
    object_at(objects, returns_to.checked_sub(1)?)?;
    is_behind_call(memory, returns_to).then_some(candidate)
}

/// The number of bytes between stack pointer and frame pointer in a function that begins with this code.
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

/// On this processor, the frame pointer is not lost before the first call.
#[cfg(target_arch = "aarch64")]
fn frame_bytes(_: &[u8]) -> Option<u64> {
    None
}

/// Whether the instruction before an address is a call.
fn is_behind_call(memory: &Memory, address: u64) -> bool {
    let code = address.checked_sub(7).and_then(|from| memory.bytes(from, 7));
    code.is_some_and(|code| ends_with_call(&code))
}

fn ends_with_call(code: &[u8]) -> bool {
    // A relative call; or `ff` with a second byte that means call, with two to seven bytes.
    matches!(code, [_, _, 0xe8, ..])
        || code.windows(2).any(|pair| matches!(pair, [0xff, second] if second >> 3 & 7 == 2))
}

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests {
    use super::*;

    #[test]
    fn a_function_says_how_large_its_frame_is() {
        let check = |code: &[u8], expected: Option<u64>| assert_eq!(frame_bytes(code), expected, "{code:x?}");
        // push rbp; mov rbp, rsp; push r15; push rbx; sub rsp, 0x18; ...
        check(&[0x55, 0x48, 0x89, 0xe5, 0x41, 0x57, 0x53, 0x48, 0x83, 0xec, 0x18, 0x90], Some(0x28));
        // endbr64 in front of it; sub rsp, 0x1234
        let large = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec, 0x34, 0x12, 0, 0];
        check(&[&[0xf3, 0x0f, 0x1e, 0xfa], large.as_slice()].concat(), Some(0x1234));
        check(&[0x55, 0x48, 0x89, 0xe5, 0x90], Some(0));
        // sub rsp, 8: it has no frame pointer.
        check(&[0x48, 0x83, 0xec, 0x08], None);
    }

    #[test]
    fn calls_of_every_kind_are_known() {
        let check = |code: [u8; 7], expected: bool| assert_eq!(ends_with_call(&code), expected, "{code:x?}");
        check([0x90, 0x90, 0xe8, 1, 2, 3, 4], true);
        // call rax; call [rax + 0x18]; call [rip + ...]
        check([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0], true);
        check([0x90, 0x90, 0x90, 0x90, 0xff, 0x50, 0x18], true);
        check([0x90, 0xff, 0x15, 1, 2, 3, 4], true);
        // jmp rax, and none.
        check([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xe0], false);
        check([0x90; 7], false);
    }
}
