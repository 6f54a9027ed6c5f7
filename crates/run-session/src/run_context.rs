//! What a run is, from its start to its end: who it is, what may be shown of it, and where it is recorded.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use chrono::{DateTime, Utc};
use daglight_capture_policy::{Captured, Policy, without_credentials};
use daglight_otel_bridge::{AttributeKey, AttributeValue, RunSignals, StageSpan};
use daglight_run_bundle::{Bundle, Retry, clock::OpenRun};
use daglight_run_identity::RunId;
use daglight_settings::Settings;
use daglight_tracker_client::Tracker;
use opentelemetry::Context;

use crate::{lineage::RunLineage, run_dag::RunDag, shared::Shared};

/// The part of a run that does not change. What only describes the run, or records something of it, needs no more.
pub(crate) struct RunContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) run_id: RunId,
    pub(crate) dag: RunDag,
    pub(crate) policy: Policy,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) started: Instant,
    /// All times of the run are of one clock.
    pub(crate) _open: OpenRun,
    /// As they are known when the run starts.
    pub(crate) tags: BTreeMap<String, String>,
    /// What it does not have to do, where it retries an earlier run.
    pub(crate) retry: Option<Retry>,
    /// `None` where the folder could not be made.
    pub(crate) bundle: Option<Bundle>,
    /// `None` where the tracker is off, or there is no bundle for its outbox.
    pub(crate) tracker: Option<Tracker>,
    /// `None` where no destination of OpenLineage is set, or there is no bundle.
    pub(crate) lineage: Option<RunLineage>,
    pub(crate) signals: RunSignals,
    pub(crate) root: RootSpan,
}

impl RunContext {
    /// The settings in force.
    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The name under which a node, or what is called so, is shown: without the credentials in it.
    pub(crate) fn shown_name<'n>(&'n self, name: &'n str) -> Cow<'n, str> {
        match self.dag.node(name) {
            Some(node) => Cow::Owned(node.name),
            None => Cow::Owned(without_credentials(name)),
        }
    }

    /// Adds the id that the tracking server gave the run to the signals. The server answers at any time of the run, so
    /// this is called wherever something of the run is about to be recorded.
    pub(crate) fn refresh_execution_run_id(&self) {
        if let Some(link) = self.tracker.as_ref().and_then(Tracker::link) {
            self.signals.set_execution_run_id(link.dag_run_id);
        }
    }
}

/// The root span. Others may be started below it after its end.
pub(crate) struct RootSpan {
    pub(crate) context: Context,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    open: Mutex<Option<StageSpan>>,
}

impl RootSpan {
    pub(crate) fn new(span: StageSpan) -> Self {
        Self {
            context: span.context(),
            trace_id: span.trace_id(),
            span_id: span.span_id(),
            open: Mutex::new(Some(span)),
        }
    }

    pub(crate) fn fail(&self, error_type: &str, message: &Captured) {
        // What is recorded on the span has its own lock, under which nothing is called.
        if let Some(span) = self.lock().as_ref() {
            span.fail(error_type, message);
        }
    }

    pub(crate) fn event(
        &self,
        name: &'static str,
        attributes: impl IntoIterator<Item = (AttributeKey, AttributeValue)>,
    ) {
        let attributes: Vec<_> = attributes.into_iter().collect();
        if let Some(span) = self.lock().as_ref() {
            span.event(name, attributes);
        }
    }

    pub(crate) fn end_at(&self, time: SystemTime) {
        // Taken first: ending a span calls the span processors of the program, which may fail the run.
        let span = self.lock().take();
        if let Some(span) = span {
            span.end_at(time);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<StageSpan>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
