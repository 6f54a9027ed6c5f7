//! The events of OpenLineage, version 2-0-2 of its specification, as they are sent.
//!
//! Types of our own and not those of `openlineage-client` 0.0.5, which lacks facets that are needed here (source code location,
//! data quality), and holds a queue in memory where a bundle has a file.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    facets::{DatasetFacets, InputFacets, JobFacets, OutputFacets, RunFacets},
    spelling::{PRODUCER, time},
};

const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// What happens to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum EventType {
    /// It began.
    Start,
    /// It goes on.
    Running,
    /// It ended well.
    Complete,
    /// It ended with an error.
    Fail,
    /// It was interrupted.
    Abort,
}

/// An event of a run: of a whole run of a DAG, or of one of its nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunEvent {
    event_type: EventType,
    #[serde(serialize_with = "time")]
    event_time: DateTime<Utc>,
    producer: &'static str,
    #[serde(rename = "schemaURL")]
    schema_url: &'static str,
    run: Run,
    job: Job,
    inputs: Vec<InputDataset>,
    outputs: Vec<OutputDataset>,
}

/// One execution of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    pub(crate) run_id: Uuid,
    pub(crate) facets: RunFacets,
}

/// What is executed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Job {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) facets: JobFacets,
}

/// What a run has read.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InputDataset {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) facets: DatasetFacets,
    pub(crate) input_facets: InputFacets,
}

/// What a run has written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputDataset {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) facets: DatasetFacets,
    pub(crate) output_facets: OutputFacets,
}

impl RunEvent {
    pub(crate) fn new(event_type: EventType, event_time: DateTime<Utc>, run: Run, job: Job) -> Self {
        let (inputs, outputs) = (Vec::new(), Vec::new());
        Self { event_type, event_time, producer: PRODUCER, schema_url: SCHEMA, run, job, inputs, outputs }
    }

    pub(crate) fn with_datasets(mut self, inputs: Vec<InputDataset>, outputs: Vec<OutputDataset>) -> Self {
        // A dataset that is read and written under several names is one.
        let mut by_name = BTreeMap::new();
        for (position, input) in inputs.into_iter().enumerate() {
            by_name.entry((input.namespace.clone(), input.name.clone())).or_insert((position, input));
        }
        let mut inputs: Vec<_> = by_name.into_values().collect();
        inputs.sort_by_key(|(position, _)| *position);
        self.inputs = inputs.into_iter().map(|(_, input)| input).collect();
        self.outputs = outputs;
        self
    }
}
