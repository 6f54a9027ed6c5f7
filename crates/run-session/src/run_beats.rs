//! The heart of a run, and what it has shown so far.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daglight_bundle_report::display::elapsed;
use daglight_heartbeat::{Heartbeat, StageGuard, TaskGuard};
use daglight_run_bundle::{Warning, WarningCode};

use crate::{last_beat::LastBeat, run_context::RunContext, runtime_watch::RuntimeWatch};

/// What beats while a run goes on, and what its beats have found.
#[derive(Default)]
pub(crate) struct RunBeats {
    heart: Mutex<Option<Heartbeat>>,
    pub(crate) last: LastBeat,
    pub(crate) runtime: RuntimeWatch,
}

impl RunBeats {
    pub(crate) fn start(&self, heart: Heartbeat) {
        *self.heart() = Some(heart);
    }

    /// The heart, taken out to be stopped.
    pub(crate) fn take(&self) -> Option<Heartbeat> {
        self.heart().take()
    }

    /// A guard that keeps the heartbeat showing the node as active.
    pub(crate) fn while_active(&self, node: &str) -> Option<TaskGuard> {
        self.heart().as_ref().map(|heart| heart.task_started(node))
    }

    /// A guard that keeps the heartbeat showing the stage.
    pub(crate) fn in_stage(&self, stage: &str) -> Option<StageGuard> {
        self.heart().as_ref().map(|heart| heart.stage_started(stage))
    }

    /// Whether there is a heart. Without a thread there is none, which was said when the run started.
    pub(crate) fn has_heart(&self) -> bool {
        self.heart().as_ref().is_some_and(|heart| heart.problem().is_none())
    }

    /// That the heartbeat says nothing, once for each time that it falls silent. See [`LastBeat::silence`] for `confirmed_after`.
    pub(crate) fn silence(&self, run: &RunContext, confirmed_after: Duration) -> Option<Warning> {
        let silent = self.last.silence(run.started, run.settings().heartbeat.interval(), confirmed_after);
        let silent = silent.filter(|_| self.has_heart())?;
        let warning = format!(
            "the heartbeat has been silent for {}: its thread is blocked, so stalls are not detected",
            elapsed(silent)
        );
        Some(Warning::new(WarningCode::HeartbeatSilent, warning))
    }

    fn heart(&self) -> MutexGuard<'_, Option<Heartbeat>> {
        self.heart.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
