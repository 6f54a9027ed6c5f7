//! Identifying the process that a pid belongs to, from `/proc`. Without `/proc`, nothing is known.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The state and start of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ProcessStat {
    /// The one-letter state.
    pub(crate) state: char,
    /// When it started, in ticks since the machine booted. Together with the pid it identifies one process.
    pub(crate) start_ticks: u64,
}

impl ProcessStat {
    /// For this process; `None` if the system does not provide it.
    pub(crate) fn for_self() -> Option<Self> {
        Self::read(Path::new("/proc/self/stat")).ok()
    }

    /// For the process with a pid of this machine and namespace.
    ///
    /// # Errors
    ///
    /// When there is no such process, or the system does not provide it.
    pub(crate) fn for_pid(pid: u32) -> io::Result<Self> {
        Self::read(&PathBuf::from(format!("/proc/{pid}/stat")))
    }

    fn read(path: &Path) -> io::Result<Self> {
        // The user chooses the name of the program, which may not be UTF-8.
        let text = fs::read(path)?;
        Self::parse(&String::from_utf8_lossy(&text)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Parses the text. The program name is in parentheses and may contain spaces and parentheses itself, so fields are counted
    /// from the last one.
    fn parse(text: &str) -> Option<Self> {
        // After the last parenthesis: the name of the program is in parentheses, and may contain spaces and parentheses.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |position: usize| fields.get(position)?.parse::<u64>().ok();
        // Field 22 of proc_pid_stat(5) is the start time: two fields precede the parenthesis, and the state is the first one after
        // it.
        Some(Self { state: fields.first()?.chars().next()?, start_ticks: number(19)? })
    }

    /// Whether it has ended, and its parent has not waited for it yet.
    pub(crate) fn is_dead(&self) -> bool {
        // A zombie keeps its pid and its start time until its parent waits for it. A container without an init process never does,
        // and the run would count as alive forever.
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// The context in which a pid is meaningful: a boot of a machine, and a pid namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessSpace {
    pub(crate) boot_id: Option<String>,
    pub(crate) pid_namespace: Option<String>,
}

impl ProcessSpace {
    pub(crate) fn current() -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let pid_namespace = fs::read_link("/proc/self/ns/pid").ok();
        Self {
            boot_id: boot_id.map(|id| id.trim().to_owned()),
            pid_namespace: pid_namespace.map(|link| link.to_string_lossy().into_owned()),
        }
    }
}

/// Whether processes of other users are visible; a mount option of `/proc` can hide them.
pub(crate) fn sees_other_users() -> bool {
    ProcessStat::for_pid(1).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_does_not_shift_the_fields() {
        let line = "77 (a) b (c) R 1 77 77 0 -1 4194304 90 0 0 0 250 50 0 0 20 0 1 0 8642 1 2 3";
        let expected = ProcessStat { state: 'R', start_ticks: 8642 };
        assert_eq!(ProcessStat::parse(line), Some(expected));
        assert_eq!(ProcessStat::parse("77 (a"), None);
        assert_eq!(ProcessStat::parse("77 (a) R 1"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_known() {
        let stat = ProcessStat::for_self().unwrap();
        assert_eq!(ProcessStat::for_pid(std::process::id()).unwrap().start_ticks, stat.start_ticks);
        assert!(!stat.is_dead());
        assert!(ProcessSpace::current().boot_id.is_some());
    }
}
