//! Measures the time that Daglight itself takes in a run.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use daglight_run_bundle::OwnTime;

/// What the time is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// Starting and ending nodes.
    Nodes,
    /// Metadata of sources and outputs.
    Metadata,
    /// Plans of queries.
    Plans,
    /// Data summaries, on the threads of the queries.
    Summaries,
    /// Flush and export at the end.
    Delivery,
    /// Manifest and report.
    Report,
}

/// The sums by part, in nanoseconds. Any thread adds to them.
#[derive(Debug, Default)]
pub(crate) struct OwnClock([AtomicU64; 6]);

impl OwnClock {
    pub(crate) fn add(&self, part: Own, time: Duration) {
        self.of(part).fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Measures until the answer is dropped.
    pub(crate) fn measure(&self, part: Own) -> Measuring<'_> {
        Measuring { clock: self, part, started: Instant::now() }
    }

    pub(crate) fn total(&self) -> OwnTime {
        let ms = |part| self.of(part).load(Ordering::Relaxed) as f64 / 1e6;
        let mut own = OwnTime::default();
        own.nodes_ms = ms(Own::Nodes);
        own.metadata_ms = ms(Own::Metadata);
        own.plans_ms = ms(Own::Plans);
        own.summaries_ms = ms(Own::Summaries);
        own.delivery_ms = ms(Own::Delivery);
        own.report_ms = ms(Own::Report);
        own
    }

    fn of(&self, part: Own) -> &AtomicU64 {
        &self.0[part as usize]
    }
}

/// A part that is being measured.
#[must_use]
pub(crate) struct Measuring<'c> {
    clock: &'c OwnClock,
    part: Own,
    started: Instant,
}

impl Drop for Measuring<'_> {
    fn drop(&mut self) {
        self.clock.add(self.part, self.started.elapsed());
    }
}
