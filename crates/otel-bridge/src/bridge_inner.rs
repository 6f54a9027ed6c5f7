//! What a bridge and the runs that it has opened share.

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

/// Clones of a bridge, and the runs that it has opened, share it.
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
    /// The exemplars of what is recorded with [`Self::meters`]: none with those of a program, which it exports itself.
    pub(crate) fn exemplars(&self) -> Exemplars {
        match self.attached.meters {
            Some(_) => Exemplars::new(ExemplarFilter::AlwaysOff),
            None => self.exports.exemplars.clone(),
        }
    }

    /// What metrics are recorded with that leave the process.
    pub(crate) fn meters(&self) -> Option<Arc<dyn MeterProvider + Send + Sync>> {
        self.attached.meters.clone().or_else(|| self.exports.meters())
    }

    pub(crate) fn run_resource(&self, scope: &RunScope) -> Resource {
        resource::of_run(&self.resource, scope, &self.namespace, &self.redactor)
    }
}
