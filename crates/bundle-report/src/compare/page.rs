//! A comparison as a page.

use std::collections::BTreeSet;

use super::{
    Comparison, Measured, RunOfComparison, TimeComparison,
    fail_on::change,
    plan_shapes::shortened,
    sources::source_table,
    text::{USUAL_IN_WORDS, ended, run},
};
use crate::{
    display, html,
    section::{Block, Cell, Column, Opening, Piece, Section, Tone, name, words},
    section_parts::{section, sentence, table, table_section},
    sections::{PlanFiles, finding_section, status_of_run},
};

/// The parts of a comparison page in addition to the comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComparisonPage {
    /// The criteria that were met, such as `slower=20%: the run took 2 s, was 1 s`.
    pub failed_on: Vec<String>,
    /// The address of the list of all runs, relative to the page.
    pub runs: Option<&'static str>,
}

impl ComparisonPage {
    /// Sets the criteria that were met.
    #[must_use]
    pub fn failed_on(self, failed_on: Vec<String>) -> Self {
        Self { failed_on, ..self }
    }

    /// Sets the address of the list of all runs.
    #[must_use]
    pub fn of_runs_at(self, address: &'static str) -> Self {
        Self { runs: Some(address), ..self }
    }
}

/// The maximum number of plan changes shown.
const MAX_PLANS: usize = 100;

impl Comparison {
    /// The comparison as a self-contained HTML page.
    pub fn to_html(&self) -> String {
        self.to_html_of(&ComparisonPage::default())
    }

    /// Like [`Comparison::to_html`], with the additional parts of the page.
    pub fn to_html_of(&self, page: &ComparisonPage) -> String {
        let findings = self.findings_came.iter().chain(&self.findings_went);
        html::render_comparison(&self.opening(page), &self.sections(), findings, page.runs)
    }

    /// A warning that the reader must see first.
    pub(super) fn warning(&self) -> Option<String> {
        let name = |run: &RunOfComparison| run.dag_name.clone();
        let (now, before) = (name(&self.run)?, self.baselines.iter().filter_map(name));
        let others: BTreeSet<String> = before.filter(|before| *before != now).collect();
        let others: Vec<String> = others.into_iter().collect();
        (!others.is_empty()).then(|| {
            format!(
                "different pipelines are compared: {} before, and {now} now. Nodes are compared by their names alone.",
                others.join(", ")
            )
        })
    }

    pub(crate) fn opening<'r>(&'r self, page: &'r ComparisonPage) -> Opening<'r> {
        let dag_name = self.run.dag_name.as_deref();
        let time = self.duration_ms.as_ref();
        let cpu = self.cpu_ms.as_ref();
        let tiles = [
            ("time", time.map(|ms| display::duration(ms.after))),
            ("before", time.map(|ms| ms.before_in_words(display::duration))),
            ("change", time.map(changed).filter(|changed| !changed.is_empty())),
            ("processor time", cpu.map(|cpu| display::duration(cpu.after))),
            ("processor time before", cpu.map(|cpu| cpu.before_in_words(display::duration))),
            ("new findings", some(self.findings_came.len())),
            ("findings that are gone", some(self.findings_went.len())),
            ("plans that changed", some(self.plan_changes.len())),
        ];
        Opening {
            name: dag_name.unwrap_or("comparison"),
            status: status_of_run(self.run.status),
            findings: {
                let warning = self.warning().map(|warning| (Tone::Warning, "!", words(warning)));
                let failed =
                    page.failed_on.iter().map(|what| (Tone::Bad, "✗", words(format!("failed on {what}"))));
                let not_ended = self.not_ended().into_iter().map(|why| (Tone::Note, "•", words(why)));
                let busy = self.busy_machine().map(|busy| (Tone::Note, "•", words(busy)));
                warning.into_iter().chain(failed).chain(not_ended).chain(busy).collect()
            },
            links: Vec::new(),
            tiles: tiles.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        }
    }

