//! What the file of a plan says of a query.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use daglight_capture_policy::{Types, first_words, without_typed_literals};
use daglight_run_bundle::{
    ClusterWork, ColumnSources, DirectSource, IndirectSource, PartitionMetrics, PlanBundle, PlanColumn,
    PlanLineage, PlanMetrics, PlanOperator, PlanSource, PlanningRecord, RuleRecord, milliseconds,
};
use datafusion::config::ConfigOptions;

use crate::{
    default_settings,
    fingerprint::{Fingerprints, without_literals},
    lineage::Lineage,
    measured_query::{MeasuredQuery, QueryOutcome},
    operators::{MeasuredOperator, unix_milliseconds},
    planned_operators::{PlannedOperator, plan_text},
    planned_query::{PlannedQuery, PlanningState},
    planning::RuleTime,
};

/// Bytes of a plan, and of the text of an operator, that a file has at most: a constant that was computed while planning may have
/// megabytes.
const LONGEST_PLAN: usize = 1 << 20;
const LONGEST_DETAIL: usize = 64 << 10;

impl PlannedQuery {
    /// All that is known of the plan before it is executed. `with_literals` says whether values in the plans may be kept.
    pub fn to_plan_bundle(&self, with_literals: bool) -> PlanBundle {
        let metrics = PlanMetrics {
            planned_at_ms: unix_milliseconds(self.planning.started_at),
            planning_ms: Some(milliseconds::of(self.planning.total())),
            operators: self.planned_operators(with_literals),
            ..PlanMetrics::default()
        };
        self.with_metrics(metrics, with_literals)
    }

    fn with_metrics(&self, metrics: PlanMetrics, with_literals: bool) -> PlanBundle {
        let Fingerprints { logical_hash, literal_hash, plan_hash } = self.fingerprints.clone();
        let (logical_plan, optimized_plan) = match with_literals {
            true => (self.texts.logical.clone(), self.optimized.display_indent().to_string()),
            false => {
                let optimized = without_limits(&without_literals(&self.optimized));
                (self.texts.logical_without_literals.clone(), optimized)
            }
        };
        let physical_plan = plan_text(&self.operators, |operator| match with_literals {
            true => &operator.detail,
            false => &operator.description,
        });
        let name = |name: &str| match with_literals {
            true => name.to_owned(),
            false => without_typed_literals(name, Types::Shown).into_owned(),
        };
        PlanBundle {
            operation: self.kind.operation().to_owned(),
            analyzed: self.analyzed,
            logical_hash: Some(logical_hash),
            plan_hash: Some(plan_hash),
            literal_hash: Some(literal_hash),
            logical_plan: first_words(&logical_plan, LONGEST_PLAN).into_owned(),
            optimized_plan: self
                .is_optimized()
                .then(|| first_words(&optimized_plan, LONGEST_PLAN).into_owned()),
            physical_plan: (self.state == PlanningState::Planned)
                .then(|| first_words(&physical_plan, LONGEST_PLAN).into_owned()),
            schema: self
                .schema
                .fields()
                .iter()
                .map(|field| PlanColumn {
                    name: name(field.name()),
                    data_type: field.data_type().to_string(),
                    nullable: field.is_nullable(),
                })
                .collect(),
            lineage: Some(recorded_lineage(&self.lineage).with_names(name)),
            source_tables: self.source_tables.clone(),
            sources: self.sources(),
            settings: settings_of(&self.options, with_literals),
            planning: Some(self.planning_record(with_literals)),
            metrics,
            ..PlanBundle::default()
        }
    }

