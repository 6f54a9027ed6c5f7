//! What this process has used, from `/proc`. Where there is none, nothing is known.

use std::fs;

use daglight_run_bundle::{IoCounters, ProcessStat};

/// Processor time of this process, user and system.
pub(crate) fn cpu_seconds() -> Option<f64> {
    ProcessStat::for_self().map(|stat| stat.cpu_seconds)
}

/// Bytes that this process has moved from and to storage.
pub(crate) fn io_counters() -> Option<IoCounters> {
    parse_io(&fs::read_to_string("/proc/self/io").ok()?)
}

fn parse_io(text: &str) -> Option<IoCounters> {
    Some(IoCounters { bytes_read: field(text, "read_bytes:")?, bytes_written: field(text, "write_bytes:")? })
}

/// Memory that this process holds.
pub(crate) fn resident_bytes() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:").map(|kibibytes: u64| kibibytes * 1024)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name() {
        let text = "rchar: 1\nwchar: 2\nread_bytes: 30\nwrite_bytes: 40\ncancelled_write_bytes: 5\n";
        assert_eq!(parse_io(text), Some(IoCounters { bytes_read: 30, bytes_written: 40 }));
        assert_eq!(parse_io("rchar: 1\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_known() {
        assert!(cpu_seconds().is_some());
        assert!(resident_bytes().unwrap() > 0);
    }
}
