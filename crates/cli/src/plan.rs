//! `daglight plan`: the pipeline of scripts, without running it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use daglight::{
    identity::{Dag, Node},
    outputs::CheckSeverity,
    policy::{Policy, printable, printable_within},
    shown_check, shown_dag,
    sql::Pipeline,
};
use serde_json::{Value, json};

use crate::{
    args::{DagFormat, PlanArgs},
    failure::Failure,
    say::{self, note},
    script::{self, NamedPipeline},
    session_config::session_config,
};

/// The maximum length shown of a node's name and of its type in a line of the tree.
const NAME_COLUMNS: usize = 120;
/// The maximum length shown of its data checks.
const CHECK_COLUMNS: usize = 240;

pub(crate) fn plan(args: &PlanArgs) -> Result<ExitCode, Failure> {
    let resolved = script::settings_loader(&args.script).resolve()?;
    let policy = resolved.settings.policy();
    say::hide_with(policy.redactor());
    let config = session_config(&policy)?.with_information_schema(true);
    let NamedPipeline { pipeline, part, .. } =
        script::pipeline(&args.script, &resolved, &policy, &config, true)?;
    let dag = &shown_dag(pipeline.dag(), &policy);
    let runs = part.as_ref().map(|part| {
        let nodes = pipeline.nodes_of(part).into_iter();
        nodes.filter_map(|name| dag.node(&name).map(|node| node.name.clone())).collect::<BTreeSet<_>>()
    });
    let checks = checks_by_node(&pipeline, dag, &policy);
    let drawing = dag.drawing(runs.as_ref());
    match if args.json { DagFormat::Json } else { args.format } {
        DagFormat::Tree => {
            say::document(drawing.tree(|node| line(node, &checks)).trim_end());
            let all = dag.nodes().len();
            let (name, version) = (dag.name().as_str(), short(dag.dag_hash()));
            let count = match &runs {
                None => format!("{all} nodes"),
                Some(runs) => format!("{} of {all} nodes", runs.len()),
            };
            note!("{name}: {count}, version {version}, code {}", short(dag.code_hash()));
        }
        DagFormat::Mermaid => say::document(drawing.mermaid().trim_end()),
        DagFormat::Dot => say::document(drawing.dot().trim_end()),
        DagFormat::Json => say::document(&format!("{:#}", document(dag, runs.as_ref(), &checks))),
    }
    Ok(ExitCode::SUCCESS)
}

/// A data check of a node in display form.
struct ShownCheck {
    text: String,
    severity: CheckSeverity,
    line: usize,
}

/// The data checks of each node, by its display name.
type Checks = BTreeMap<String, Vec<ShownCheck>>;

fn checks_by_node(pipeline: &Pipeline, shown: &Dag, policy: &Policy) -> Checks {
    let by_node = pipeline.checks().filter_map(|(node, checks)| {
        let checks = checks.iter().map(|expectation| ShownCheck {
            text: shown_check(&expectation.check, policy),
            severity: expectation.check.severity(),
            line: expectation.line,
        });
        Some((shown.node(node)?.name.clone(), checks.collect()))
    });
    by_node.collect()
}

/// A node in one line: name, type, place of its statement, and data checks.
fn line(node: &Node, checks: &Checks) -> String {
    let name = printable_within(&node.name, NAME_COLUMNS);
    let place = node.code.as_ref().map(|code| format!("  {}:{}", printable(&code.path), code.first_line));
    let output = printable_within(&node.output_type, NAME_COLUMNS);
    let checks = checks.get(&node.name).map(|checks| {
        let texts = checks.iter().map(|check| match check.severity {
            CheckSeverity::Fail => check.text.clone(),
            CheckSeverity::Warn => format!("{} (warn)", check.text),
        });
        format!("  expect: {}", printable_within(&texts.collect::<Vec<_>>().join("; "), CHECK_COLUMNS))
    });
    let kind = node.kind.name();
    format!("{name}  ({kind}, {output}){}{}", place.unwrap_or_default(), checks.unwrap_or_default())
}

/// The first characters of a hash, enough to tell versions apart.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn document(dag: &Dag, runs: Option<&BTreeSet<String>>, checks: &Checks) -> Value {
    let nodes: Vec<Value> = dag
        .nodes()
        .iter()
        .map(|node| {
            let code = node.code.as_ref();
            json!({
                "name": node.name,
                "kind": node.kind.name(),
                "output_type": node.output_type,
                "dependencies": node.dependencies,
                "tags": node.tags,
                "path": code.map(|code| &code.path),
                "first_line": code.map(|code| code.first_line),
                "last_line": code.map(|code| code.last_line),
                "checks": checks.get(&node.name).map(|checks| checks.iter().map(|check| json!({
                    "check": check.text, "severity": check.severity.name(), "line": check.line,
                })).collect::<Vec<_>>()).unwrap_or_default(),
                "runs": runs.is_none_or(|runs| runs.contains(&node.name)),
            })
        })
        .collect();
    json!({
        "dag_name": dag.name().as_str(),
        "dag_hash": dag.dag_hash(),
        "code_hash": dag.code_hash(),
        "nodes": nodes,
    })
}
