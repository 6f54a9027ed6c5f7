//! The resources that this process uses, from `sysinfo` on Linux and macOS. Values that the system does not provide are unknown.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
};

use daglight_run_bundle::{IoCounters, StalledThread};
use serde::{Deserialize, Serialize};
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::standard_streams::written_by;

/// The current resource usage of a process. A value is `None` if the system does not provide it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Bytes read from and written to storage.
    pub io: Option<IoCounters>,
    /// Processor time since its start, user and system.
    pub cpu_seconds: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// The number of its threads. Only Linux provides it.
    pub threads: Option<usize>,
    /// The number of open files, sockets and similar.
    pub open_files: Option<usize>,
}

impl ProcessFacts {
    /// The current usage of this process.
    pub fn now() -> Self {
        ProcessWatch::new().facts()
    }

    /// The same, with what is counted from the start of the process counted from `before`.
    pub(crate) fn since(self, before: &Self) -> Self {
        let io = self.io.zip(before.io).map(|(now, before)| IoCounters {
            bytes_read: now.bytes_read.saturating_sub(before.bytes_read),
            bytes_written: now.bytes_written.saturating_sub(before.bytes_written),
        });
        let cpu_seconds =
            self.cpu_seconds.zip(before.cpu_seconds).map(|(now, before)| (now - before).max(0.0));
        Self { io, cpu_seconds, ..self }
    }
}

/// The state of a thread that is running, or waiting for a processor.
pub(crate) const RUNNABLE: &str = "runnable";

/// The state of a thread that cannot be woken until a device, or a network file system, has responded.
pub(crate) const WAITING_FOR_DISK: &str = "waiting for a disk";

/// A thread of this process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ThreadFacts {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) state: String,
    /// Since the thread started.
    pub(crate) cpu_seconds: f64,
    /// Bytes that it has read since its start, from any source; `None` if not requested, or unknown.
    pub(crate) read_bytes: Option<u64>,
}

impl ThreadFacts {
    /// The form for the evidence of a stall, with the place in the kernel in which it sleeps, if available.
    pub(crate) fn stalled(&self) -> StalledThread {
        // Only for stalled threads: the kernel walks the stack of the thread for this, and a process may have hundreds.
        let place = fs::read_to_string(format!("/proc/self/task/{}/wchan", self.number)).ok();
        let place =
            place.map(|place| place.trim().to_owned()).filter(|place| !place.is_empty() && place != "0");
        StalledThread {
            name: self.name.clone(),
            state: self.state.clone(),
            waits_in: place,
            writes_to: written_by(self.number),
            cpu_seconds: self.cpu_seconds,
            number: Some(self.number),
            stack: None,
        }
    }
}

/// The threads of this process. Only Linux provides details; `sysinfo` leaves them out when asked for a single process. The bytes
/// that they have read are determined only for `polled` threads, because a process may have hundreds.
pub(crate) fn threads(polled: &BTreeSet<u64>) -> Vec<ThreadFacts> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    threads.filter_map(|thread| ThreadFacts::of(&thread.ok()?.path(), polled)).collect()
}

impl ThreadFacts {
    fn of(folder: &Path, polled: &BTreeSet<u64>) -> Option<Self> {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        // The name is in parentheses, and may contain any character.
        let stat = read("stat")?;
        let (before, behind) = stat.rsplit_once(')')?;
        let state = match behind.trim_start().chars().next()? {
            'R' => RUNNABLE,
            'S' => "sleeping",
            'D' => WAITING_FOR_DISK,
            'T' | 't' => "stopped",
            _ => "ending",
        };
        // In nanoseconds; `stat` has hundredths of a second, which is too coarse for a beat each second.
        let nanoseconds: u64 = read("schedstat")?.split_ascii_whitespace().next()?.parse().ok()?;
        let number = folder.file_name()?.to_str()?.parse().ok()?;
        let io = polled.contains(&number).then(|| read("io")).flatten();
        Some(Self {
            number,
            read_bytes: io.as_deref().and_then(read_bytes),
            name: before.split_once('(')?.1.trim_end().to_owned(),
            state: state.to_owned(),
            cpu_seconds: nanoseconds as f64 / 1e9,
        })
    }
}

/// The number of bytes read in the `io` file of a thread: including pipes, sockets and the page cache.
fn read_bytes(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("rchar:"))?.trim().parse().ok()
}

/// Processor time of the machine since it booted, in units of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MachineTime {
    idle: u64,
    all: u64,
}

impl MachineTime {
    /// Linux has it in the first line of the file.
    fn now() -> Option<Self> {
        Self::of(fs::read_to_string("/proc/stat").ok()?.lines().next()?)
    }

    fn of(line: &str) -> Option<Self> {
        let times = line.strip_prefix("cpu ")?.split_ascii_whitespace();
        // User, nice, system, idle, waiting for disks, interrupts, and stolen by other machines. The following ones for guests are
        // already included in the first ones.
        let times: Vec<u64> = times.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let idle = times.get(3)?.checked_add(*times.get(4)?)?;
        Some(Self { idle, all: times.iter().sum() })
    }

    /// The share of the time since `before` that was idle. `None` if no time has passed.
    fn idle_share_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        Some(self.idle.saturating_sub(before.idle) as f64 / all as f64)
    }
}

