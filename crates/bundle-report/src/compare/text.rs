//! A comparison as text for a terminal of 80 columns.

use std::fmt::Write as _;

use daglight_capture_policy::{printable, printable_lines};
use daglight_run_bundle::NodeStatus;

use super::{
    ComparedPart, Comparison, Difference, RunOfComparison, TimeComparison,
    drift::ValueDrift,
    fail_on::{change, rows_of, times},
    plan_shapes::shortened,
    sources::SourceMoved,
};
use crate::display;

/// The maximum number of lines in a section.
const MAX_LINES: usize = 20;
/// The maximum number of characters shown of a value.
const MAX_VALUE_CHARS: usize = 40;

impl Comparison {
    /// The comparison as text, most important first. Sections without changes are left out.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(warning) = self.warning() {
            line(&mut text, &format!("warning: {}\n", printable(&warning)));
        }
        for baseline in &self.baselines {
            line(&mut text, &format!("  before  {}", run(baseline)));
        }
        line(&mut text, &format!("  now     {}", run(&self.run)));
        let changed = self.duration_ms.as_ref().filter(|ms| self.baselines.len() > 1 || ms.change.is_some());
        if let Some(ms) = changed {
            line(&mut text, &format!("  time    {}", times(ms)));
        }
        for why in self.not_ended() {
            line(&mut text, &format!("  {}", printable(&why)));
        }
        if let Some(cpu) = self.cpu_ms.as_ref().filter(|cpu| self.is_named(cpu)) {
            line(&mut text, &format!("  processor time {}", times(cpu)));
        }
        if let Some(busy) = self.busy_machine() {
            line(&mut text, &format!("  {busy}"));
        }
        if self.says_usual() {
            line(&mut text, &format!("  {USUAL_IN_WORDS}"));
        }
        let sections = [
            ("New findings", findings(&self.findings_came)),
            ("Findings that are gone", findings(&self.findings_went)),
            ("Nodes", self.node_lines()),
            ("Sources", self.sources.iter().map(source).collect()),
            ("Outputs", self.output_lines()),
            ("Values of columns", self.drifts.iter().map(drift).collect()),
            ("Stages", self.time_lines(&self.stages)),
            (
                "Operators, on average in one partition; of a sink, in all its tasks together",
                self.time_lines(&self.operators),
            ),
            ("Versions, settings and environment", self.differences.iter().map(difference).collect()),
        ];
        for (title, lines) in sections.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            line(&mut text, &format!("\n{title}"));
            lines
                .iter()
                .take(MAX_LINES)
                .for_each(|content| line(&mut text, &format!("  {}", printable(content))));
            if lines.len() > MAX_LINES {
                line(&mut text, &format!("  and {} more: see --json", lines.len() - MAX_LINES));
            }
        }
        for plan in self.plan_changes.iter().take(MAX_LINES) {
            let node = plan.node.as_deref().map_or_else(
                || "of no node".to_owned(),
                |node| format!("of {}", printable(&display::name(node))),
            );
            line(&mut text, &format!("\nPlan {node}"));
            shortened(&plan.tree)
                .iter()
                .for_each(|operator| line(&mut text, &format!("  {}", printable(operator))));
        }
        printable_lines(&text).into_owned()
    }

    /// The parts that are not compared because a run or a node did not come to its end.
    pub(super) fn not_ended(&self) -> Vec<String> {
        let time =
            self.why_not(ComparedPart::Time).map(|why| format!("times of the runs are not compared: {why}"));
        let nodes = self.why_not(ComparedPart::Nodes).map(|why| format!("not compared: {why}"));
        time.into_iter().chain(nodes).collect()
    }

    /// Whether there are enough baselines for a ±.
    pub(super) fn says_usual(&self) -> bool {
        self.duration_ms.is_some_and(|ms| ms.usual.is_some())
    }

    fn node_lines(&self) -> Vec<String> {
        let lines = self.nodes.iter().filter_map(|node| {
            let mut parts = Vec::new();
            match (node.status_before, node.status_after) {
                (None, _) => parts.push("new".to_owned()),
                (_, None) => parts.push("gone".to_owned()),
                _ if node.renamed_from.is_some() => {
                    parts.extend(
                        node.renamed_from
                            .iter()
                            .map(|before| format!("was called {}", display::name(before))),
                    );
                }
                (Some(before), Some(after)) if before != after => {
                    parts.push(format!("{}, {} before", ended(after), ended(before)));
                }
                _ => {}
            }
            parts.extend(node.duration_ms.as_ref().filter(|ms| self.is_named(ms)).map(times));
            parts.extend(node.rows_out.as_ref().filter(|rows| rows.before != rows.after).map(rows_of));
            (!parts.is_empty()).then(|| format!("{}: {}", display::name(&node.name), parts.join("; ")))
        });
        lines.collect()
    }

    fn time_lines(&self, compared: &[TimeComparison]) -> Vec<String> {
        let named = compared.iter().filter(|compared| self.is_named(&compared.duration_ms));
        named
            .map(|compared| {
                let node = compared
                    .node
                    .as_ref()
                    .map(|node| format!("{} ", display::name(node)))
                    .unwrap_or_default();
                format!("{node}{}: {}", display::name(&compared.name), times(&compared.duration_ms))
            })
            .collect()
    }

    fn output_lines(&self) -> Vec<String> {
        let lines = self.outputs.iter().filter_map(|output| {
            let mut parts = Vec::new();
            match (output.was_there, output.is_there) {
                (false, _) => parts.push("new".to_owned()),
                (_, false) => parts.push("gone".to_owned()),
                _ => {}
            }
            parts.extend(output.rows.as_ref().filter(|rows| rows.before != rows.after).map(rows_of));
            if let Some(bytes) = output.bytes.as_ref().filter(|bytes| bytes.changed_by(self.named_from_share))
            {
                let [now, before] = [bytes.after, bytes.before].map(|bytes| display::bytes(bytes as u64));
                parts.push(format!("{now}, was {before}{}", change(bytes)));
            }
            parts.extend(output.columns_gone.iter().map(|column| format!("- {}", display::name(column))));
            parts.extend(output.columns_new.iter().map(|column| format!("+ {}", display::name(column))));
            (!parts.is_empty()).then(|| format!("{}: {}", display::name(&output.name), parts.join("; ")))
        });
        lines.collect()
    }
}

