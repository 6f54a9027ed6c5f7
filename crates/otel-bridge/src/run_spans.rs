//! The parts that the spans of a run share.

use std::sync::{Arc, OnceLock};

use opentelemetry::{Context, KeyValue, Value};

use crate::{
    attach::BridgeTracer,
    bridge_inner::BridgeInner,
    metrics::RunMetrics,
    names::Key,
    run_state::{CurrentRun, RunState},
    slow_after::SlowAfter,
    value::{AttributeKey, AttributeValue},
};

/// The state of a run that each of its spans holds.
#[derive(Debug)]
pub(crate) struct RunSpans {
    pub(crate) bridge: Arc<BridgeInner>,
    pub(crate) run: Arc<RunState>,
    pub(crate) tracer: BridgeTracer,
    /// The parent's context, with the run in it.
    pub(crate) base: Context,
    pub(crate) root: OnceLock<Context>,
    pub(crate) metrics: RunMetrics,
}

impl RunSpans {
    /// The context of the root span, or before that starts, of only the run. Attach it around code that has no span, so that its
    /// logs belong to the run.
    pub(crate) fn context(&self) -> Context {
        self.root.get().unwrap_or(&self.base).clone()
    }

    /// The context of a parent for a new span, which always includes the run.
    pub(crate) fn context_in_run(&self, parent: Option<Context>) -> Context {
        let belongs =
            |context: &Context| context.get::<CurrentRun>().is_some_and(|run| Arc::ptr_eq(&run.0, &self.run));
        match parent {
            Some(parent) if belongs(&parent) => parent,
            Some(parent) => parent.with_value(CurrentRun(Arc::clone(&self.run))),
            None => Context::map_current(|current| belongs(current).then(|| current.clone()))
                .unwrap_or_else(|| self.context()),
        }
    }

    pub(crate) fn tracer(&self) -> &BridgeTracer {
        &self.tracer
    }

    pub(crate) fn slow_after(&self) -> &SlowAfter {
        &self.bridge.slow_after
    }

    pub(crate) fn attribute(&self, key: AttributeKey, value: AttributeValue) -> KeyValue {
        match key {
            AttributeKey::Own(key) => KeyValue::new(self.bridge.vocabulary.key(key), value.0),
            AttributeKey::Plain(key) => KeyValue::new(key, value.0),
        }
    }

    /// An attribute whose value is a name chosen by the author of the pipeline.
    pub(crate) fn named(&self, key: Key, name: String) -> KeyValue {
        KeyValue::new(self.bridge.vocabulary.key(key), Value::from(name))
    }

    pub(crate) fn max_events_per_span(&self) -> u32 {
        self.bridge.door.max_events_per_span()
    }

    pub(crate) fn metrics(&self) -> &RunMetrics {
        &self.metrics
    }
}
