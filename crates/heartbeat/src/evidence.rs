//! `heartbeat.json`: the proof that a process lives, or what it was doing when it was last seen.

use std::{
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use daglight_guarded_files::FileBelow;
use serde::{Deserialize, Serialize};

use crate::{
    ActiveTask, Beat, IoCounters, StallChanges, StallLog,
    process::{self, ProcessSpace, ProcessStat},
};

/// The version of `heartbeat.json`.
///
/// - 1: process, beats, active tasks, resources, stalls; later `last_seen_at`, which readers that do not know it pass
///   over.
pub const EVIDENCE_VERSION: u32 = 1;

/// Bytes of a heartbeat file, 16 MiB: it holds what runs at one moment.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What `heartbeat.json` holds. It is replaced as a whole with each beat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessEvidence {
    /// The version of this format: [`EVIDENCE_VERSION`].
    pub format_version: u32,
    /// The process.
    pub pid: u32,
    /// When the process started, in ticks since the machine did; with the pid it names one process only.
    pub start_ticks: Option<u64>,
    /// The boot of the machine.
    pub boot_id: Option<String>,
    /// The namespace in which the pid is counted.
    pub pid_namespace: Option<String>,
    /// When the heartbeat started.
    pub started_at: DateTime<Utc>,
    /// The last beat, or the start before the first.
    pub last_beat_at: DateTime<Utc>,
    /// When the process was last seen, between two beats too. `None` in files of older versions.
    #[serde(default)]
    pub last_seen_at: Option<DateTime<Utc>>,
    /// When the heartbeat was stopped in good order; `None` while it beats, and when the process was killed.
    pub stopped_at: Option<DateTime<Utc>>,
    /// Beats so far.
    pub beats: u64,
    /// Seconds between two beats.
    pub interval_seconds: f64,
    /// The longest time between two beats; much more than the interval when the machine was overloaded or suspended.
    pub longest_gap_seconds: f64,
    /// The stage when the process was last seen.
    pub stage: Option<String>,
    /// What ran when the process was last seen.
    pub active_tasks: Vec<ActiveTask>,
    /// Bytes from and to storage.
    pub io: Option<IoCounters>,
    /// Processor time of the process.
    pub cpu_seconds: Option<f64>,
    /// The largest memory seen at a beat.
    pub peak_resident_bytes: Option<u64>,
    /// The stalls so far.
    pub stalls: StallLog,
}

/// Whether the process of an evidence still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// The process runs.
    Alive,
    /// The process has ended.
    Gone,
    /// It cannot be told from here: another machine, another container, or a system that does not say.
    Unknown,
}

