//! What a report says against the last good run beside its own.

use std::fs;

use daglight_bundle_report::{
    ComparedRun, Comparison, Criterion, FindingKind, Level, Report, ReportOptions, SourceFiles, SourceMoved,
};
use daglight_capture_policy::{Policy, Profile};
use daglight_run_bundle::{
    ArtifactCatalog, ArtifactColumn, Bundle, Manifest, NodeStatus, NodeSummary, RunStatus,
};
use daglight_run_identity::RunId;
use serde_json::json;

use crate::{fixture, reports::artifact};

/// What the runs of a folder differ by.
struct Recorded<'r> {
    /// Rows that the node `lines` returns, which joins a table of 5,000 rows with `orders` of 2,000.
    joined: u64,
    join: &'r str,
    /// The column of the output.
    column: &'r str,
    /// Values that are missing of a hundred.
    missing: u64,
    /// Files of the table of 5,000 rows, of 1 MB each.
    files: u64,
    change: &'r dyn Fn(&mut Manifest),
}

impl Default for Recorded<'_> {
    fn default() -> Self {
        Self { joined: 5_000, join: "HashJoinExec", column: "total", missing: 0, files: 4, change: &|_| {} }
    }
}

impl Recorded<'_> {
    fn in_folder(&self, out: &tempfile::TempDir) -> Bundle {
        let run_id = RunId::new();
        let bundle = Bundle::create(out.path(), run_id).unwrap();
        let hash = if self.join == "HashJoinExec" { "9f3a9f3a9f3a9f3a" } else { "1111222233334444" };
        let mut manifest = fixture::manifest();
        manifest.identity.run_id = run_id;
        for node in &mut manifest.nodes {
            node.rows = Some(self.joined);
        }
        manifest.nodes[0].rows = Some(2_000);
        // The fixture's `totals` reads both; here `lines` reads `orders`.
        manifest.nodes[1].dependencies = vec!["orders".into()];
        manifest.nodes[1].plan_hashes = vec![hash.into()];
        (self.change)(&mut manifest);
        manifest.write(&bundle).unwrap();
        for file in [bundle.traces(), bundle.metrics(), bundle.logs()] {
            fs::write(file, "").unwrap();
        }
        let mut output = artifact("totals");
        (output.node, output.run_id) = (Some("totals".into()), run_id);
        let column = ArtifactColumn { name: self.column.into(), data_type: "Int64".into(), nullable: true };
        output.schema = vec![column];
        ArtifactCatalog::new(vec![output]).write(&bundle).unwrap();
        let plan = json!({
            "format": "datafusion_plan_bundle_v2", "query_id": 4, "node": "lines", "plan_hash": hash,
            "logical_hash": "aaaabbbbccccdddd", "outcome": "completed", "executions": {"started": 1, "completed": 1},
            "sources": [{"operator": 1, "table": "events", "files": self.files, "bytes": 1_000_000 * self.files}],
            "metrics": {"wall_ms": 26.0, "operators": [
                {"id": 0, "name": self.join, "output_rows": self.joined},
                {"id": 1, "parent": 0, "name": "DataSourceExec", "table": "events", "is_scan": true, "output_rows": 5_000},
                {"id": 2, "parent": 0, "name": "DataSourceExec", "table": "orders", "is_scan": true, "output_rows": 2_000}]}});
        fs::write(bundle.plan_file(Some("lines"), hash), plan.to_string()).unwrap();
        let columns = json!({"price": {"count": 100, "missing": self.missing}});
        let columns = Policy::of_profile(Profile::Dev).capture(columns);
        NodeSummary::new("lines", &columns).append(&bundle).unwrap();
        bundle
    }
}

fn good(out: &tempfile::TempDir) -> Bundle {
    Recorded::default().in_folder(out)
}

fn report(bundle: &Bundle) -> Report {
    Report::from_bundle(bundle).unwrap()
}

/// The findings against the last run: kind, level, node and summary.
fn against(report: &Report) -> Vec<(FindingKind, Level, Option<&str>, &str)> {
    let kinds = [FindingKind::RowsLost, FindingKind::RowDrift, FindingKind::SchemaDrift];
    let found = report.findings.iter().filter(|finding| kinds.contains(&finding.kind));
    found
        .map(|finding| (finding.kind, finding.level, finding.node.as_deref(), finding.summary.as_str()))
        .collect()
}

