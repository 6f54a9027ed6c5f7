//! What the tracker receives of a node that ended, in the order in which the page shows it.

use std::collections::HashSet;

use daglight_capture_policy::{Captured, Policy};
use daglight_materializers::Registry;
use daglight_run_bundle::{
    BUNDLE_ONLY_FIELDS, DATA_SUMMARY, DATA_SUMMARY_BEFORE_THE_ERROR, Materialization, SummarySource,
    milliseconds,
};
use daglight_tracker_client::{Attribute, AttributeKind, AttributeRole};
use serde_json::{Map, Value, json};

use crate::{
    artifacts::{self, known_only},
    hamilton_summary::{self, withheld_field, withheld_summary},
    lineage_text::shown_lineage,
    node_facts::GatheredFacts,
    node_queries::{FIRST_QUERIES, NodeQueries, QueryFacts, SLOWEST_QUERIES},
    source_summary,
};

/// What stands in place of a data summary that the policy forbids: the words of the Python SDK.
const DISABLED: &str = "RESULT SUMMARY DISABLED";

/// The data summary of a node, as the policy shows it; of one that is not shown, why.
pub(crate) struct ShownSummary {
    name: &'static str,
    kind: AttributeKind,
    value: Captured,
    source: SummarySource,
}

impl ShownSummary {
    /// Of a node, which has failed or not.
    pub(crate) fn of(facts: &GatheredFacts, has_failed: bool, policy: &Policy) -> Option<Self> {
        // A node that failed before its first row has a summary of nothing, which only hides the error.
        let saw_rows = facts.summary.as_ref().is_some_and(|summary| summary.rows > 0);
        if has_failed && !saw_rows {
            return None;
        }
        let name = if has_failed { DATA_SUMMARY_BEFORE_THE_ERROR } else { DATA_SUMMARY };
        let source = match facts.summary {
            Some(_) => SummarySource::Rows,
            None => SummarySource::FileMetadata,
        };
        data_summary(facts, policy).map(|(kind, value)| Self { name, kind, value, source })
    }

    /// What the columns were made of.
    pub(crate) const fn source(&self) -> SummarySource {
        self.source
    }

    /// The columns, with the fields that only the bundle has.
    pub(crate) fn columns(&self) -> Option<&Captured> {
        (self.kind == AttributeKind::DagworksDescribe).then_some(&self.value)
    }

    fn attribute(&self) -> Attribute {
        let value = match self.columns() {
            Some(columns) => columns.without_fields(&BUNDLE_ONLY_FIELDS),
            None => self.value.clone(),
        };
        Attribute::new(self.name, self.kind, AttributeRole::ResultSummary, value)
    }
}

