//! The way out of metrics that leave the process: the door, and the exemplars that they get on the way.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use prost::DecodeError;

use crate::{
    door::{Door, Exportable},
    exemplars::Exemplars,
};

/// A door for what one provider of meters has measured.
#[derive(Debug, Clone)]
pub(crate) struct MetricDoor {
    pub(crate) door: Door,
    pub(crate) exemplars: Exemplars,
}

impl MetricDoor {
    /// As [`Door::metrics`].
    pub(crate) fn metrics(&self, metrics: &ResourceMetrics) -> Exportable<ExportMetricsServiceRequest> {
        self.door.metrics(metrics, &self.exemplars)
    }

    /// As [`Door::request_of_metrics`].
    pub(crate) fn request_of_metrics(
        &self,
        encoded: &[u8],
    ) -> Result<Exportable<ExportMetricsServiceRequest>, DecodeError> {
        self.door.request_of_metrics(encoded, &self.exemplars)
    }
}