#[test]
fn rows_that_a_join_lost_are_found_and_what_follows_from_them_is_not() {
    let out = tempfile::tempdir().unwrap();
    good(&out);
    let worse = report(&Recorded { joined: 40, ..Recorded::default() }.in_folder(&out));
    let summary = "HashJoinExec in node lines returned 40 rows from 5,000 and 2,000. At the rate of the last good run it would have been 5,000.";
    assert_eq!(against(&worse), [(FindingKind::RowsLost, Level::Warning, Some("lines"), summary)]);
    let finding = worse.findings.iter().find(|finding| finding.kind == FindingKind::RowsLost).unwrap();
    assert_eq!(finding.plan_file.as_deref(), Some("plans/lines-9f3a9f3a9f3a9f3a.json"));
    assert_eq!(finding.evidence.len(), 3);
    let link =
        "<a href=\"./plans/lines-9f3a9f3a9f3a9f3a.json\"><code>plans/lines-9f3a9f3a9f3a9f3a.json</code></a>";
    assert!(worse.to_html().contains(link), "{}", worse.to_html());
    // Whoever reads it needs no network for what it means.
    let page = worse.to_html();
    let explained = r##"<a href="#finding-rows-lost"><code>docs/findings/rows-lost.md</code></a>"##;
    assert!(page.contains(explained) && page.matches("id=\"finding-rows-lost\"").count() == 1, "{page}");
    let name = " `docs/findings/rows-lost.md`";
    assert!(worse.to_markdown().contains(name), "{}", worse.to_markdown());
    for page in [worse.to_markdown(), worse.to_html()] {
        assert!(page.contains("Since the last good run") && page.contains("rows-lost"), "{page}");
    }
    assert!(worse.headline.iter().any(|sentence| sentence.text.contains(summary)), "{:#?}", worse.headline);
}

#[test]
fn a_source_with_other_files_is_listed_in_the_report_and_in_a_comparison() {
    let out = tempfile::tempdir().unwrap();
    let before = good(&out);
    let now = Recorded { files: 5, ..Recorded::default() }.in_folder(&out);
    let since = report(&now).since.unwrap();
    let files = |files| SourceFiles { files: Some(files), bytes: Some(1_000_000 * files) };
    let moved =
        SourceMoved { node: "lines".into(), table: "events".into(), before: files(4), after: files(5) };
    assert_eq!(since.sources, std::slice::from_ref(&moved));
    let page = report(&now).to_markdown();
    assert!(page.contains("| `events` | `lines` |     5 |      4 | 5.0 MB | 4.0 MB |  +25 % |"), "{page}");
    let [before, now] = [before, now].map(|bundle| ComparedRun::read(&bundle).unwrap());
    let comparison = Comparison::new(&[before], &now).unwrap();
    assert_eq!(comparison.sources, [moved]);
    let line = "events of lines: 5 files, was 4; 5.0 MB, was 4.0 MB (+25 %)";
    assert!(comparison.to_text().contains(line), "{}", comparison.to_text());
    assert!(comparison.to_html().contains(">Sources<"));
}

#[test]
fn a_loss_that_is_no_finding_is_listed_all_the_same() {
    let out = tempfile::tempdir().unwrap();
    good(&out);
    let fewer = |manifest: &mut Manifest| manifest.nodes[0].rows = Some(1_400);
    let moved = report(&Recorded { change: &fewer, ..Recorded::default() }.in_folder(&out));
    assert_eq!(against(&moved), []);
    let rows = &moved.since.as_ref().unwrap().rows;
    let rows: Vec<_> = rows.iter().map(|moved| (&*moved.node, moved.before, moved.after)).collect();
    assert_eq!(rows, [("orders", 2_000, 1_400)]);
    let page = moved.to_markdown();
    assert!(!page.contains("are as they were") && page.contains("-30 %"), "{page}");
}

