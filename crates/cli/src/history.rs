//! `daglight history`: the runs of a pipeline, one after another.

use std::{collections::BTreeMap, process::ExitCode};

use daglight::{
    bundle::{
        Bundle, ComparedRun, Manifest, ReportStatus,
        display::{duration, exact, exact_plural, sparkline},
        outbox::recorded_outbox,
    },
    policy::in_one_line,
};
use serde_json::{Value, json};

use crate::{
    args::HistoryArgs,
    bundles::{NamedBundle, bundles_at, no_runs, runs_folder, warn_of_damages},
    config::report_options,
    failure::Failure,
    say::{self, note, say},
};

pub(crate) fn history(args: &HistoryArgs) -> Result<ExitCode, Failure> {
    let mut pipelines: BTreeMap<String, Vec<&NamedBundle>> = BTreeMap::new();
    let folder = runs_folder(args.runs.dir.as_deref())?;
    let named = bundles_at(&folder)?;
    for bundle in &named {
        let name = dag_name(bundle).or_else(|| recorded_dag_name(bundle));
        let name = name.unwrap_or_else(|| "unknown".to_owned());
        if args.dag_name.as_ref().is_none_or(|wanted| *wanted == name) {
            pipelines.entry(name).or_default().push(bundle);
        }
    }
    if let Some(wanted) = args.dag_name.as_ref().filter(|_| pipelines.is_empty() && !named.is_empty()) {
        return Err(Failure::input(format!(
            "no run of a pipeline {wanted:?} in {}; its runs are listed by `daglight status`",
            folder.display()
        )));
    }
    let options = report_options();
    let mut documents = Vec::new();
    for (name, bundles) in &pipelines {
        let skipped = bundles.len().saturating_sub(args.last.get());
        let mut runs = Vec::new();
        for bundle in &bundles[skipped..] {
            match ComparedRun::read_with(bundle, &options) {
                Ok(run) => {
                    warn_of_damages(bundle.shown(), &run.report);
                    // If its manifest cannot be read, the folder is named after the run.
                    let id = bundle.recorded_run().map(|id| id.to_string());
                    runs.push(Listed { id, run });
                }
                Err(error) => note!("warning: {}: {}", bundle.shown(), in_one_line(&error)),
            }
        }
        if args.json {
            documents.push(json!({ "dag_name": name, "runs": rows(&runs), "earlier_runs": skipped }));
        } else {
            print(name, &runs, skipped);
        }
    }
    if args.json {
        say::document(&serde_json::to_string_pretty(&documents).map_err(Failure::work)?);
    } else if pipelines.is_empty() {
        say!("{}", no_runs(&folder));
    }
    Ok(ExitCode::SUCCESS)
}

/// The pipeline of a bundle, according to its manifest, if that can be read.
pub(crate) fn dag_name(bundle: &Bundle) -> Option<String> {
    Manifest::read(bundle).ok().map(|manifest| manifest.identity.dag_name)
}

/// The same according to its outbox.
fn recorded_dag_name(bundle: &Bundle) -> Option<String> {
    recorded_outbox(&bundle.tracker_dir()).ok().flatten()?.dag_name
}

/// A run of a pipeline, with its id if known.
struct Listed {
    id: Option<String>,
    run: ComparedRun,
}

impl Listed {
    /// The kinds of its findings, without duplicates, most important first.
    fn findings(&self) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        for finding in &self.run.report.findings {
            if !kinds.contains(&finding.kind.id()) {
                kinds.push(finding.kind.id());
            }
        }
        kinds
    }
}

fn print(name: &str, runs: &[Listed], skipped: usize) {
    let durations: Vec<Option<f64>> = runs.iter().map(|listed| listed.run.report.duration_ms).collect();
    let bars = sparkline(&durations);
    let earlier = if skipped > 0 { format!(", {skipped} earlier ones are not shown") } else { String::new() };
    say!("{name}  {bars}  {}{earlier}", exact_plural(runs.len() as u64, "run"));
    say!("{:<36} {:<13} {:>11}   {:>11} {:>4}", "run", "status", "time", "rows", "");
    for ((listed, bar), before) in runs.iter().zip(bars.chars()).zip(before(runs)) {
        let report = &listed.run.report;
        let id = listed.id.as_deref().unwrap_or_default();
        let took = report.duration_ms.map(duration).unwrap_or_default();
        let mut notes = Vec::new();
        if before.is_some_and(|before| !listed.run.has_plans_of(before)) {
            notes.push("new plans");
        }
        notes.extend(listed.findings());
        let (in_files, in_tables) = (report.totals.rows_written, report.totals.rows_in_tables);
        let written = in_files.zip(in_tables).map(|(files, tables)| files.saturating_add(tables));
        let written = written.map_or_else(|| "-".to_owned(), exact);
        say!("{id:<36} {:<13} {took:>11} {bar} {written:>11} {}", report.status.in_words(), notes.join(", "));
    }
    say!("");
}

/// For each run the one with which its plans are compared: the last earlier run that succeeded, because a failed one has not
/// planned everything; if there is none, the previous run.
fn before(runs: &[Listed]) -> impl Iterator<Item = Option<&ComparedRun>> {
    let mut last: Option<&ComparedRun> = None;
    runs.iter().map(move |Listed { run, .. }| {
        let is_good = |run: &ComparedRun| run.report.status == ReportStatus::Success;
        let before = last;
        if is_good(run) || !last.is_some_and(is_good) {
            last = Some(run);
        }
        before
    })
}

fn rows(runs: &[Listed]) -> Vec<Value> {
    let rows = runs.iter().zip(before(runs)).map(|(listed, before)| {
        let report = &listed.run.report;
        let kinds: Vec<&str> = report.findings.iter().map(|finding| finding.kind.id()).collect();
        json!({
            "run_id": listed.id,
            "started_at": report.started_at,
            "status": report.status,
            "duration_ms": report.duration_ms,
            "rows_written": report.totals.rows_written,
            "rows_in_tables": report.totals.rows_in_tables,
            "plans_changed": before.map(|before| !listed.run.has_plans_of(before)),
            "findings": kinds,
        })
    });
    rows.collect()
}
