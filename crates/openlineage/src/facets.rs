//! The facets of events, in the versions of [the specification][spec] that are published with its release 2-0-2.
//!
//! [spec]: https://openlineage.io/docs/spec/facets/

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::spelling::{PRODUCER, time};

/// A facet with what every facet has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Facet<T> {
    #[serde(rename = "_producer")]
    producer: &'static str,
    #[serde(rename = "_schemaURL")]
    schema_url: &'static str,
    #[serde(flatten)]
    body: T,
}

/// What a facet says.
pub(crate) trait Body: Sized {
    /// Its schema.
    const SCHEMA: &str;

    fn facet(self) -> Facet<Self> {
        Facet { producer: PRODUCER, schema_url: Self::SCHEMA, body: self }
    }
}

/// Declares facets: each with its version and the fields that it has.
macro_rules! facets {
    ($($(#[$about:meta])* $name:ident $version:literal { $($(#[$field_about:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone, PartialEq, Serialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $name { $($(#[$field_about])* pub(crate) $field: $type,)* }

            impl Body for $name {
                const SCHEMA: &str = concat!(
                    "https://openlineage.io/spec/facets/", $version, "/", stringify!($name), ".json#/$defs/", stringify!($name)
                );
            }
        )*
    };
}

/// Declares the facets that something may have, of which those that it does not have are left out.
macro_rules! facet_sets {
    ($($(#[$about:meta])* $name:ident { $($(#[$key:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone, Default, PartialEq, Serialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $name {
                $($(#[$key])* #[serde(skip_serializing_if = "Option::is_none")] pub(crate) $field: Option<Facet<$type>>,)*
            }
        )*
    };
}

facets! {
    /// The run that started this one.
    ParentRunFacet "1-2-0" {
        run: RunRef,
        job: JobRef,
        #[serde(skip_serializing_if = "Option::is_none")]
        root: Option<RootRef>,
    }
    /// The time that a run is for, which is not that at which it runs.
    NominalTimeRunFacet "1-0-1" {
        #[serde(serialize_with = "time")]
        nominal_start_time: DateTime<Utc>,
        #[serde(skip_serializing_if = "Option::is_none")]
        nominal_end_time: Option<String>,
    }
    /// What executes.
    ProcessingEngineRunFacet "1-1-1" {
        version: String,
        name: &'static str,
        openlineage_adapter_version: &'static str,
    }
    /// Why a run failed.
    ErrorMessageRunFacet "1-0-1" {
        message: String,
        programming_language: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        stack_trace: Option<String>,
    }
    /// What kind of job it is.
    JobTypeJobFacet "2-0-4" {
        processing_type: &'static str,
        integration: &'static str,
        job_type: &'static str,
    }
    /// Its query.
    SQLJobFacet "1-1-0" {
        query: String,
        dialect: &'static str,
    }
    /// Where its code is.
    SourceCodeLocationJobFacet "1-1-0" {
        r#type: &'static str,
        url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        repo_url: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
    }
    /// What it is for.
    DocumentationJobFacet "1-1-0" {
        description: String,
    }
    /// Whose it is.
    OwnershipJobFacet "1-0-1" {
        owners: Vec<Owner>,
    }
    /// The columns of a dataset.
    SchemaDatasetFacet "1-2-0" {
        fields: Vec<SchemaField>,
    }
    /// Where they come from.
    ColumnLineageDatasetFacet "1-2-0" {
        fields: BTreeMap<String, ColumnInputs>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        dataset: Vec<InputField>,
    }
    /// What its data is like.
    DataQualityMetricsDatasetFacet "1-0-0" {
        #[serde(skip_serializing_if = "Option::is_none")]
        row_count: Option<u64>,
        column_metrics: Map<String, Value>,
    }
    /// The same of one that was read.
    DataQualityMetricsInputDatasetFacet "1-0-3" {
        #[serde(skip_serializing_if = "Option::is_none")]
        row_count: Option<u64>,
        column_metrics: Map<String, Value>,
    }
    /// What was expected of its data, and what became of that.
    DataQualityAssertionsDatasetFacet "1-1-0" {
        assertions: Vec<Assertion>,
    }
    /// What it is for.
    DocumentationDatasetFacet "1-1-0" {
        description: String,
    }
    /// How it is kept.
    StorageDatasetFacet "1-0-1" {
        storage_layer: &'static str,
        file_format: String,
    }
    /// What was written.
    OutputStatisticsOutputDatasetFacet "1-0-2" {
        #[serde(skip_serializing_if = "Option::is_none")]
        row_count: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_count: Option<u64>,
    }
    /// What was there to be read.
    InputStatisticsInputDatasetFacet "1-0-0" {
        #[serde(skip_serializing_if = "Option::is_none")]
        row_count: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_count: Option<u64>,
    }
}

facet_sets! {
    /// Of a run.
    RunFacets {
        parent: ParentRunFacet,
        nominal_time: NominalTimeRunFacet,
        #[serde(rename = "processing_engine")]
        processing_engine: ProcessingEngineRunFacet,
        error_message: ErrorMessageRunFacet,
    }
    /// Of a job.
    JobFacets {
        job_type: JobTypeJobFacet,
        sql: SQLJobFacet,
        source_code_location: SourceCodeLocationJobFacet,
        documentation: DocumentationJobFacet,
        ownership: OwnershipJobFacet,
    }
    /// Of a dataset.
    DatasetFacets {
        schema: SchemaDatasetFacet,
        column_lineage: ColumnLineageDatasetFacet,
        data_quality_metrics: DataQualityMetricsDatasetFacet,
        documentation: DocumentationDatasetFacet,
        storage: StorageDatasetFacet,
    }
    /// Of one that was read.
    InputFacets {
        input_statistics: InputStatisticsInputDatasetFacet,
        data_quality_metrics: DataQualityMetricsInputDatasetFacet,
        data_quality_assertions: DataQualityAssertionsDatasetFacet,
    }
    /// Of one that was written.
    OutputFacets {
        output_statistics: OutputStatisticsOutputDatasetFacet,
    }
}

/// A run, where another names it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunRef {
    pub(crate) run_id: Uuid,
}

/// A job, where another names it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobRef {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The first of a chain of runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RootRef {
    pub(crate) run: RunRef,
    pub(crate) job: JobRef,
}

/// Who answers for a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Owner {
    pub(crate) name: String,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SchemaField {
    pub(crate) name: String,
    pub(crate) r#type: String,
}

/// The columns that one is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ColumnInputs {
    pub(crate) input_fields: Vec<InputField>,
}