#[test]
fn a_run_like_the_last_one_is_quiet() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(report(&good(&out)).since, None);
    let second = good(&out);
    let same = report(&second);
    assert_eq!(against(&same), []);
    let since = same.since.as_ref().unwrap();
    assert_eq!((since.lost.len(), since.rows.len(), since.outputs.len()), (0, 0, 0));
    assert_eq!((since.drifts.len(), since.plan_changes.len(), since.other_plans.len()), (0, 0, 0));
    assert!(same.to_markdown().contains("Rows, sources, columns, values and plans are as they were."));
    // Whoever asks again gets the same.
    let mut again = report(&second);
    again.generated_at = same.generated_at;
    assert_eq!(again, same);
    assert_eq!(Report::made(&second, &ReportOptions::default().alone(), |_| ()).unwrap().since, None);
}

#[test]
fn fewer_rows_and_other_columns_are_found_where_they_begin() {
    let out = tempfile::tempdir().unwrap();
    good(&out);
    let fewer = |manifest: &mut Manifest| {
        manifest.nodes.iter_mut().for_each(|node| node.rows = node.rows.map(|rows| rows / 10));
    };
    let moved = Recorded { column: "sum", missing: 60, change: &fewer, ..Recorded::default() };
    let moved = report(&moved.in_folder(&out));
    assert_eq!(
        against(&moved),
        [
            (
                FindingKind::RowDrift,
                Level::Warning,
                Some("orders"),
                "Node orders returned 200 rows; in the last good run it was 2,000."
            ),
            (
                FindingKind::SchemaDrift,
                Level::Warning,
                Some("totals"),
                "Output totals lost column total Int64 and has the new column sum Int64 since the last good run."
            ),
        ]
    );
    let since = moved.since.as_ref().unwrap();
    assert_eq!(since.rows.iter().map(|rows| &*rows.node).collect::<Vec<_>>(), ["orders", "lines", "totals"]);
    assert_eq!(since.drifts.iter().map(|drift| &*drift.column).collect::<Vec<_>>(), ["price"]);
    for page in [moved.to_markdown(), moved.to_html()] {
        assert!(page.contains("60 % missing, was 0 %"), "{page}");
    }
}

#[test]
fn another_plan_is_a_tree_of_what_changed() {
    let out = tempfile::tempdir().unwrap();
    good(&out);
    let planned = report(&Recorded { join: "NestedLoopJoinExec", ..Recorded::default() }.in_folder(&out));
    let changes = &planned.since.as_ref().unwrap().plan_changes;
    assert_eq!(changes.len(), 1);
    assert!(changes[0].tree.contains(&"- HashJoinExec".to_owned()), "{changes:#?}");
    assert!(planned.to_markdown().contains("    + NestedLoopJoinExec"));
    // Which join it is does not matter to the rows.
    assert_eq!(against(&planned), []);
    // The plans of one run are not kept.
    fs::remove_dir_all(good(&out).plans_dir()).unwrap();
    let third = Recorded { join: "NestedLoopJoinExec", ..Recorded::default() }.in_folder(&out);
    let since = report(&third).since.unwrap();
    assert_eq!((since.plan_changes.len(), &since.other_plans[..]), (0, &["lines".to_owned()][..]));
}

