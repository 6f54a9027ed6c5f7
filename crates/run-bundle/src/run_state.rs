//! How a run ended, or whether it is still going, as far as its bundle shows.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bundle::Bundle,
    evidence::{Liveness, ProcessEvidence},
    manifest::{Manifest, RunStatus},
    outbox::{OutboxStatus, Outcome, outbox_path, recorded_outbox, writer_alive},
    possible::last_written,
};

/// If the last sign of life is not older than this, the process is alive, on whatever machine; if beats are further apart, the
/// limit is longer:
const SIGNED: TimeDelta = TimeDelta::seconds(15);
/// this number of beats.
const SIGNED_BEATS: f64 = 3.0;
/// The same limit for any file of a bundle without a heartbeat, in which nothing is written while a query computes.
const WRITTEN: TimeDelta = TimeDelta::seconds(60);

/// How a run ended, as far as its bundle shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// It was asked to end before it was done, by ctrl-c for example.
    Interrupted,
    /// It has not ended, and its process lives.
    Running,
    /// Its process is gone and did not say how the run ended.
    ProcessEnded,
    /// The bundle does not say: its manifest cannot be read, or says that the run goes on, and nothing shows that it does.
    Unknown,
}

impl RunState {
    /// The state for this status in the manifest. `liveness` is called only if the manifest says that the run is going.
    pub fn of(status: RunStatus, liveness: impl FnOnce() -> Liveness) -> Self {
        match status {
            RunStatus::Success => Self::Success,
            RunStatus::Failure => Self::Failure,
            RunStatus::Interrupted => Self::Interrupted,
            RunStatus::Running => match liveness() {
                Liveness::Alive => Self::Running,
                Liveness::Gone => Self::ProcessEnded,
                Liveness::Unknown => Self::Unknown,
            },
        }
    }

    /// The state in words, such as `process ended`.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Interrupted => "interrupted",
            Self::Running => "running",
            Self::ProcessEnded => "process ended",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Outcome> for RunState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::Failure => Self::Failure,
        }
    }
}

impl Bundle {
    /// Whether the process of a run that has not ended is alive at `now`: judged by its heartbeat, then by its lock on the outbox,
    /// then by the time of its last write. Unknown if none of that shows it. In a bundle that was unpacked from an archive, no run
    /// is going.
    pub fn liveness(&self, evidence: Option<&ProcessEvidence>, now: DateTime<Utc>) -> Liveness {
        let liveness = match evidence.map_or(Liveness::Unknown, ProcessEvidence::is_alive) {
            // Process ids mean nothing in another container or on another machine, but a lock on a shared file does.
            Liveness::Unknown => match writer_alive(&outbox_path(&self.tracker_dir())) {
                Some(true) => Liveness::Alive,
                Some(false) => Liveness::Gone,
                None if self.is_fresh(evidence, now) => Liveness::Alive,
                None => Liveness::Unknown,
            },
            known => known,
        };
        if self.is_unpacked() && liveness == Liveness::Alive { Liveness::Unknown } else { liveness }
    }

    /// How the run ended, or whether it is going at this moment, given its manifest.
    #[expect(clippy::disallowed_methods, reason = "whether a process lives is asked of this moment")]
    pub fn state(&self, manifest: &Manifest) -> RunState {
        self.state_at(Some(manifest.status), Utc::now())
    }

    /// How the run ended, or whether it is going at `now`, given the status in its manifest; `None` if that cannot be read.
    pub fn state_at(&self, status: Option<RunStatus>, now: DateTime<Utc>) -> RunState {
        let outbox = || recorded_outbox(&self.tracker_dir()).ok().flatten();
        match status {
            None => self.state_by_outbox(outbox().as_ref()),
            Some(RunStatus::Running) => {
                let evidence = ProcessEvidence::read(&self.heartbeat()).ok();
                Self::open_state(self.liveness(evidence.as_ref(), now), || outbox()?.outcome)
            }
            Some(ended) => RunState::of(ended, || Liveness::Unknown),
        }
    }

    /// The state of a run that is going according to its manifest. A process that ended after its run did, and before it could
    /// write that to the manifest, has left the end in the outbox.
    fn open_state(liveness: Liveness, outcome: impl FnOnce() -> Option<Outcome>) -> RunState {
        // While its process lives, the rest of its end is still to come.
        let outcome = if liveness == Liveness::Alive { None } else { outcome() };
        outcome.map_or_else(|| RunState::of(RunStatus::Running, || liveness), RunState::from)
    }

    /// The same where no manifest can be read, by what the run has recorded for a tracking server and whether its process lives. That it
    /// has ended is only known where the outbox has the end.
    pub fn state_by_outbox(&self, outbox: Option<&OutboxStatus>) -> RunState {
        if let Some(outcome) = outbox.and_then(|outbox| outbox.outcome) {
            return outcome.into();
        }
        let evidence = ProcessEvidence::read(&self.heartbeat()).ok();
        let is_alive = match evidence.as_ref().map_or(Liveness::Unknown, ProcessEvidence::is_alive) {
            Liveness::Alive => Some(true),
            Liveness::Gone => Some(false),
            Liveness::Unknown => outbox.and_then(|outbox| outbox.writer_alive),
        };
        match (outbox.map(OutboxStatus::is_open), is_alive) {
            (Some(true), Some(false)) => RunState::ProcessEnded,
            (Some(true) | None, Some(true)) if !self.is_unpacked() => RunState::Running,
            _ => RunState::Unknown,
        }
    }