    /// The changes, most important first. Sections without changes are left out.
    pub(crate) fn sections(&self) -> Vec<Section<'_>> {
        let sections = [
            self.runs(),
            finding_section("New findings", &self.findings_came, PlanFiles::Elsewhere),
            finding_section("Findings that are gone", &self.findings_went, PlanFiles::Elsewhere),
            self.node_section(),
            section("Sources", source_table(&self.sources, self.sources.len()).into_iter().collect()),
            self.output_section(),
            self.drift_section(),
            self.plan_section(),
            self.time_section("Stages", "stage", &self.stages),
            self.time_section(
                "Operators, on average in one partition; of a sink, in all its tasks together",
                "operator",
                &self.operators,
            ),
            self.difference_section(),
        ];
        sections.into_iter().filter(|section| !section.blocks.is_empty()).collect()
    }

    fn runs(&self) -> Section<'_> {
        let baselines = self.baselines.iter().map(|baseline| ("before", baseline));
        let runs = baselines.chain([("now", &self.run)]);
        let rows = runs.map(|(which, of)| {
            vec![
                words(which),
                vec![Piece::Code(run(of).into())],
                words(of.started_at.map(display::time).unwrap_or_default()),
            ]
        });
        let columns = vec![Column::text(""), Column::text("run"), Column::text("started")];
        let usual = self.says_usual().then(|| sentence(USUAL_IN_WORDS));
        section("Runs", table(columns, rows).into_iter().chain(usual).collect())
    }

    fn node_section(&self) -> Section<'_> {
        let columns = vec![
            Column::text("node"),
            Column::text(""),
            Column::number("time"),
            Column::number("before"),
            Column::number("change"),
            Column::number("rows out"),
            Column::number("before"),
            Column::number("bytes"),
            Column::number("before"),
        ];
        let rows = self.nodes.iter().filter_map(|node| {
            let status = match (node.status_before, node.status_after) {
                (None, _) => vec![Piece::tag(Tone::Note, "new")],
                (_, None) => vec![Piece::tag(Tone::Warning, "gone")],
                _ if node.renamed_from.is_some() => {
                    let before = node.renamed_from.as_deref();
                    [Piece::words("was called ")].into_iter().chain(before.map(Piece::Name)).collect()
                }
                // Unchanged outcomes are not mentioned.
                (Some(before), Some(after)) if before != after => {
                    vec![Piece::words(format!("{}, {} before", ended(after), ended(before)))]
                }
                _ => Vec::new(),
            };
            let time = node.duration_ms.as_ref().filter(|ms| self.is_named(ms));
            let moved = node.rows_out.as_ref().is_some_and(|rows| rows.before != rows.after);
            if status.is_empty() && time.is_none() && !moved {
                return None;
            }
            let changed = change_of(time);
            let [time, time_before] = both(time, display::duration);
            let [rows, rows_before] = both(node.rows_out.as_ref(), |rows| display::count(rows as u64));
            let [bytes, bytes_before] = both(node.bytes.as_ref(), |bytes| display::bytes(bytes as u64));
            Some(vec![
                name(&*node.name),
                status,
                time,
                time_before,
                changed,
                rows,
                rows_before,
                bytes,
                bytes_before,
            ])
        });
        table_section("Nodes", columns, rows)
    }

    fn output_section(&self) -> Section<'_> {
        let columns = vec![
            Column::text("output"),
            Column::text(""),
            Column::number("rows"),
            Column::number("before"),
            Column::number("change"),
            Column::number("bytes"),
            Column::number("before"),
            Column::text("columns"),
        ];
        let rows = self.outputs.iter().map(|output| {
            let status = match (output.was_there, output.is_there) {
                (false, _) => vec![Piece::tag(Tone::Note, "new")],
                (_, false) => vec![Piece::tag(Tone::Warning, "gone")],
                _ => Vec::new(),
            };
            let [rows, rows_before] = both(output.rows.as_ref(), |rows| display::count(rows as u64));
            let [bytes, bytes_before] = both(output.bytes.as_ref(), |bytes| display::bytes(bytes as u64));
            let gone = output.columns_gone.iter().map(|column| format!("- {}", display::name(column)));
            let new = output.columns_new.iter().map(|column| format!("+ {}", display::name(column)));
            let columns = words(gone.chain(new).collect::<Vec<_>>().join("; "));
            let changed = change_of(output.rows.as_ref());
            vec![name(&*output.name), status, rows, rows_before, changed, bytes, bytes_before, columns]
        });
        table_section("Outputs", columns, rows)
    }

    fn drift_section(&self) -> Section<'_> {
        let columns = vec![Column::text("node"), Column::text("column"), Column::text("change")];
        let rows = self
            .drifts
            .iter()
            .map(|drift| vec![name(&*drift.node), name(&*drift.column), words(drift.in_words())]);
        table_section("Values of columns", columns, rows)
    }

    fn plan_section(&self) -> Section<'_> {
        let changes = self.plan_changes.iter().take(MAX_PLANS).map(|plan| {
            let title = match &plan.node {
                Some(node) => vec![Piece::words("a plan of "), Piece::Name(node)],
                None => vec![Piece::words("a plan of no node")],
            };
            Block::Changes(title, shortened(&plan.tree))
        });
        section("Plans that changed", changes.collect())
    }

    fn difference_section(&self) -> Section<'_> {
        let columns = vec![Column::text(""), Column::text("now"), Column::text("before")];
        let value = |value: &Option<String>| -> Cell<'_> {
            vec![Piece::Code(value.clone().unwrap_or_else(|| "none".to_owned()).into())]
        };
        let rows = self.differences.iter().map(|difference| {
            vec![name(&*difference.name), value(&difference.after), value(&difference.before)]
        });
        table_section("Versions, settings and environment", columns, rows)
    }

    fn time_section<'r>(
        &self,
        title: &'static str,
        what: &'static str,
        compared: &'r [TimeComparison],
    ) -> Section<'r> {
        let columns = vec![
            Column::text(what),
            Column::text("node"),
            Column::number("time"),
            Column::number("before"),
            Column::number("change"),
        ];
        let named = compared.iter().filter(|compared| self.is_named(&compared.duration_ms));
        let rows = named.map(|compared| {
            let [time, before] = both(Some(&compared.duration_ms), display::duration);
            let changed = change_of(Some(&compared.duration_ms));
            vec![name(&*compared.name), name(compared.node.as_deref()), time, before, changed]
        });
        table_section(title, columns, rows)
    }
}

/// The current and the earlier value of a number.
fn both<'r>(measured: Option<&Measured>, show: impl Fn(f64) -> String) -> [Cell<'r>; 2] {
    match measured {
        Some(measured) => [words(show(measured.after)), words(measured.before_in_words(show))],
        None => [Vec::new(), Vec::new()],
    }
}

fn change_of<'r>(measured: Option<&Measured>) -> Cell<'r> {
    words(measured.filter(|measured| measured.before != measured.after).map(changed).unwrap_or_default())
}

/// The relative change of a number, such as `+30 %`.
fn changed(measured: &Measured) -> String {
    change(measured).trim().trim_matches(['(', ')']).to_owned()
}

fn some(count: usize) -> Option<String> {
    (count > 0).then(|| display::count(count as u64))
}