/// The attributes of a node. `error` is what ended it, as lines.
pub(crate) fn attributes(
    facts: &GatheredFacts,
    error: Option<&[String]>,
    summary: Option<&ShownSummary>,
    policy: &Policy,
    registry: &Registry,
) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    let mut add = |name: &str, kind, role, value: Captured| {
        attributes.push(Attribute::new(name, kind, role, value));
    };
    if let Some(lines) = error {
        // The page's tab for errors takes the one of the first attribute.
        add("stack_trace", AttributeKind::Error, AttributeRole::Error, policy.capture_stack(lines));
        let message = policy.capture_error(lines.first().map_or("", String::as_str));
        add("error", AttributeKind::Primitive, AttributeRole::Error, message);
    }
    if let Some(checks) = facts.checks.table(policy) {
        add("data_checks", AttributeKind::Html, AttributeRole::ResultSummary, checks);
    }
    attributes.extend(summary.map(ShownSummary::attribute));
    let mut add = |name: &str, kind, role, value: Captured| {
        attributes.push(Attribute::new(name, kind, role, value));
    };
    if let Some(schema) = &facts.schema {
        let fields = policy.capture_columns(hamilton_summary::schema(schema), withheld_field);
        add("schema", AttributeKind::Schema, AttributeRole::ResultSummary, fields);
    }
    if let Some(rows) = facts.preview.as_ref().and_then(|preview| preview.table(policy)) {
        add("first_rows", AttributeKind::Html, AttributeRole::ResultSummary, rows);
    }
    // Of a frame that reads no table, for example of a file or of values, there is nothing to show.
    if let Some(lineage) = facts.lineage.as_ref().filter(|lineage| lineage.has_sources()) {
        add("lineage", AttributeKind::Dict, AttributeRole::ResultSummary, shown_lineage(lineage, policy));
    }
    if let Some(source) = &facts.source {
        let is_described = summary.is_some_and(|summary| {
            summary.columns().is_some() && summary.source() == SummarySource::FileMetadata
        });
        let located = policy.capture(source_summary::locate(source, is_described, policy));
        add("source", AttributeKind::Dict, AttributeRole::ArtifactLink, located);
    }
    let names = facts.artifacts.iter().map(|artifact| match facts.artifacts.len() {
        // The usual case has one name everywhere, so that nodes can be compared; several are distinguished by theirs.
        1 => ("artifact".to_owned(), ""),
        _ => (format!("artifact {}", artifact.name), artifact.materialization.name()),
    });
    for (artifact, name) in facts.artifacts.iter().zip(unique_names(names.collect())) {
        let described = artifacts::describe(artifact, registry.entry(&artifact.name), policy);
        add(&name, AttributeKind::Dict, AttributeRole::ArtifactLink, policy.capture(described));
    }
    if !facts.queries.is_empty() {
        let mut queries: Map<String, Value> = Map::new();
        if facts.queries.summed() > 0 {
            queries.insert("all queries".to_owned(), describe_all(&facts.queries));
        }
        queries
            .extend(facts.queries.iter().map(|query| (format!("query {}", query.id), describe_query(query))));
        add(
            "queries",
            AttributeKind::Dict,
            AttributeRole::ResourceUtilization,
            policy.capture(Value::Object(queries)),
        );
    }
    let on_clusters: Map<String, Value> = facts
        .queries
        .iter()
        .filter_map(|query| Some((format!("query {}", query.id), query.cluster.as_ref()?.describe())))
        .collect();
    if !on_clusters.is_empty() {
        let on_clusters = policy.capture(Value::Object(on_clusters));
        add("cluster", AttributeKind::Dict, AttributeRole::ResourceUtilization, on_clusters);
    }
    if let Some(picture) = facts.picture.as_ref().and_then(|picture| picture.table(policy)) {
        add("plan", AttributeKind::Html, AttributeRole::ResourceUtilization, picture);
    }
    // Behind those of our own, whose names a program may use too.
    let own = attributes.iter().map(|attribute| (attribute.name().to_owned(), ""));
    let names = own.chain(facts.recorded.iter().map(|(name, _)| (heading(name), ""))).collect();
    // Our own go first through it, so that theirs stay, and those of the program give way.
    let names = unique_names(names).split_off(attributes.len());
    let recorded = facts.recorded.iter().zip(names).map(|((_, value), name)| {
        let kind = if value.as_value().is_object() { AttributeKind::Dict } else { AttributeKind::Primitive };
        Attribute::new(name, kind, AttributeRole::ResultSummary, value.clone())
    });
    attributes.extend(recorded);
    attributes
}

/// Names of which none is there twice: the server refuses the second. Later ones have their kind behind them, else a number.
fn unique_names(names: Vec<(String, &str)>) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut unique = Vec::new();
    for (name, kind) in names {
        let with_kind = (!kind.is_empty()).then(|| format!("{name} ({kind})"));
        // Endless: one of them is free.
        let numbered = (2_u64..).map(|number| format!("{name} ({number})"));
        let mut candidates = std::iter::once(name.clone()).chain(with_kind).chain(numbered);
        let free = candidates.find(|candidate| !taken.contains(candidate)).unwrap_or(name);
        taken.insert(free.clone());
        unique.push(free);
    }
    unique
}

/// The summary of the rows that passed; else what the files of a source say; else why it has no summary.
fn data_summary(facts: &GatheredFacts, policy: &Policy) -> Option<(AttributeKind, Captured)> {
    let table = |columns: Map<String, Value>| {
        let count = columns.len();
        let is_secret = |position: usize, name: &str| {
            facts.secrets.as_ref().is_some_and(|secrets| secrets.have(position, count, name))
        };
        let shown = policy.capture_columns_but(columns, is_secret, withheld_summary);
        (AttributeKind::DagworksDescribe, shown)
    };
    let note = |note: &str| (AttributeKind::Primitive, policy.capture(note));
    let has_data = facts.schema.is_some() || facts.rows.is_some();
    // That there was data, and how much, is said nevertheless: it is not a statistic of values.
    if !policy.data_statistics() {
        let disabled = json!({ "summary": DISABLED, "rows": facts.rows, "bytes": facts.bytes });
        return has_data.then(|| (AttributeKind::Dict, policy.capture(known_only(disabled))));
    }
    if let Some(summary) = &facts.summary {
        return Some(table(hamilton_summary::describe(summary)));
    }
    if let Some(source) = &facts.source {
        return Some(match source_summary::describe(source) {
            Some(columns) => table(columns),
            None => note(&source_summary::why_not_described(source)),
        });
    }
    let is_view = facts.artifacts.iter().any(|artifact| artifact.materialization == Materialization::View);
    is_view.then(|| note("a view has no rows of its own: they are computed where it is read"))
}

