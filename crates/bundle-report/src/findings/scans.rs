//! Scans that read too many files, cannot be divided, or read everything although little is kept.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{PlanOperator, saturating_sum};

use super::{Finding, FindingKind, plan_view::PlanView};
use crate::{display, operator_time::timers_in_partition_ms};

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    for (position, operator) in plan.operators() {
        if operator.is_scan {
            found.extend(small_files(plan, position, operator, thresholds));
            found.extend(one_partition(plan, position, operator, thresholds));
        }
        if operator.name == "FilterExec" {
            found.extend(keeps_little(plan, position, operator, thresholds));
        }
    }
}

fn small_files(
    plan: &PlanView<'_>,
    position: usize,
    operator: &PlanOperator,
    thresholds: &FindingThresholds,
) -> Option<Finding> {
    let files = operator.metric("files_opened").filter(|files| *files >= thresholds.many_files)?;
    let bytes = file_bytes(plan, position)?;
    let bytes_per_file = bytes / files;
    if bytes_per_file >= thresholds.small_file_bytes {
        return None;
    }
    let summary = format!(
        "{} in {} opened {} of {} on average.",
        plan.name(position),
        plan.place(),
        display::plural(files, "file"),
        display::bytes(bytes_per_file)
    );
    // Opening a file is not yet reading it: its timer is not part of the operator's time.
    let opening_ms = operator.metric("time_elapsed_opening").unwrap_or(0) as f64 / 1e6;
    let time_ms = plan.time_ms(position) + timers_in_partition_ms(operator, &["time_elapsed_opening"]);
    let finding = Finding::of_plan(FindingKind::ManySmallFiles, plan, Some(position), summary);
    Some(
        finding
            .count("files", files)
            .bytes("bytes of the files", bytes)
            .milliseconds("opening them, over all partitions", opening_ms)
            .at_stake(plan.within(time_ms)),
    )
}

/// The size of the files of a scan, or if unknown, the number of bytes read from them.
fn file_bytes(plan: &PlanView<'_>, position: usize) -> Option<u64> {
    plan.operator(position)
        .metric("scan_efficiency_ratio.total")
        .filter(|bytes| *bytes > 0)
        // The denominator of the ratio is the size of the files; fewer bytes may have been read.
        .or_else(|| plan.bytes_of_files(position))
        .or_else(|| plan.bytes_read(position))
}

/// DataFusion divides large files automatically. A large scan with one partition could not be divided.
fn one_partition(
    plan: &PlanView<'_>,
    position: usize,
    operator: &PlanOperator,
    thresholds: &FindingThresholds,
) -> Option<Finding> {
    let bytes = plan.bytes_read(position).filter(|bytes| *bytes >= thresholds.huge_bytes)?;
    if operator.partitions != Some(1) {
        return None;
    }
    let files = operator.metric("files_opened").unwrap_or(1).max(1);
    let summary = format!(
        "{} in {} read {} from {} in one partition.",
        plan.name(position),
        plan.place(),
        display::bytes(bytes),
        display::plural(files, "file")
    );
    let finding = Finding::of_plan(FindingKind::FewHugeFiles, plan, Some(position), summary);
    Some(finding.bytes("bytes read", bytes).count("files", files).at_stake(plan.time_ms(position)))
}

/// A filter above a scan that could not skip anything.
fn keeps_little(
    plan: &PlanView<'_>,
    position: usize,
    filter: &PlanOperator,
    thresholds: &FindingThresholds,
) -> Option<Finding> {
    let scan_at = plan.through_passing(*plan.inputs(position).first()?);
    let scan = plan.operator(scan_at);
    let read = plan.input_rows(position, 0).filter(|rows| *rows >= thresholds.scan_rows)?;
    let kept = filter.output_rows.filter(|kept| *kept as f64 <= thresholds.kept * read as f64)?;
    let bytes = plan.bytes_read(scan_at).filter(|bytes| *bytes > 0)?;
    // If parts of the files were skipped, the filter is already pushed down to the scan.
    if !scan.is_scan || pruned(scan) > 0 {
        return None;
    }
    let summary = format!(
        "{} in {} read {}, and its filter kept {} ({}); no part of the files could be skipped.",
        plan.name(scan_at),
        plan.place(),
        display::plural(read, "row"),
        display::count(kept),
        display::percent(kept as f64 / read as f64)
    );
    let time_ms = plan.within(plan.time_ms(scan_at) + plan.time_ms(position));
    let finding = Finding::of_plan(FindingKind::ScanKeepsLittle, plan, Some(scan_at), summary);
    Some(
        finding
            .count("rows read", read)
            .count("rows kept", kept)
            .bytes("bytes read", bytes)
            .at_stake(time_ms * (1.0 - kept as f64 / read as f64)),
    )
}