    fn is_fresh(&self, evidence: Option<&ProcessEvidence>, now: DateTime<Utc>) -> bool {
        let is_within = |at: DateTime<Utc>, limit: TimeDelta| (now - at).abs() <= limit;
        match evidence {
            // A copy of a bundle has recently written files, but an old sign of life.
            Some(evidence) => {
                let beats_ms = evidence.interval_seconds * SIGNED_BEATS * 1e3;
                let beats = TimeDelta::try_milliseconds(beats_ms as i64).unwrap_or(SIGNED);
                is_within(evidence.signed_at(), SIGNED.max(beats))
            }
            None => self.last_change().is_some_and(|at| is_within(at, WRITTEN)),
        }
    }

    /// When the folder, or a file in it, was last written to.
    fn last_change(&self) -> Option<DateTime<Utc>> {
        let files = fs::read_dir(self.dir()).into_iter().flatten().flatten().map(|entry| entry.path());
        files.chain([self.dir().to_owned()]).filter_map(|path| last_written(&path)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Durability, fixture,
        outbox::{Event, Outbox},
    };

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_237_787, 0).unwrap()
    }

    fn written(bundle: &Bundle) -> DateTime<Utc> {
        bundle.last_change().unwrap()
    }

    /// The evidence of a process that cannot be seen from here.
    fn elsewhere() -> ProcessEvidence {
        let mut evidence = ProcessEvidence::for_self(start(), 1.0);
        evidence.boot_id = Some("another".into());
        evidence
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_of_this_machine_counts_first() {
        let (_out, bundle) = fixture::bundle();
        let mut evidence = ProcessEvidence::for_self(start(), 1.0);
        let years_later = start() + TimeDelta::days(3_000);
        assert_eq!(bundle.liveness(Some(&evidence), years_later), Liveness::Alive);
        let unpacked = bundle.clone().unpacked_from("a.tar.gz");
        assert_eq!(unpacked.liveness(Some(&evidence), start()), Liveness::Unknown);
        evidence.start_ticks = Some(1);
        assert_eq!(bundle.liveness(Some(&evidence), start()), Liveness::Gone);
        assert_eq!(unpacked.liveness(Some(&evidence), start()), Liveness::Gone);
    }

    #[test]
    fn without_a_process_the_lock_of_the_outbox_counts() {
        let (_out, bundle) = fixture::bundle();
        let outbox = Outbox::open(&bundle.tracker_dir(), Durability::Process).unwrap();
        outbox.append(&Event::TaskStarted { node: "a".into(), time: start() }).unwrap();
        for evidence in [None, Some(elsewhere())] {
            assert_eq!(bundle.liveness(evidence.as_ref(), start()), Liveness::Alive);
        }
        drop(outbox);
        for evidence in [None, Some(elsewhere())] {
            assert_eq!(bundle.liveness(evidence.as_ref(), written(&bundle)), Liveness::Gone);
        }
    }

    #[test]
    fn without_a_lock_the_last_sign_of_life_counts_and_not_for_ever() {
        let (_out, bundle) = fixture::bundle();
        let now = written(&bundle);
        assert_eq!(bundle.liveness(None, now), Liveness::Alive);
        assert_eq!(bundle.liveness(None, now + TimeDelta::seconds(61)), Liveness::Unknown);
        let unpacked = bundle.clone().unpacked_from("a.tar.gz");
        assert_eq!(unpacked.liveness(None, now), Liveness::Unknown);
        // The time inside a heartbeat is older than the copy of its file.
        let evidence = elsewhere();
        assert_eq!(bundle.liveness(Some(&evidence), start() + TimeDelta::seconds(9)), Liveness::Alive);
        assert_eq!(bundle.liveness(Some(&evidence), start() + TimeDelta::seconds(16)), Liveness::Unknown);
        let rare = ProcessEvidence { interval_seconds: 60.0, ..evidence };
        assert_eq!(bundle.liveness(Some(&rare), start() + TimeDelta::seconds(170)), Liveness::Alive);
    }

    #[test]
    fn only_what_goes_on_is_asked_for_its_process() {
        let never = || -> Liveness { panic!("it was asked") };
        assert_eq!(RunState::of(RunStatus::Failure, never), RunState::Failure);
        for (liveness, state) in [
            (Liveness::Alive, RunState::Running),
            (Liveness::Gone, RunState::ProcessEnded),
            (Liveness::Unknown, RunState::Unknown),
        ] {
            assert_eq!(RunState::of(RunStatus::Running, || liveness), state);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_end_that_only_the_outbox_has_is_that_of_the_run() {
        for (outcome, state) in [(Outcome::Success, RunState::Success), (Outcome::Failure, RunState::Failure)]
        {
            let (_out, bundle) = fixture::bundle();
            let outbox = Outbox::open(&bundle.tracker_dir(), Durability::Process).unwrap();
            let mut evidence = ProcessEvidence::for_self(start(), 1.0);
            evidence.write(&bundle.heartbeat()).unwrap();
            outbox.append(&Event::RunFinished { status: outcome, time: start() }).unwrap();
            let of_open = || bundle.state_at(Some(RunStatus::Running), start());
            assert_eq!(of_open(), RunState::Running, "its process may still write the manifest");
            evidence.start_ticks = Some(1);
            evidence.write(&bundle.heartbeat()).unwrap();
            drop(outbox);
            assert_eq!([of_open(), bundle.state_at(None, start())], [state; 2]);
        }
    }
}