/// A check of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Assertion {
    /// What kind of check it is, in the words of the specification.
    pub(crate) assertion: &'static str,
    /// Whether the data is as it should be.
    pub(crate) success: bool,
    /// The column that it is about; none for one of the whole dataset, or of several columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<String>,
    /// `error` or `warn`.
    pub(crate) severity: &'static str,
    /// The check as it was written.
    pub(crate) name: String,
    /// What was found, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// What was counted: of a check of the number of rows, those; otherwise the rows that break it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actual: Option<String>,
}

/// A column that another is made of, or that decides about rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct InputField {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) field: String,
    pub(crate) transformations: Vec<Transformation>,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Transformation {
    pub(crate) r#type: &'static str,
    pub(crate) subtype: &'static str,
}

impl Transformation {
    /// Its value goes into that of the column: `IDENTITY`, `TRANSFORMATION` or `AGGREGATION`.
    pub const fn direct(subtype: &'static str) -> Self {
        Self { r#type: "DIRECT", subtype }
    }

    /// It decides about rows, by `JOIN`, `GROUP_BY`, `FILTER`, `SORT` or `WINDOW`, or about the value of a column, by `CONDITIONAL`.
    pub const fn indirect(subtype: &'static str) -> Self {
        Self { r#type: "INDIRECT", subtype }
    }
}
