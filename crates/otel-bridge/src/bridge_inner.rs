//! The state that a bridge shares with the runs that it has opened.

use std::sync::Arc;

use daglight_capture_policy::Redactor;
use opentelemetry::{Context, metrics::MeterProvider};
use opentelemetry_sdk::{Resource, logs::SdkLoggerProvider};

use crate::{
    attach::{BridgeTracerProvider, ProgramProviders},
    door::Door,
    environment::Propagators,
    exemplars::{ExemplarFilter, Exemplars},
    exports::Exports,
    names::Namespace,
    resource,
    run_scope::RunScope,
    slow_after::SlowAfter,
    vocabulary::Vocabulary,
};

/// Shared by the clones of a bridge, and by the runs that it has opened.
#[derive(Debug)]
pub(crate) struct BridgeInner {
    pub(crate) namespace: Namespace,
    pub(crate) vocabulary: Arc<Vocabulary>,
    pub(crate) slow_after: SlowAfter,
    pub(crate) door: Door,
    pub(crate) tracers: BridgeTracerProvider,
    pub(crate) logger_provider: SdkLoggerProvider,
    pub(crate) attached: ProgramProviders,
    pub(crate) exports: Exports,
    pub(crate) redactor: Redactor,
    pub(crate) resource: Resource,
    pub(crate) propagators: Propagators,
    pub(crate) parent: Option<Context>,
    pub(crate) warnings: Vec<String>,
}

impl BridgeInner {
    /// The exemplars of the metrics recorded with [`Self::meters`]: empty if those belong to the program, which exports them
    /// itself.
    pub(crate) fn exemplars(&self) -> Exemplars {
        match self.attached.meters {
            Some(_) => Exemplars::new(ExemplarFilter::AlwaysOff),
            None => self.exports.exemplars.clone(),
        }
    }

    /// The meters for metrics that leave the process.
    pub(crate) fn meters(&self) -> Option<Arc<dyn MeterProvider + Send + Sync>> {
        self.attached.meters.clone().or_else(|| self.exports.meters())
    }

    pub(crate) fn run_resource(&self, scope: &RunScope) -> Resource {
        resource::of_run(&self.resource, scope, &self.namespace, &self.redactor)
    }
}