#[test]
fn the_last_good_run_is_of_the_same_dag_and_before_this_one() {
    let out = tempfile::tempdir().unwrap();
    let first = good(&out);
    let second = good(&out);
    let others: [&dyn Fn(&mut Manifest); 3] = [
        &|manifest| manifest.status = RunStatus::Failure,
        &|manifest| manifest.status = RunStatus::Running,
        &|manifest| manifest.identity.dag_name = "sales::other_v1".into(),
    ];
    for change in others {
        Recorded { joined: 1, change, ..Recorded::default() }.in_folder(&out);
    }
    let damaged = good(&out);
    fs::write(damaged.manifest(), r#"{"format": "daglight_run_bundle", "format_version": 3"#).unwrap();
    fs::create_dir(damaged.dir().parent().unwrap().join(RunId::new().to_string())).unwrap();
    let last = good(&out);
    let before = |bundle: &Bundle| report(bundle).since.map(|since| since.run_id);
    let id = |bundle: &Bundle| Some(bundle.run_id().unwrap().to_string());
    assert_eq!(before(&last), id(&second));
    assert_eq!(before(&second), id(&first));
    assert_eq!(before(&first), None);
    // What of the last run is gone or damaged is not compared, and is not this run's fault.
    fs::remove_file(second.artifacts()).unwrap();
    fs::write(second.data_summaries(), "{").unwrap();
    let plan = fs::read_dir(second.plans_dir()).unwrap().next().unwrap().unwrap().path();
    fs::write(plan, "[").unwrap();
    let damaged = report(&last);
    assert_eq!((against(&damaged), damaged.unreadable.len()), (Vec::new(), 0));
}

#[test]
fn nodes_that_did_not_end_well_are_not_compared() {
    let out = tempfile::tempdir().unwrap();
    good(&out);
    let fail = |manifest: &mut Manifest| {
        manifest.status = RunStatus::Failure;
        manifest.nodes[1].status = NodeStatus::Failure;
        manifest.nodes[2].status = NodeStatus::NotRun;
        (manifest.nodes[1].rows, manifest.nodes[2].rows) = (Some(3), None);
    };
    let failed = Recorded { change: &fail, ..Recorded::default() }.in_folder(&out);
    ArtifactCatalog::new(Vec::new()).write(&failed).unwrap();
    let failed = report(&failed);
    assert_eq!(against(&failed), []);
    assert_eq!(failed.since.unwrap().outputs, []);
}

#[test]
fn a_comparison_says_the_same_against_its_baseline() {
    let out = tempfile::tempdir().unwrap();
    let baseline = good(&out);
    let middle = Recorded { joined: 40, ..Recorded::default() }.in_folder(&out);
    let last = Recorded { joined: 38, column: "sum", ..Recorded::default() }.in_folder(&out);
    let compare = |before: &Bundle, after: &Bundle| {
        let [before, after] = [before, after].map(|bundle| ComparedRun::read(bundle).unwrap());
        Comparison::new(&[before], &after).unwrap()
    };
    let kinds = |comparison: &Comparison| -> Vec<FindingKind> {
        comparison.findings_came.iter().map(|finding| finding.kind).collect()
    };
    assert_eq!(kinds(&compare(&baseline, &last)), [FindingKind::RowsLost, FindingKind::SchemaDrift]);
    // The last good run before it has lost as many.
    assert_eq!(kinds(&compare(&middle, &last)), [FindingKind::SchemaDrift]);
    let text = compare(&baseline, &last).to_text();
    assert!(text.contains("At the rate of the baseline it would have been 5,000."), "{text}");
    let criterion: Criterion = "finding=rows-lost".parse().unwrap();
    assert_eq!(compare(&baseline, &last).meets(&criterion, 0.0).len(), 1);
}

#[test]
fn a_run_of_which_a_part_succeeded_says_of_how_many_nodes_nothing_changed() {
    let out = tempfile::tempdir().unwrap();
    good(&out);
    let after = |failed: usize| {
        let fail = |manifest: &mut Manifest| {
            manifest.status = RunStatus::Failure;
            manifest.nodes.iter_mut().take(failed).for_each(|node| node.status = NodeStatus::Failure);
        };
        report(&Recorded { change: &fail, ..Recorded::default() }.in_folder(&out)).to_markdown()
    };
    let some = after(1);
    let said =
        "Rows, sources, columns, values and plans of the 2 nodes that succeeded, of 3, are as they were.";
    assert!(some.contains(said) && !some.contains("plans are as they were"), "{some}");
    let none = after(3);
    assert!(none.contains("No node succeeded, so that nothing could be compared."), "{none}");
}

#[test]
fn a_run_of_a_part_is_not_what_a_whole_run_is_compared_with() {
    let out = tempfile::tempdir().unwrap();
    let whole = good(&out).run_id().unwrap();
    let leave_out = |manifest: &mut Manifest| {
        manifest.nodes[0].status = NodeStatus::NotRun;
    };
    let part = Recorded { change: &leave_out, ..Recorded::default() };
    // A retry, say: it ended well, and did not run what had been done.
    let of_part = report(&part.in_folder(&out)).since.unwrap();
    assert_eq!((of_part.run_id, of_part.duration_ms.is_some()), (whole.to_string(), false));
    let of_whole = report(&good(&out)).since.unwrap();
    assert_eq!((of_whole.run_id, of_whole.duration_ms.is_some()), (whole.to_string(), true));
}