/// The explanation of the ±.
pub(super) const USUAL_IN_WORDS: &str =
    "± is what is usual: 3 standard deviations of the runs before, by their median deviation.";

pub(super) fn run(run: &RunOfComparison) -> String {
    let id = run.run_id.as_deref().unwrap_or("a run without a manifest");
    let status = run.status.in_words();
    let took = run.duration_ms.map(|ms| format!(" {}", display::duration(ms))).unwrap_or_default();
    format!("{id} {status}{took}")
}

fn findings(findings: &[crate::Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{}: {}", finding.kind.id(), finding.summary)).collect()
}

fn source(source: &SourceMoved) -> String {
    let [table, node] = [&source.table, &source.node].map(|name| display::name(name));
    format!("{table} of {node}: {}", source.in_words())
}

fn drift(drift: &ValueDrift) -> String {
    format!("{}: {}", drift.place(), drift.in_words())
}

pub(super) fn ended(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Success => "succeeded",
        NodeStatus::Failure => "failed",
        NodeStatus::Interrupted => "interrupted",
        NodeStatus::Running => "running",
        NodeStatus::Unfinished => "unfinished",
        NodeStatus::NotRun => "not run",
    }
}

fn difference(difference: &Difference) -> String {
    let value = |value: &'_ Option<String>, other: &Option<String>| match value {
        None => "none".to_owned(),
        Some(value) => {
            let other = other.as_deref().unwrap_or_default();
            display::around_difference(value, other, MAX_VALUE_CHARS).into_owned()
        }
    };
    let now = value(&difference.after, &difference.before);
    let before = value(&difference.before, &difference.after);
    format!("{}: {now}, was {before}", display::name(&difference.name))
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