/// Files, row groups and pages that were skipped.
fn pruned(scan: &PlanOperator) -> u64 {
    let pruned =
        scan.metrics.iter().filter(|(name, _)| name.contains("pruned") && !name.ends_with(".matched"));
    // Rows that are dropped within a page were read.
    saturating_sum(pruned.filter(|(name, _)| !name.starts_with("pushdown_rows")).map(|(_, count)| *count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::{Plan, check, check_quiet, found};

    fn files(files: u64, bytes: u64) -> Plan {
        let plan = Plan::new().scan(None, "events", 5_000).compute(10.0).partitions(2);
        let plan = plan.metric("files_opened", files).metric("bytes_scanned", 100);
        plan.metric("scan_efficiency_ratio.total", bytes).metric("time_elapsed_opening", 2_000_000_000)
    }

    #[test]
    fn many_files_are_too_many_where_they_are_small() {
        let parts = ["DataSourceExec (events) in node orders opened 100 files of 1.0 MB on average"];
        check(files(100, (100 << 20) - 1), FindingKind::ManySmallFiles, "DataSourceExec (events)", &parts);
        check_quiet(files(99, 1_000));
        check_quiet(files(100, 100 << 20));
    }

    /// A scan of a format that does not count bytes, such as CSV: the plan has the size of its files.
    fn uncounted(files: u64, bytes: u64) -> Plan {
        let plan = Plan::new().scan(None, "events", 2_000_000).compute(1_200.0).metric("files_opened", files);
        plan.source("csv", files, bytes)
    }

    #[test]
    fn where_a_scan_counts_no_bytes_the_size_of_its_files_does() {
        let operator = "DataSourceExec (events)";
        let parts = ["opened 100 files of 1.0 kB on average"];
        check(uncounted(100, 100_000).partitions(2), FindingKind::ManySmallFiles, operator, &parts);
        check_quiet(uncounted(100, 100 << 20).partitions(2));
        check(uncounted(1, 256 << 20), FindingKind::FewHugeFiles, operator, &["read 268 MB from 1 file"]);
        check_quiet(uncounted(1, 256 << 20).partitions(2));
        let filter = Plan::new().operator(None, "FilterExec", 9).compute(400.0).partitions(2);
        let filtered = filter.scan(Some(0), "events", 2_000_000).compute(1_200.0).partitions(2);
        check_quiet(filtered);
        let filter = Plan::new().operator(None, "FilterExec", 9).compute(400.0).partitions(2);
        let filtered = filter.scan(Some(0), "events", 2_000_000).compute(1_200.0).partitions(2);
        let parts = ["read 2.0 M rows, and its filter kept 9"];
        check(filtered.source("csv", 1, 1 << 20), FindingKind::ScanKeepsLittle, operator, &parts);
    }

    #[test]
    fn a_large_scan_in_one_partition_could_not_be_divided() {
        let scan = |bytes, partitions| {
            let plan = Plan::new().scan(None, "events", 5_000).compute(1_200.0).partitions(partitions);
            plan.metric("bytes_scanned", bytes).metric("files_opened", 1)
        };
        let parts = ["read 268 MB from 1 file in one partition"];
        check(scan(256 << 20, 1), FindingKind::FewHugeFiles, "DataSourceExec (events)", &parts);
        // If a single core computed for it that long, it is a different finding.
        let found = found([scan((256 << 20) - 1, 1)]);
        assert_eq!(found[0].kind, FindingKind::SingleThreaded);
        check_quiet(scan(256 << 20, 2));
    }

    fn filtered(read: u64, kept: u64, pruned: u64) -> Plan {
        let plan = Plan::new().operator(None, "FilterExec", kept).compute(400.0).partitions(2);
        let plan = plan.operator(Some(0), "RepartitionExec", read);
        let plan = plan.scan(Some(1), "events", read).compute(1_200.0).partitions(2);
        let plan = plan.metric("bytes_scanned", 1 << 20).metric("row_groups_pruned_statistics.matched", 9);
        plan.metric("row_groups_pruned_statistics.pruned", pruned).metric("pushdown_rows_pruned", 3)
    }

    #[test]
    fn a_scan_that_skips_nothing_reads_what_is_not_kept() {
        let parts = ["read 1.0 M rows, and its filter kept 20,000 (2 %)"];
        check(
            filtered(1_000_000, 20_000, 0),
            FindingKind::ScanKeepsLittle,
            "DataSourceExec (events)",
            &parts,
        );
        check_quiet(filtered(1_000_000, 20_001, 0));
        check_quiet(filtered(999_999, 10, 0));
        check_quiet(filtered(1_000_000, 10, 1));
    }
}