/// Reads the resource usage of this process repeatedly.
#[derive(Debug)]
pub(crate) struct ProcessWatch {
    system: Option<(System, Pid)>,
    /// Linux hides the storage counters of some processes, whose zeros would be wrong.
    has_io: bool,
    /// The machine's time when this was created.
    machine: Option<MachineTime>,
}

impl ProcessWatch {
    pub(crate) fn new() -> Self {
        let system = System::new().ok().zip(sysinfo::get_current_pid().ok());
        // Checked separately, because `sysinfo` reports zeros if the file cannot be read, as on a kernel without
        // `CONFIG_TASK_IO_ACCOUNTING`.
        let has_io = !cfg!(target_os = "linux") || File::open("/proc/self/io").is_ok();
        Self { system, has_io, machine: MachineTime::now() }
    }

    /// The share of the machine's processor time that was idle since this was created.
    pub(crate) fn idle_share(&self) -> Option<f64> {
        MachineTime::now()?.idle_share_since(self.machine?)
    }

    /// The current usage.
    pub(crate) fn facts(&mut self) -> ProcessFacts {
        let has_io = self.has_io;
        let Some(process) = self.refreshed() else { return ProcessFacts::default() };
        let io = process.disk_usage();
        let io = IoCounters { bytes_read: io.total_read_bytes, bytes_written: io.total_written_bytes };
        ProcessFacts {
            io: Some(io).filter(|_| has_io),
            cpu_seconds: Some(process.accumulated_cpu_time() as f64 / 1e3),
            resident_bytes: Some(process.memory()),
            // The main thread is not in the list.
            threads: process.tasks().map(|others| others.len() + 1),
            open_files: process.open_files(),
        }
    }

    fn refreshed(&mut self) -> Option<&Process> {
        let (system, pid) = self.system.as_mut()?;
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().with_disk_usage().with_tasks();
        // Threads that have ended are removed.
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[*pid]), true, what);
        system.process(*pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idle_time_of_a_machine_is_a_share_of_all_of_it() {
        let time = |line| MachineTime::of(line);
        let before = time("cpu  100 10 40 200 20 0 5 5 7 0").unwrap();
        assert_eq!(before, MachineTime { idle: 220, all: 380 });
        let after = time("cpu  150 10 40 230 40 0 5 5 9 0").unwrap();
        assert_eq!(after.idle_share_since(before), Some(0.5));
        assert_eq!(before.idle_share_since(before), None);
        assert_eq!((time("cpu0 1 2 3 4 5 6 7 8"), time("cpu  1 2"), time("")), (None, None, None));
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    fn this_process_is_known() {
        let mut process = ProcessWatch::new();
        let before = process.facts();
        assert!(before.cpu_seconds.is_some() && before.resident_bytes.is_some_and(|bytes| bytes > 0));
        // Other tests open and close files at the same time, but not that many.
        let files: Vec<_> = (0..400).map(|_| File::open("src").unwrap()).collect();
        assert!(process.facts().open_files > before.open_files.map(|open| open + files.len() / 2));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_that_sleeps_is_distinguished_from_one_that_runs() {
        let (go_on, waiting) = std::sync::mpsc::channel::<()>();
        let sleeping = std::thread::Builder::new().name("(a) thread".into());
        let sleeping = sleeping.spawn(move || waiting.recv()).unwrap();
        let state = |name: &str| {
            threads(&BTreeSet::new())
                .into_iter()
                .find(|thread| thread.name == name)
                .map(|thread| thread.state)
        };
        while state("(a) thread").as_deref() != Some("sleeping") {
            std::thread::yield_now();
        }
        let number = fs::read_link("/proc/thread-self").unwrap();
        let own = || {
            threads(&BTreeSet::new())
                .into_iter()
                .find(|thread| number.ends_with(thread.number.to_string()))
                .unwrap()
        };
        assert_eq!(own().state, RUNNABLE);
        // The system counts in hundredths of a second, which may still be zero at the start of a test.
        while own().cpu_seconds == 0.0 {}
        drop(go_on);
        sleeping.join().unwrap().unwrap_err();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_thread_reads_is_known_where_it_is_asked_for() {
        let link = fs::read_link("/proc/thread-self").unwrap();
        let own: u64 = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let read = |polled: &[u64]| {
            let threads = threads(&polled.iter().copied().collect());
            threads.into_iter().find(|thread| thread.number == own).unwrap().read_bytes
        };
        assert_eq!(read(&[]), None);
        // A pipe is not storage, but counts.
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let before = read(&[own]).unwrap();
        std::io::Write::write_all(&mut writer, &[7; 5_000]).unwrap();
        std::io::Read::read_exact(&mut reader, &mut [0; 5_000]).unwrap();
        assert!(read(&[own]).unwrap() >= before + 5_000);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn threads_are_counted_as_long_as_they_live() {
        let mut process = ProcessWatch::new();
        let (go_on, waiting) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || waiting.recv());
        let with = process.facts().threads;
        assert!(with >= Some(2), "{with:?}");
        drop(go_on);
        thread.join().unwrap().unwrap_err();
    }
}
