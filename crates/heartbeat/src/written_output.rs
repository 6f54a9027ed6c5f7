//! Whether a thread waits until somebody reads what it writes to the output of the process.

/// The output into which a thread is writing, and what is behind it, in words such as `standard output, a pipe`. `None` where it
/// does something else, or writes into what needs no reader.
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

/// The numbers of the calls by which a thread writes: write, pwrite64, writev, sendfile, sendto and sendmsg.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const WRITES: [u32; 6] = [1, 18, 20, 40, 44, 46];
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
const WRITES: [u32; 6] = [64, 68, 66, 71, 206, 211];
#[cfg(all(target_os = "linux", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
const WRITES: [u32; 0] = [];

/// The output that a call is about: its number and its first argument, as in `1 0x1 0x7ffd 0x20 ...`.
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
    fn only_what_writes_to_an_output_of_the_process_waits_for_its_reader() {
        let check = |line: &str, expected: Option<u32>| {
            assert_eq!(output_of(line).map(|(_, descriptor)| descriptor), expected, "{line}");
        };
        check("1 0x1 0x7f25285290f0 0x1fed 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f", Some(1));
        check("20 0x2 0x7f25285290f0 0x2 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f", Some(2));
        // A file of its own, and a read.
        check("1 0x10 0x7f25285290f0 0x1fed 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f", None);
        check("0 0x1 0x7f25285290f0 0x1fed 0x0 0x0 0x0 0x7f256fee7ff0 0x7f25760a038f", None);
        check("running", None);
        check("-1 0x7f256fee7ff0 0x7f25760a038f", None);
    }
}
