//! The sampler: the standard variables control the export, but never a run's own files.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::{attach, run_state::RunState};

/// Records every span of a run, and other spans if the configured sampler takes them and they are exported. If the program has its
/// own provider, the sampler of that one decides instead of the configured one.
#[derive(Debug, Clone)]
pub(crate) struct BridgeSampler {
    pub(crate) configured: Sampler,
    pub(crate) exporting: bool,
}

impl ShouldSample for BridgeSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let by_program = attach::decided_by_program();
        let exporting = self.exporting || by_program.is_some();
        let mut result = by_program.unwrap_or_else(|| {
            self.configured.should_sample(parent, trace_id, name, kind, attributes, links)
        });
        match (parent.is_some_and(RunState::has), &result.decision) {
            (true, SamplingDecision::Drop) => result.decision = SamplingDecision::RecordOnly,
            (false, _) if !exporting => result.decision = SamplingDecision::Drop,
            _ => {}
        }
        result
    }
}
