//! What a thread does with the standard streams of the process: whether it is blocked until its output is read.

/// The stream to which a thread is writing, and its target, as text such as `standard output, a pipe`. `None` if it does something
/// else, or writes to something that needs no reader.
#[cfg(target_os = "linux")]
pub(crate) fn written_by(thread: u64) -> Option<String> {
    let line = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).ok()?;
    let (output, descriptor) = output_of(&line)?;
    Some(format!("{output}, {}", reader_behind(descriptor)?))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn written_by(_: u64) -> Option<String> {
    None
}

/// The numbers of the system calls for writing: write, pwrite64, writev, sendfile, sendto and sendmsg.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const WRITES: [u32; 6] = [1, 18, 20, 40, 44, 46];
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
const WRITES: [u32; 6] = [64, 68, 66, 71, 206, 211];
#[cfg(all(target_os = "linux", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
const WRITES: [u32; 0] = [];

/// Whether a thread is reading standard input, which a program may do for its whole lifetime.
#[cfg(target_os = "linux")]
pub(crate) fn reads_input(thread: u64) -> bool {
    let line = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).unwrap_or_default();
    is_read_of_input(&line)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn reads_input(_: u64) -> bool {
    false
}

/// The numbers of the system calls for reading: read, pread64, readv, recvfrom and recvmsg.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const READS: [u32; 5] = [0, 17, 19, 45, 47];
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
const READS: [u32; 5] = [63, 67, 65, 207, 212];
#[cfg(all(target_os = "linux", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
const READS: [u32; 0] = [];

#[cfg(target_os = "linux")]
fn is_read_of_input(line: &str) -> bool {
    let mut fields = line.split_ascii_whitespace();
    let call: Option<u32> = fields.next().and_then(|call| call.parse().ok());
    call.is_some_and(|call| READS.contains(&call)) && fields.next() == Some("0x0")
}

/// The stream of a system call, from its number and its first argument, as in `1 0x1 0x7ffd 0x20 ...`.
#[cfg(target_os = "linux")]
fn output_of(line: &str) -> Option<(&'static str, u32)> {
    let mut fields = line.split_ascii_whitespace();
    let call: u32 = fields.next()?.parse().ok()?;
    match (WRITES.contains(&call), fields.next()?) {
        (true, "0x1") => Some(("standard output", 1)),
        (true, "0x2") => Some(("standard error", 2)),
        _ => None,
    }
}

#[cfg(target_os = "linux")]
fn reader_behind(descriptor: u32) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt as _;

    let kind = std::fs::metadata(format!("/proc/self/fd/{descriptor}")).ok()?.file_type();
    let kinds =
        [(kind.is_fifo(), "a pipe"), (kind.is_socket(), "a socket"), (kind.is_char_device(), "a terminal")];
    kinds.into_iter().find(|(is_it, _)| *is_it).map(|(_, words)| words)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn calls_on_standard_streams_are_known() {
        let check = |line: &str, expected: Option<u32>| {
            assert_eq!(output_of(line).map(|(_, descriptor)| descriptor), expected, "{line}");
        };
        check("1 0x1 0x7f25285290f0 0x1fed 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f", Some(1));
        check("20 0x2 0x7f25285290f0 0x2 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f", Some(2));
        // Its own file, and a read.
        check("1 0x10 0x7f25285290f0 0x1fed 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f", None);
        check("0 0x1 0x7f25285290f0 0x1fed 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f", None);
        check("running", None);
        assert!(is_read_of_input("0 0x0 0x7f25285290f0 0x1fed 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f"));
        assert!(!is_read_of_input("0 0x1 0x7f25285290f0 0x1fed 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f"));
        assert!(!is_read_of_input("1 0x0 0x7f25285290f0 0x1fed 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f"));
        assert!(!is_read_of_input("running"));
        check("-1 0x7f256fee7ff0 0x7f25760a038f", None);
    }
}
