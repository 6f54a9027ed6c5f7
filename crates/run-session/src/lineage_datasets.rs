//! The datasets that a node has read and written, as OpenLineage calls them.

use std::collections::BTreeSet;

use daglight_capture_policy::Captured;
use daglight_materializers::MATERIALIZATION_TAG;
use daglight_openlineage::{Column, ColumnOrigin, DatasetFacts, Transformation};
use daglight_plan_diagnostics::{Derivation, Influence, SourceColumn};
use daglight_run_bundle::{Artifact, Materialization};
use datafusion::arrow::datatypes::Schema;

use crate::{lineage::RunLineage, node_facts::GatheredFacts, node_scope::NodeScope, plain_type::plain_type};

/// What a node has read and written.
pub(crate) struct Datasets {
    pub(crate) inputs: Vec<DatasetFacts>,
    pub(crate) outputs: Vec<DatasetFacts>,
}

/// The datasets of a node that has ended, with what its facts say of them.
pub(crate) fn datasets(
    lineage: &RunLineage,
    scope: &NodeScope,
    facts: &GatheredFacts,
    summary: Option<&Captured>,
) -> Datasets {
    let mut inputs = inputs(lineage, scope, facts);
    let mut outputs: Vec<_> =
        facts.artifacts.iter().map(|artifact| written(lineage, scope, artifact)).collect();
    let written = outputs.len();
    for table in facts.changed.values() {
        for name in lineage.datasets_of(table) {
            add_new(
                &mut outputs,
                DatasetFacts { columns: columns(scope, &table.schema), ..DatasetFacts::new(name) },
            );
        }
    }
    // What is known of the node's rows is known of the only thing that it has written.
    if let [output] = &mut outputs[..] {
        add_column_lineage(lineage, scope, facts, output);
        // The rows of a table that was changed are more than those that the query had.
        output.summary = summary.filter(|_| written == 1).cloned();
    }
    // And what is known of those of a source, of that.
    if let ([], [input]) = (&outputs[..], &mut inputs[..])
        && facts.source.is_some()
    {
        input.summary = summary.cloned();
    }
    Datasets { outputs, inputs }
}

/// Adds a dataset that is not there yet.
fn add_new(datasets: &mut Vec<DatasetFacts>, dataset: DatasetFacts) {
    if datasets.iter().all(|known| known.name != dataset.name) {
        datasets.push(dataset);
    }
}

fn inputs(lineage: &RunLineage, scope: &NodeScope, facts: &GatheredFacts) -> Vec<DatasetFacts> {
    let mut inputs = Vec::new();
    if let Some(source) = &facts.source {
        for location in &source.places {
            let Some(name) = lineage.at_url(location) else { continue };
            let mut input =
                DatasetFacts { columns: columns(scope, &source.schema), ..DatasetFacts::new(name) };
            // The numbers are those of all its places.
            if source.places.len() == 1 {
                input.rows = source.rows;
                input.bytes = source.files.as_ref().map(|files| files.bytes());
                input.files = source.files.as_ref().map(|files| files.count());
            }
            inputs.push(input);
        }
    }
    for read in facts.tables.values() {
        for name in lineage.datasets_of(read) {
            add_new(
                &mut inputs,
                DatasetFacts { columns: columns(scope, &read.schema), ..DatasetFacts::new(name) },
            );
        }
    }
    // The plan of a query has in the place of a view what that is defined by.
    let dag = scope.run.context.dag.get();
    let views = dag.node(&scope.name).into_iter().flat_map(|node| &node.dependencies).filter_map(|name| {
        let node = dag.node(name)?;
        let kept = Materialization::from_name(node.tags.get(MATERIALIZATION_TAG)?);
        (kept == Materialization::View).then(|| node.tags.get("materialized_name").unwrap_or(name))
    });
    inputs.extend(views.map(|view| DatasetFacts::new(lineage.table(view))));
    inputs
}

fn written(lineage: &RunLineage, scope: &NodeScope, artifact: &Artifact) -> DatasetFacts {
    let policy = &scope.run.context.policy;
    let entry = scope.run.context.shared.registry.entry(&artifact.name);
    let description = entry.and_then(|entry| entry.description.as_deref());
    let schema = lineage.output_schema(&scope.name, &artifact.name);
    let type_of = |name: &str| {
        let field = schema.as_ref()?.field_with_name(name).ok()?;
        Some(plain_type(field.data_type()).to_string())
    };
    DatasetFacts {
        columns: artifact
            .schema
            .iter()
            .map(|column| Column {
                name: policy.capture_name(&column.name),
                data_type: policy
                    .capture_name(&type_of(&column.name).unwrap_or_else(|| column.data_type.clone())),
            })
            .collect(),
        rows: artifact.rows,
        bytes: artifact.bytes,
        files: artifact.files,
        format: artifact.format.clone(),
        documentation: description.and_then(|text| policy.capture_documentation(text)),
        ..DatasetFacts::new(lineage.output(&scope.name, &artifact.name))
    }
}

fn add_column_lineage(
    lineage: &RunLineage,
    scope: &NodeScope,
    facts: &GatheredFacts,
    output: &mut DatasetFacts,
) {
    let Some(known) = &facts.lineage else { return };
    let policy = &scope.run.context.policy;
    let origins = |source: &SourceColumn, transformations: &[Transformation]| {
        let read = facts.tables.get(&source.table);
        let datasets = match read {
            Some(read) => lineage.datasets_of(read),
            None => vec![lineage.table(&source.table)],
        };
        let column = policy.capture_name(&source.column);
        let transformations = transformations.to_vec();
        let of = move |dataset| ColumnOrigin {
            dataset,
            column: column.clone(),
            transformations: transformations.clone(),
        };
        datasets.into_iter().map(of).collect::<Vec<_>>()
    };
    for column in known.columns.iter().filter(|column| !column.sources.is_empty()) {
        let sources = column.sources.iter();
        let sources = sources.flat_map(|(source, derivation)| origins(source, &[of_value(*derivation)]));
        output.lineage.push((policy.capture_name(&column.name), sources.collect()));
    }
    for (source, influences) in &known.indirect {
        let transformations: BTreeSet<_> = influences.iter().map(|influence| of_rows(*influence)).collect();
        output.row_lineage.extend(origins(source, &transformations.into_iter().collect::<Vec<_>>()));
    }
}

fn columns(scope: &NodeScope, schema: &Schema) -> Vec<Column> {
    let policy = &scope.run.context.policy;
    let column = |field: &datafusion::arrow::datatypes::FieldRef| Column {
        name: policy.capture_name(field.name()),
        data_type: policy.capture_name(&plain_type(field.data_type()).to_string()),
    };
    schema.fields().iter().map(column).collect()
}

fn of_value(derivation: Derivation) -> Transformation {
    match derivation {
        Derivation::Conditional => Transformation::indirect("CONDITIONAL"),
        Derivation::Identity => Transformation::direct("IDENTITY"),
        Derivation::Transformation => Transformation::direct("TRANSFORMATION"),
        Derivation::Aggregation => Transformation::direct("AGGREGATION"),
    }
}

fn of_rows(influence: Influence) -> Transformation {
    Transformation::indirect(match influence {
        Influence::Join => "JOIN",
        Influence::GroupBy => "GROUP_BY",
        Influence::Filter => "FILTER",
        Influence::Sort => "SORT",
        Influence::Window => "WINDOW",
    })
}
