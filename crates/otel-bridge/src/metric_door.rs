//! The way out for metrics that leave the process: the door, and the exemplars that are added there.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use prost::DecodeError;

use crate::{
    door::{Door, Exportable},
    exemplars::Exemplars,
};

/// A door for the metrics of one meter provider.
#[derive(Debug, Clone)]
pub(crate) struct MetricDoor {
    pub(crate) door: Door,
    pub(crate) exemplars: Exemplars,
}

impl MetricDoor {
    /// Like [`Door::metrics`].
    pub(crate) fn metrics(&self, metrics: &ResourceMetrics) -> Exportable<ExportMetricsServiceRequest> {
        self.door.metrics(metrics, &self.exemplars)
    }

    /// Like [`Door::request_of_metrics`].
    pub(crate) fn request_of_metrics(
        &self,
        encoded: &[u8],
    ) -> Result<Exportable<ExportMetricsServiceRequest>, DecodeError> {
        self.door.request_of_metrics(encoded, &self.exemplars)
    }
}