    /// How long it was planned, and what of that goes on or has failed. `with_literals` as for the whole.
    pub fn planning_record(&self, with_literals: bool) -> PlanningRecord {
        let (planning, failure) = (&self.planning, self.failure());
        let turn = match &self.state {
            PlanningState::GoesOn(turn) => Some(turn),
            PlanningState::Planned | PlanningState::Failed(_) => None,
        };
        let rule = |rule: &RuleTime| RuleRecord {
            name: rule.name.to_string(),
            part: rule.part.name().to_owned(),
            ms: milliseconds::of(rule.time),
            changed: rule.changed,
            // The texts are written with their literals.
            differences: if with_literals { rule.differences.clone() } else { Vec::new() },
        };
        PlanningRecord {
            parsing_ms: None,
            analysis_ms: milliseconds::of(planning.analysis),
            optimization_ms: milliseconds::of(planning.optimization),
            physical_ms: milliseconds::of(planning.physical),
            rules: planning.rules.iter().map(rule).collect(),
            failed_part: failure.map(|failure| failure.part.name().to_owned()),
            failed_rule: failure.and_then(|failure| failure.rule.as_deref()).map(str::to_owned),
            open_part: turn.map(|turn| turn.part.name().to_owned()),
            open_rule: turn.and_then(|turn| turn.rule.as_deref()).map(str::to_owned),
        }
    }

    /// The operators before any of them has measured something.
    fn planned_operators(&self, with_literals: bool) -> Vec<PlanOperator> {
        let operators = self.operators.iter().enumerate();
        operators.map(|(id, operator)| operator.to_plan_operator(id, with_literals)).collect()
    }

    /// Each scan of a table, as it was planned.
    pub fn sources(&self) -> Vec<PlanSource> {
        let scans = self.operators.iter().enumerate();
        scans
            .filter_map(|(id, operator)| {
                let scan = operator.scan.clone()?;
                Some(PlanSource {
                    operator: id as u64,
                    table: operator.leaf.as_ref().and_then(|leaf| leaf.table()).map(str::to_owned),
                    location: scan.location,
                    format: scan.format,
                    files: scan.files,
                    bytes: scan.bytes,
                    shares_files: scan.shares_files,
                    ..PlanSource::default()
                })
            })
            .collect()
    }
}

impl PlannedOperator {
    /// The operator before it has measured something.
    fn to_plan_operator(&self, id: usize, with_literals: bool) -> PlanOperator {
        let detail = if with_literals { &self.detail } else { &self.description };
        PlanOperator {
            id: id as u64,
            parent: self.parent.map(|id| id as u64),
            name: self.name.clone(),
            detail: Some(first_words(detail, LONGEST_DETAIL).into_owned()),
            is_scan: self.scan.is_some(),
            table: self.leaf.as_ref().and_then(|leaf| leaf.table()).map(str::to_owned),
            estimated_rows: self.estimate.rows,
            estimate_is_exact: self.estimate.is_exact,
            estimated_bytes: self.estimate.bytes,
            ..PlanOperator::default()
        }
    }
}

fn recorded_lineage(lineage: &Lineage) -> PlanLineage {
    let columns = lineage.columns.iter().map(|column| ColumnSources {
        name: column.name.clone(),
        sources: column
            .sources
            .iter()
            .map(|(source, derivation)| DirectSource {
                table: source.table.clone(),
                column: source.column.clone(),
                derivation: derivation.name().to_owned(),
            })
            .collect(),
    });
    let indirect = lineage.indirect.iter().map(|(source, influences)| IndirectSource {
        table: source.table.clone(),
        column: source.column.clone(),
        influences: influences.iter().map(|influence| influence.name().to_owned()).collect(),
    });
    PlanLineage {
        columns: columns.collect(),
        indirect: indirect.collect(),
        unresolved: lineage.unresolved.iter().map(ToString::to_string).collect(),
    }
}

impl MeasuredQuery {
    /// Whether what was measured is of the operators of the plan as the session has planned it. Another engine plans by itself, and of a
    /// query without a physical plan at its end nothing was measured.
    pub fn is_executed_as_planned(&self) -> bool {
        self.made_elsewhere.is_none() && self.operators.len() == self.query.operators.len()
    }

    /// All that is known of the plan, with what was measured of an execution as it was planned. `with_literals` as for
    /// [`PlannedQuery::to_plan_bundle`].
    pub fn to_plan_bundle(&self, with_literals: bool) -> PlanBundle {
        let mut plan = self.query.with_metrics(self.to_plan_metrics(with_literals), with_literals);
        self.measure_sources(&mut plan.sources);
        plan
    }

