//! Describing a script as a DAG.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use daglight_run_identity::{Code, Dag, DagBuilder, DagName, NodeKind};

use crate::{
    Parameter, PipelineError, Script, Statement, StatementKind,
    dependencies::Links,
    relations::{Effect, effect},
};

/// Every statement that is a node and every parameter becomes a node; the others count as setup.
pub(crate) fn describe(
    script: &Script,
    name: DagName,
    nodes: &[Option<String>],
    links: &[Links],
    parameters: &BTreeMap<String, Parameter>,
) -> Result<Dag, PipelineError> {
    let mut builder =
        Dag::builder(name.as_str()).map_err(PipelineError::DagName)?.file(script.path(), script.text());
    for parameter in parameters.values() {
        builder = describe_parameter(script, builder, parameter);
    }
    for ((statement, node), links) in script.statements().iter().zip(nodes).zip(links) {
        let (Some(node), Some(kind)) = (node, statement.kind.node_kind()) else {
            builder = builder.setup(&statement.normalized);
            continue;
        };
        builder = describe_statement(script, builder, statement, node, kind, nodes, links);
    }
    Ok(builder.build()?)
}

fn describe_parameter(script: &Script, builder: DagBuilder, parameter: &Parameter) -> DagBuilder {
    let no_dependencies: [&str; 0] = [];
    let Some(declared) = &parameter.declaration else {
        // Its type is only known by the value, which must not decide the version.
        return builder
            .node(parameter.node_name(), NodeKind::Input, no_dependencies)
            .output_type("parameter")
            .end();
    };
    let mut node = builder
        .node(parameter.node_name(), NodeKind::Input, no_dependencies)
        .output_type(parameter.kind.name())
        .code(Code {
            path: script.path().to_owned(),
            first_line: declared.line,
            last_line: declared.line,
            text: script.source.place(declared.line, declared.column).source_line,
            normalized: format!("param {} = {}", declared.name, declared.default),
        });
    if let Some(documentation) = &declared.documentation {
        node = node.documentation(documentation);
    }
    node.end()
}

fn describe_statement(
    script: &Script,
    builder: DagBuilder,
    statement: &Statement,
    name: &str,
    kind: NodeKind,
    nodes: &[Option<String>],
    links: &Links,
) -> DagBuilder {
    let inputs: BTreeSet<String> =
        statement.placeholders.iter().map(|placeholder| format!("${}", placeholder.name)).collect();
    let upstream = links.dependencies.iter().filter_map(|index| nodes[*index].clone());
    let mut node =
        builder.node(name, kind, upstream.chain(inputs)).output_type(output_type(statement)).code(Code {
            path: script.path().to_owned(),
            first_line: statement.first_line,
            last_line: statement.last_line,
            text: statement.text.clone(),
            normalized: statement.normalized.clone(),
        });
    if statement.kind == StatementKind::Query {
        node = node.tag("output", "rows");
    }
    for (key, value) in &statement.tags {
        node = node.tag(key, value);
    }
    if let Some(documentation) = &statement.documentation {
        node = node.documentation(documentation);
    }
    node.end()
}

/// `view`, `table`, `result`, or the format of the files that are written.
pub(crate) fn output_type(statement: &Statement) -> String {
    match (statement.kind, effect(&statement.parsed)) {
        (StatementKind::View, _) => "view".to_owned(),
        (StatementKind::Query, _) => "result".to_owned(),
        (_, Effect::CopyTo { format: Some(format), .. }) => format.to_lowercase(),
        (_, Effect::CopyTo { target, .. }) => match Path::new(&target).extension() {
            Some(extension) => extension.to_string_lossy().to_lowercase(),
            None => "files".to_owned(),
        },
        _ => "table".to_owned(),
    }
}