/// The sums over the queries of a node that has executed more than are kept.
fn describe_all(queries: &NodeQueries) -> Value {
    json!({
        "count": queries.count(),
        "wall_ms": milliseconds::rounded(queries.wall_time()),
        "in_sums_only": queries.summed(),
        "kept": format!("the first {FIRST_QUERIES} and the {SLOWEST_QUERIES} slowest of the others"),
    })
}

fn describe_query(query: &QueryFacts) -> Value {
    let busiest: Map<String, Value> = query
        .busiest
        .iter()
        .enumerate()
        // The page sorts by name.
        .map(|(rank, (name, busy))| (format!("{} {name}", rank + 1), busy.clone().into()))
        .collect();
    known_only(json!({
        "operation": query.operation,
        "outcome": query.outcome,
        "rows": query.rows,
        "rows_read": query.rows_read,
        "wall_ms": milliseconds::rounded(query.wall_time),
        "planning_ms": milliseconds::rounded(query.planning),
        "bytes_scanned": query.bytes_scanned,
        "bytes_written": query.bytes_written,
        "source_tables": query.source_tables,
        "busiest_operators": busiest,
        "logical_hash": query.logical_hash,
        "plan_hash": query.plan_hash,
        "plan_file": query.plan_file,
    }))
}

/// A name that the page can make a heading of: it fails on one that starts with an underscore or has nothing between
/// two.
fn heading(name: &str) -> String {
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "value".to_owned() } else { words.join("_") }
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Profile;

    use super::*;

    fn names(facts: &GatheredFacts, profile: Profile) -> Vec<(String, Value)> {
        let policy = Policy::of_profile(profile);
        let summary = ShownSummary::of(facts, false, &policy);
        attributes(facts, None, summary.as_ref(), &policy, &Registry::default())
            .iter()
            .map(|attribute| serde_json::to_value(attribute).unwrap())
            .map(|attribute| (attribute["name"].as_str().unwrap().to_owned(), attribute["value"].clone()))
            .collect()
    }

    #[test]
    fn without_statistics_rows_and_bytes_stay() {
        let facts = GatheredFacts { rows: Some(3), bytes: Some(100), ..GatheredFacts::default() };
        let disabled = json!({ "summary": "RESULT SUMMARY DISABLED", "rows": 3, "bytes": 100 });
        assert_eq!(names(&facts, Profile::Prod), [("data_summary".to_owned(), disabled)]);
        assert_eq!(names(&facts, Profile::Dev), []);
    }

    #[test]
    fn a_node_without_data_has_no_summary_that_could_be_disabled() {
        let value = Policy::of_profile(Profile::Prod).capture("1995-01-01");
        let facts = GatheredFacts { recorded: vec![("value".to_owned(), value)], ..GatheredFacts::default() };
        assert_eq!(names(&facts, Profile::Prod), [("value".to_owned(), json!("1995-01-01"))]);
    }

    #[test]
    fn no_name_is_there_twice() {
        let value = |value: &str| Policy::of_profile(Profile::Dev).capture(value);
        let recorded = ["rows", "rows", "_rows", "queries"].map(|name| (name.to_owned(), value(name)));
        let facts = GatheredFacts { recorded: recorded.to_vec(), ..GatheredFacts::default() };
        let found: Vec<String> = names(&facts, Profile::Dev).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, ["rows", "rows (2)", "rows (3)", "queries"]);
        let artifacts = [("artifact x", "parquet"), ("artifact x", "csv"), ("artifact x", "csv")];
        let unique = unique_names(artifacts.map(|(name, kind)| (name.to_owned(), kind)).to_vec());
        assert_eq!(unique, ["artifact x", "artifact x (csv)", "artifact x (2)"]);
    }

    #[test]
    fn every_name_makes_a_heading() {
        for (name, expected) in [("rows", "rows"), ("_rows__a_", "rows_a"), ("", "value"), ("__", "value")] {
            assert_eq!(heading(name), expected);
        }
    }
}