    /// What was measured. `with_literals` says whether values in the texts of operators may be kept.
    pub fn to_plan_metrics(&self, with_literals: bool) -> PlanMetrics {
        let query = &self.query;
        let since_start = |time| unix_milliseconds(time) - unix_milliseconds(self.started_at);
        let planned = |id: usize| Some(self.planned_operators().get(id)?.to_plan_operator(id, with_literals));
        let operator = |operator: &MeasuredOperator| PlanOperator {
            id: operator.id as u64,
            parent: operator.parent.map(|id| id as u64),
            is_scan: operator.is_scan,
            output_rows: operator.output_rows,
            elapsed_compute_ms: Some(milliseconds::of(operator.busy)),
            partitions: Some(operator.partitions as u64),
            start_ms: since_start(operator.started_at),
            end_ms: since_start(operator.ended_at),
            output_bytes: operator.metric("output_bytes"),
            memory_bytes: operator.memory_bytes(),
            spilled_bytes: operator.metric("spilled_bytes"),
            partition_metrics: operator
                .by_partition()
                .into_iter()
                .map(|((task, partition), metrics)| PartitionMetrics {
                    task,
                    partition: partition.map(|partition| partition as u64),
                    metrics,
                })
                .collect(),
            metrics: operator.metrics(),
            // Its name, its texts and what was estimated are those of the plan.
            ..planned(operator.id).unwrap_or_default()
        };
        PlanMetrics {
            planned_at_ms: unix_milliseconds(query.planning.started_at),
            planning_ms: Some(milliseconds::of(query.planning.total())),
            started_at_ms: unix_milliseconds(self.started_at),
            wall_ms: milliseconds::of(self.wall_time),
            rows: self.rows,
            rows_read: Some(self.rows_read),
            bytes_written: self.bytes_written,
            bytes_scanned: self.bytes_scanned,
            cluster: self.cluster.clone().map(ClusterWork::bounded),
            operators: self.operators.iter().map(operator).collect(),
        }
    }

    /// The plan of an engine that has planned the query by itself; `None` where it was executed as it was planned. `with_literals` says
    /// whether values may be kept.
    pub fn plan_made_elsewhere(&self, with_literals: bool) -> Option<String> {
        let made = self.made_elsewhere.as_ref()?;
        let text = plan_text(&made.operators, |operator| match with_literals {
            true => &operator.detail,
            false => &operator.description,
        });
        Some(first_words(&text, LONGEST_PLAN).into_owned())
    }

    /// Adds what the scans have read to what is known of them: those of [`PlannedQuery::sources`], in that order.
    pub fn measure_sources(&self, sources: &mut [PlanSource]) {
        if let Some(made) = &self.made_elsewhere {
            for (source, position) in sources.iter_mut().zip(&made.scans) {
                if let Some(position) = *position {
                    source.operator = position as u64;
                    measure(source, &self.operators[position]);
                }
            }
            return;
        }
        for source in sources {
            let operator = usize::try_from(source.operator).ok().and_then(|id| self.operators.get(id));
            if let Some(operator) = operator {
                measure(source, operator);
            }
        }
    }

    /// The outcome as the file of the plan has it: nothing while the query runs.
    pub fn recorded_outcome(&self) -> Option<String> {
        (self.outcome != QueryOutcome::Running).then(|| self.outcome.name().to_owned())
    }
}

/// The optimiser makes numbers of what is an expression before: `fetch=5` becomes `fetch=?`.
fn without_limits(plan: &str) -> String {
    let mut parts = plan.split("fetch=");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        text.push_str(if rest.len() < part.len() { "fetch=?" } else { "fetch=" });
        text.push_str(rest);
    }
    text
}

/// Row groups are ruled out by statistics, then by Bloom filters, by a limit, and by filters that a join or a sort has found
/// meanwhile (`ParquetFileMetrics`).
fn measure(source: &mut PlanSource, operator: &MeasuredOperator) {
    let metric = |name: &str| operator.metric(name);
    source.rows = operator.output_rows;
    source.bytes_scanned = metric("bytes_scanned");
    let later = [
        "row_groups_pruned_bloom_filter.pruned",
        "limit_pruned_row_groups.pruned",
        "row_groups_pruned_dynamic_filter",
    ];
    let later: u64 = later.iter().filter_map(|name| metric(name)).sum();
    if let Some(matched) = metric("row_groups_pruned_statistics.matched") {
        source.row_groups_read = Some(matched.saturating_sub(later));
        source.row_groups_pruned = Some(metric("row_groups_pruned_statistics.pruned").unwrap_or(0) + later);
    }
    let pages = [metric("page_index_pages_pruned.matched"), metric("page_index_pages_pruned.pruned")];
    // Where no predicate is checked against the index of the pages, none is counted, though all are read.
    if pages != [Some(0), Some(0)] {
        [source.pages_read, source.pages_pruned] = pages;
    }
}