/// Why evidence could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The file cannot be read.
    #[error("cannot read the heartbeat file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not what a heartbeat writes.
    #[error("the heartbeat file {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A newer Daglight wrote the file.
    #[error(
        "the heartbeat file {} has format {found}, this version of Daglight reads up to {EVIDENCE_VERSION}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl ProcessEvidence {
    /// The evidence of this process before its first beat.
    pub(crate) fn of_self(now: DateTime<Utc>, interval_seconds: f64) -> Self {
        let space = ProcessSpace::current();
        Self {
            format_version: EVIDENCE_VERSION,
            pid: std::process::id(),
            start_ticks: ProcessStat::of_self().map(|stat| stat.start_ticks),
            boot_id: space.boot_id,
            pid_namespace: space.pid_namespace,
            started_at: now,
            last_beat_at: now,
            last_seen_at: Some(now),
            stopped_at: None,
            beats: 0,
            interval_seconds,
            longest_gap_seconds: 0.0,
            stage: None,
            active_tasks: Vec::new(),
            io: None,
            cpu_seconds: None,
            peak_resident_bytes: None,
            stalls: StallLog::default(),
        }
    }

    /// Takes a beat in, and returns which stalls began or ended with it.
    pub(crate) fn record(&mut self, beat: &Beat) -> StallChanges {
        let gap_seconds = (beat.at - self.last_beat_at).as_seconds_f64();
        self.longest_gap_seconds = self.longest_gap_seconds.max(gap_seconds);
        self.last_beat_at = beat.at;
        self.last_seen_at = Some(beat.at);
        self.beats = beat.sequence;
        self.stage.clone_from(&beat.stage);
        self.active_tasks.clone_from(&beat.active_tasks);
        self.record_resources(beat.io, beat.cpu_seconds, beat.resident_bytes);
        self.stalls.record(beat.at, &beat.stalls)
    }

    /// Takes in what the process does between two beats.
    pub(crate) fn record_sign(
        &mut self,
        now: DateTime<Utc>,
        stage: Option<String>,
        active_tasks: Vec<ActiveTask>,
    ) {
        self.last_seen_at = Some(now);
        self.stage = stage;
        self.active_tasks = active_tasks;
    }

    /// When the process was last seen.
    pub fn seen_at(&self) -> DateTime<Utc> {
        self.last_seen_at.map_or(self.last_beat_at, |seen| seen.max(self.last_beat_at))
    }

    /// The end in good order. Nothing runs any more, and the resources are those of the whole run.
    pub(crate) fn record_stop(&mut self, now: DateTime<Utc>) {
        self.stopped_at = Some(now);
        self.stage = None;
        self.active_tasks.clear();
        let cpu_seconds = ProcessStat::of_self().map(|stat| stat.cpu_seconds);
        self.record_resources(process::io_counters(), cpu_seconds, process::resident_bytes());
        self.stalls.record(now, &[]);
    }

    fn record_resources(&mut self, io: Option<IoCounters>, cpu_seconds: Option<f64>, resident: Option<u64>) {
        self.io = io;
        self.cpu_seconds = cpu_seconds;
        self.peak_resident_bytes = self.peak_resident_bytes.max(resident);
    }

    /// Reads what a heartbeat has written.
    ///
    /// # Errors
    ///
    /// When the file is missing, damaged, or of a newer format.
    pub fn read(path: &Path) -> Result<Self, EvidenceError> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let text = FileBelow::at(path)
            .read(MAX_FILE_BYTES)
            .map_err(|source| EvidenceError::Read { path: path.to_owned(), source })?;
        let damaged = |source| EvidenceError::Damaged { path: path.to_owned(), source };
        let Version { format_version: found } = serde_json::from_slice(&text).map_err(damaged)?;
        if found > EVIDENCE_VERSION {
            return Err(EvidenceError::Newer { path: path.to_owned(), found });
        }
        serde_json::from_slice(&text).map_err(damaged)
    }

    /// Replaces the file; a reader sees the old one or the new one, never a part.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        FileBelow::at(path).replace(&serde_json::to_vec_pretty(self)?)
    }

    /// Whether the process lives, as far as this process can tell.
    pub fn is_alive(&self) -> Liveness {
        if self.space() != ProcessSpace::current() {
            return Liveness::Unknown;
        }
        match ProcessStat::of_pid(self.pid) {
            Ok(stat) => self.judge(&stat),
            Err(error) if error.kind() == io::ErrorKind::NotFound && process::sees_other_users() => {
                Liveness::Gone
            }
            Err(_) => Liveness::Unknown,
        }
    }

    fn space(&self) -> ProcessSpace {
        ProcessSpace { boot_id: self.boot_id.clone(), pid_namespace: self.pid_namespace.clone() }
    }

    /// Judges by what the pid is now.
    fn judge(&self, found: &ProcessStat) -> Liveness {
        match self.start_ticks {
            Some(start_ticks) if start_ticks == found.start_ticks && !found.is_dead() => Liveness::Alive,
            Some(_) => Liveness::Gone,
            None => Liveness::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn evidence() -> ProcessEvidence {
        ProcessEvidence::of_self(DateTime::from_timestamp(1_795_000_000, 0).unwrap(), 1.0)
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut ProcessEvidence), expected: Liveness) {
        let mut evidence = evidence();
        change(&mut evidence);
        assert_eq!(evidence.is_alive(), expected);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_known_by_more_than_its_pid() {
        check(|_| {}, Liveness::Alive);
        check(|evidence| evidence.start_ticks = Some(1), Liveness::Gone);
        check(|evidence| evidence.start_ticks = None, Liveness::Unknown);
        check(|evidence| evidence.boot_id = Some("another".into()), Liveness::Unknown);
        check(|evidence| evidence.pid_namespace = None, Liveness::Unknown);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_ended_is_gone_even_before_its_parent_notices() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut evidence = evidence();
        evidence.pid = child.id();
        evidence.start_ticks = Some(ProcessStat::of_pid(child.id()).unwrap().start_ticks);
        assert_eq!(evidence.is_alive(), Liveness::Alive);
        child.kill().unwrap();
        while !ProcessStat::of_pid(child.id()).unwrap().is_dead() {
            std::thread::yield_now();
        }
        assert_eq!(evidence.is_alive(), Liveness::Gone);
        child.wait().unwrap();
        assert_eq!(evidence.is_alive(), Liveness::Gone);
    }

    #[test]
    fn evidence_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat.json");
        evidence().write(&path).unwrap();
        assert_eq!(ProcessEvidence::read(&path).unwrap(), evidence());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat.json");
        let error = |text: &str| {
            fs::write(&path, text).unwrap();
            ProcessEvidence::read(&path).unwrap_err()
        };
        assert!(matches!(error(r#"{"format_version": 99}"#), EvidenceError::Newer { found: 99, .. }));
        assert!(matches!(error(r#"{"format_ver"#), EvidenceError::Damaged { .. }));
        fs::remove_file(&path).unwrap();
        assert!(matches!(ProcessEvidence::read(&path), Err(EvidenceError::Read { .. })));
    }
}
