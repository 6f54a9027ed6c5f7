//! The sampler: what the standard variables say decides over export, and never over a run's own files.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::run_state::CurrentRun;

/// Records every span of a run, and of the others those that the configured sampler takes and somebody exports.
#[derive(Debug, Clone)]
pub(crate) struct RunSampler {
    pub(crate) configured: Sampler,
    pub(crate) exporting: bool,
}

impl ShouldSample for RunSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.configured.should_sample(parent, trace_id, name, kind, attributes, links);
        let in_run = parent.is_some_and(|parent| parent.get::<CurrentRun>().is_some());
        match (in_run, &result.decision) {
            (true, SamplingDecision::Drop) => result.decision = SamplingDecision::RecordOnly,
            (false, _) if !self.exporting => result.decision = SamplingDecision::Drop,
            _ => {}
        }
        result
    }
}