/// The options of a session that differ from the default, as they were written out.
struct KnownSettings {
    of: Weak<ConfigOptions>,
    with_literals: bool,
    changed: BTreeMap<String, String>,
}

impl KnownSettings {
    fn are(&self, options: &Arc<ConfigOptions>, with_literals: bool) -> bool {
        // While the weak reference is there, no other options have that address, nor do these change in their place.
        self.of.as_ptr() == Arc::as_ptr(options) && self.with_literals == with_literals
    }
}

/// As [`changed_settings`], which writes hundreds of options out as texts: those that were asked for last are kept, because the
/// queries of a session share theirs.
fn settings_of(options: &Arc<ConfigOptions>, with_literals: bool) -> BTreeMap<String, String> {
    // Weak, so that it keeps no session.
    static LAST: Mutex<Option<KnownSettings>> = Mutex::new(None);
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let known =
        last().as_ref().filter(|last| last.are(options, with_literals)).map(|last| last.changed.clone());
    known.unwrap_or_else(|| {
        let changed = changed_settings(options, with_literals);
        *last() =
            Some(KnownSettings { of: Arc::downgrade(options), with_literals, changed: changed.clone() });
        changed
    })
}

/// The options that are not the default. Without literals a text is hidden, because `SET` may have put any value there;
/// numbers and flags stay where the option takes nothing else.
fn changed_settings(options: &ConfigOptions, with_literals: bool) -> BTreeMap<String, String> {
    let shown = |value: String, takes_numbers: bool| {
        let is_number = takes_numbers && value.parse::<f64>().is_ok();
        match with_literals || value.parse::<bool>().is_ok() || is_number {
            true => value,
            false => "?".to_owned(),
        }
    };
    let changed = default_settings::changed(options).into_iter();
    changed.map(|(key, value, takes_numbers)| (key, shown(value, takes_numbers))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_literals_only_flags_and_numbers_of_changed_settings_are_kept() {
        let mut options = ConfigOptions::default();
        for (key, value) in [
            ("datafusion.execution.batch_size", "100"),
            ("datafusion.execution.collect_statistics", "false"),
            ("datafusion.format.null", "4711"),
            ("datafusion.execution.time_zone", "+02:00"),
        ] {
            options.set(key, value).unwrap();
        }
        let shown = changed_settings(&options, false);
        assert_eq!(shown["datafusion.execution.batch_size"], "100");
        assert_eq!(shown["datafusion.execution.collect_statistics"], "false");
        assert_eq!(shown["datafusion.format.null"], "?");
        assert_eq!(shown["datafusion.execution.time_zone"], "?");
        assert_eq!(changed_settings(&options, true)["datafusion.format.null"], "4711");
    }

    #[test]
    fn settings_are_those_of_the_options_that_are_asked_for() {
        let mut options = Arc::new(ConfigOptions::default());
        assert_eq!(settings_of(&options, true).len(), 0);
        for value in ["100", "200"] {
            // In place, where nobody else has them: as `SET` changes those of a session.
            Arc::make_mut(&mut options).set("datafusion.execution.batch_size", value).unwrap();
            for _ in 0..2 {
                assert_eq!(settings_of(&options, true)["datafusion.execution.batch_size"], value);
            }
        }
        assert_eq!(settings_of(&Arc::default(), true).len(), 0);
        Arc::make_mut(&mut options).set("datafusion.format.null", "x").unwrap();
        assert_eq!(settings_of(&options, true)["datafusion.format.null"], "x");
        assert_eq!(settings_of(&options, false)["datafusion.format.null"], "?");
    }
}
