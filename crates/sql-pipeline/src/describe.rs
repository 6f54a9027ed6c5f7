//! Describing a script as a DAG.

use std::collections::{BTreeMap, BTreeSet};

use daglight_materializers::{Materialization, ParamTable, Registry};
use daglight_run_identity::{Code, Dag, DagBuilder, DagName, NodeKind};

use crate::{
    dependencies::Links, kind::StatementKind, outputs::StatementOutput, param_tables::UsedParamTable,
    parameter::Parameter, pipeline_error::PipelineError, script::Script, statement::Statement,
};

/// The inputs for describing a DAG, with one entry for each statement.
pub(crate) struct Parts<'a> {
    pub(crate) script: &'a Script,
    pub(crate) nodes: &'a [Option<String>],
    pub(crate) links: &'a [Links],
    pub(crate) outputs: &'a [Option<StatementOutput>],
    pub(crate) parameters: &'a BTreeMap<String, Parameter>,
    pub(crate) param_tables: &'a [UsedParamTable],
    pub(crate) registry: &'a Registry,
}

/// Every statement that is a node, every parameter and every parameter table becomes a node; other statements count as setup.
pub(crate) fn describe(name: DagName, parts: &Parts<'_>) -> Result<Dag, PipelineError> {
    let script = parts.script;
    let mut builder = Dag::builder(name.as_str()).map_err(PipelineError::DagName)?;
    for source in &script.sources {
        builder = builder.file(source.path().as_ref(), source.text());
    }
    for parameter in parts.parameters.values() {
        builder = describe_parameter(script, builder, parameter);
    }
    for used in parts.param_tables {
        builder = describe_param_table(builder, &used.table, parts.registry);
    }
    for (index, statement) in script.statements().iter().enumerate() {
        builder = match (&parts.nodes[index], statement.kind.node_kind()) {
            (Some(node), Some(kind)) => describe_statement(builder, parts, index, node, kind),
            _ => builder.setup(&statement.normalized),
        };
    }
    Ok(builder.build()?)
}

fn describe_parameter(script: &Script, builder: DagBuilder, parameter: &Parameter) -> DagBuilder {
    let no_dependencies: [&str; 0] = [];
    let Some(declared) = &parameter.declaration else {
        // Its type is known only from the value, which must not affect the version.
        return builder
            .node(parameter.node_name(), NodeKind::Input, no_dependencies)
            .output_type("parameter")
            .end();
    };
    let mut node = builder
        .node(parameter.node_name(), NodeKind::Input, no_dependencies)
        .output_type(parameter.kind.name())
        .code(Code {
            path: script.sources[declared.file].path().to_string(),
            first_line: declared.line,
            last_line: declared.line,
            text: script.place(declared.file, declared.line, declared.column).source_line,
            normalized: format!("param {} = {}", declared.name, declared.default),
        });
    if let Some(documentation) = &declared.documentation {
        node = node.documentation(documentation);
    }
    node.end()
}

fn describe_param_table(builder: DagBuilder, table: &ParamTable, registry: &Registry) -> DagBuilder {
    let no_dependencies: [&str; 0] = [];
    let mut node = builder
        .node(table.name(), NodeKind::Input, no_dependencies)
        .output_type(Materialization::ParamTable.name())
        .tags(table.tags(registry));
    let of_registry = || registry.entry(table.name()).and_then(|entry| entry.description.as_deref());
    if let Some(documentation) = table.description().or_else(of_registry) {
        node = node.documentation(documentation);
    }
    node.end()
}

fn describe_statement(
    builder: DagBuilder,
    parts: &Parts<'_>,
    index: usize,
    name: &str,
    kind: NodeKind,
) -> DagBuilder {
    let statement = &parts.script.statements()[index];
    let output = parts.outputs[index].as_ref();
    let inputs: BTreeSet<String> =
        statement.placeholders.iter().map(|placeholder| format!("${}", placeholder.name)).collect();
    let upstream = parts.links[index].dependencies.iter().filter_map(|index| parts.nodes[*index].clone());
    let read_tables = parts.param_tables.iter().filter(|used| used.readers.contains(&index));
    let tables = read_tables.map(|used| used.table.name().to_owned());
    let mut node = builder
        .node(name, kind, upstream.chain(inputs).chain(tables))
        .output_type(output_type(statement, output))
        .code(parts.script.code_of(statement));
    if statement.kind == StatementKind::Query {
        node = node.tag("output", "rows");
    }
    let mut documentation = statement.documentation.as_deref();
    node = node.tags(statement.tags.clone());
    if let Some(StatementOutput { name, materialization }) = output {
        // The registry identifies outputs, so its tags take precedence.
        node = node.tags(parts.registry.tags(name, materialization));
        let entry = parts.registry.entry(name);
        documentation = documentation.or_else(|| entry.and_then(|entry| entry.description.as_deref()));
    }
    if let Some(documentation) = documentation {
        node = node.documentation(documentation);
    }
    node.end()
}

impl Script {
    /// A statement as code in its file.
    pub(crate) fn code_of(&self, statement: &Statement) -> Code {
        Code {
            path: self.sources[statement.file].path().to_string(),
            first_line: statement.first_line,
            last_line: statement.last_line,
            text: statement.text.clone(),
            normalized: with_checks(statement),
        }
    }
}

/// Data checks are part of the code: a node that fails for a different reason is a different version.
fn with_checks(statement: &Statement) -> String {
    let checks = statement.checks.iter().map(|expectation| format!("\n{}", expectation.check));
    std::iter::once(statement.normalized.clone()).chain(checks).collect()
}

/// `result`, or the kind of output: `view`, `table`, or the file format.
fn output_type(statement: &Statement, output: Option<&StatementOutput>) -> String {
    match (statement.kind, output) {
        (StatementKind::Query, _) => "result".to_owned(),
        (_, Some(output)) => output.materialization.name().to_owned(),
        _ => Materialization::Table.name().to_owned(),
    }
}
