//! Runs compared by their bundles.

use std::fs;

use daglight_bundle_report::{
    ComparedRun, Comparison, ComparisonPage, Criterion, Finding, FindingKind, Measured, Report,
    TimeComparison,
};
use daglight_capture_policy::{Policy, Profile};
use daglight_run_bundle::{
    Artifact, ArtifactCatalog, ArtifactColumn, Bundle, FileEntry, Manifest, NodeStatus, NodeSummary,
    REPORT_FILES, RunStatus,
};
use serde_json::json;

use crate::{fixture, reports::artifact};

fn run(change: impl FnOnce(&mut Manifest), join: &str, rows: u64, column: &str) -> ComparedRun {
    run_of("lines", change, join, rows, column)
}

/// A run whose plan is of this node.
fn run_of(
    node: &str,
    change: impl FnOnce(&mut Manifest),
    join: &str,
    rows: u64,
    column: &str,
) -> ComparedRun {
    let (_out, bundle) = bundle_of(node, change, join, rows, column);
    ComparedRun::read(&bundle).unwrap()
}

fn bundle_of(
    node: &str,
    change: impl FnOnce(&mut Manifest),
    join: &str,
    rows: u64,
    column: &str,
) -> (tempfile::TempDir, Bundle) {
    let out = tempfile::tempdir().unwrap();
    let mut manifest = fixture::manifest();
    change(&mut manifest);
    let bundle = Bundle::create(out.path(), manifest.identity.run_id).unwrap();
    manifest.write(&bundle).unwrap();
    for file in [bundle.traces(), bundle.metrics(), bundle.logs()] {
        fs::write(file, "").unwrap();
    }
    let mut output = artifact("totals");
    output.rows = Some(rows);
    output.schema = vec![ArtifactColumn { name: column.into(), data_type: "Int64".into(), nullable: true }];
    ArtifactCatalog::new(vec![output]).write(&bundle).unwrap();
    let plan = json!({"query_id": 1, "node": node, "settings": {"datafusion.execution.batch_size": if join == "HashJoinExec" { "8192" } else { "4096" }}, "metrics": {"wall_ms": 26.0, "operators": [
        {"id": 0, "name": "SortExec", "elapsed_compute_ms": 1.0},
        {"id": 1, "parent": 0, "name": join, "elapsed_compute_ms": 1.0, "output_rows": 3,
            "metrics": {"spilled_bytes": if join == "HashJoinExec" { 0 } else { 9 }}},
        {"id": 2, "parent": 1, "name": "DataSourceExec", "table": "orders", "output_rows": 3}]}});
    fs::write(bundle.plan_file(Some(node), "9f3a9f3a9f3a9f3a"), plan.to_string()).unwrap();
    (out, bundle)
}

fn good() -> ComparedRun {
    run(|_| {}, "HashJoinExec", 1_000, "a")
}

#[track_caller]
fn check(comparison: &Comparison, criterion: &str, expected: &[&str]) {
    let met = comparison.meets(&criterion.parse::<Criterion>().unwrap(), 5.0);
    assert_eq!(met.len(), expected.len(), "{criterion}: {met:#?}");
    for (met, expected) in met.iter().zip(expected) {
        assert!(met.contains(expected), "{criterion}: {expected:?} is not in {met:?}");
    }
}

const CRITERIA: [&str; 6] =
    ["slower=20%", "rows-changed=5%", "plan-changed", "schema-changed", "finding=spill", "failed"];

/// A run of which a scan has this part of its rows in one partition beyond an even one.
fn skewed(part: f64) -> ComparedRun {
    skewed_in(|_| {}, part)
}

fn skewed_in(change: impl FnOnce(&mut Manifest), part: f64) -> ComparedRun {
    let (_out, bundle) = bundle_of("lines", change, "HashJoinExec", 1_000, "a");
    let plan = json!({"query_id": 2, "node": "lines", "outcome": "completed", "metrics": {"wall_ms": 900.0, "operators": [
        {"id": 0, "name": "DataSourceExec", "table": "events", "is_scan": true, "output_rows": 1_000_000,
            "partitions": 4, "elapsed_compute_ms": 880.0,
            "metrics": {"output_rows_skew.part": (part * 10_000.0) as u64, "output_rows_skew.total": 10_000}}]}});
    fs::write(bundle.plan_file(Some("lines"), "aaaaaaaaaaaaaaaa"), plan.to_string()).unwrap();
    ComparedRun::read(&bundle).unwrap()
}

#[test]
fn what_is_on_the_edge_of_its_threshold_neither_comes_nor_goes() {
    let counts = |before: &ComparedRun, after: &ComparedRun| {
        let comparison = Comparison::new(std::slice::from_ref(before), after).unwrap();
        check(
            &comparison,
            "finding=partition-skew",
            &["in few of its 4 partitions"][..comparison.findings_came.len()],
        );
        (comparison.findings_came.len(), comparison.findings_went.len())
    };
    let (even, below, above) = (skewed(0.1), skewed(0.59), skewed(0.61));
    assert_eq!([&even, &below, &above].map(|run| run.report.findings.len()), [0, 0, 1]);
    assert_eq!((counts(&below, &above), counts(&above, &below)), ((0, 0), (0, 0)));
    assert_eq!((counts(&even, &above), counts(&above, &even)), ((1, 0), (0, 1)));
}

#[test]
fn a_finding_does_not_go_because_the_rest_of_the_run_became_slower() {
    // Of 1.5 s at stake it is 3 % of the longer run, and most of the shorter one.
    let run = |run_ms: i64, part: f64| {
        let change = |manifest: &mut Manifest| {
            manifest.ended_at = Some(fixture::start() + chrono::TimeDelta::milliseconds(run_ms));
        };
        skewed_in(change, part)
    };
    let (short, long, even) = (run(2_000, 0.9), run(50_000, 0.9), run(50_000, 0.1));
    let skews = |findings: &[Finding]| {
        findings.iter().filter(|finding| finding.kind == FindingKind::PartitionSkew).count()
    };
    assert_eq!([&short, &long].map(|run| skews(&run.report.findings)), [1, 0]);
    let moved = |before: &ComparedRun, after: &ComparedRun| {
        let comparison = Comparison::new(std::slice::from_ref(before), after).unwrap();
        (skews(&comparison.findings_came), skews(&comparison.findings_went))
    };
    assert_eq!((moved(&short, &long), moved(&long, &short)), ((0, 0), (0, 0)));
    assert_eq!((moved(&short, &even), moved(&even, &short)), ((0, 1), (1, 0)));
}

/// Of one run before, and one after.
fn measured(before: f64, after: f64) -> Measured {
    Measured { before, spread: None, usual: None, after, change: Some(after / before - 1.0) }
}

#[test]
fn nodes_that_are_slower_on_a_busy_machine_are_said_to_be_so() {
    let mut comparison = Comparison::new(&[good()], &good()).unwrap();
    // As busy as before, and the run took no longer.
    (comparison.others_share, comparison.was_busy) = (Some(measured(0.6, 0.62)), true);
    let others = "other processes used 62 % of the processors, 60 % before";
    assert!(!comparison.to_text().contains(others), "{}", comparison.to_text());
    comparison.nodes[1].duration_ms = Some(measured(1_000.0, 3_000.0));
    assert!(comparison.to_text().contains(others), "{}", comparison.to_text());
    comparison.was_busy = false;
    assert!(!comparison.to_text().contains(others), "{}", comparison.to_text());
}

#[test]
fn a_page_lists_the_times_that_the_text_lists() {
    let mut comparison = Comparison::new(&[good()], &good()).unwrap();
    comparison.nodes[1].duration_ms = Some(measured(1_000.0, 1_300.0));
    comparison.stages =
        vec![TimeComparison { node: None, name: "write".into(), duration_ms: measured(1_000.0, 1_300.0) }];
    for (from_ms, is_listed) in [(100.0, true), (500.0, false)] {
        comparison.named_from_ms = from_ms;
        let (text, page) = (comparison.to_text(), comparison.to_html());
        assert_eq!([text.contains("+30 %"), page.contains("+30 %")], [is_listed; 2], "{from_ms}: {text}");
        assert_eq!(page.contains(">Stages<"), is_listed, "{from_ms}");
    }
}

#[test]
fn a_run_that_waited_for_the_processors_is_said_to_be_one() {
    let mut comparison = Comparison::new(&[good()], &good()).unwrap();
    comparison.duration_ms = Some(measured(4_400.0, 21_400.0));
    comparison.cpu_ms = Some(measured(6_300.0, 7_200.0));
    comparison.others_share = Some(measured(0.1, 0.7));
    let others = "other processes used 70 % of the processors, 10 % before";
    let text = comparison.to_text();
    assert!(text.contains(others) && text.contains("processor time 7.20 s, was 6.30 s (+14 %)"), "{text}");
    assert!(comparison.to_html().contains(others));
    // It computed for longer itself.
    comparison.cpu_ms = Some(measured(6_300.0, 36_300.0));
    assert!(!comparison.to_text().contains("other processes used"), "{}", comparison.to_text());
}

#[test]
fn a_plus_minus_is_what_a_change_must_exceed() {
    let run = |ms: i64| {
        run(
            |manifest| manifest.ended_at = Some(fixture::start() + chrono::TimeDelta::milliseconds(ms)),
            "HashJoinExec",
            1_000,
            "a",
        )
    };
    let baselines = [1_000, 1_010, 990].map(run);
    for (after, is_slower) in [(1_044, false), (1_046, true)] {
        let comparison = Comparison::new(&baselines, &run(after)).unwrap();
        let text = comparison.to_text();
        assert!(text.contains("was 1.00 s ±44 ms"), "{text}");
        assert_eq!(text.matches("3 standard deviations").count(), 1, "{text}");
        assert!(comparison.to_html().contains("1.00 s ±44 ms"));
        let slower = comparison.meets(&"slower=0%".parse::<Criterion>().unwrap(), 0.0);
        assert_eq!(!slower.is_empty(), is_slower, "{after}");
    }
}

#[test]
fn a_node_that_did_not_end_is_not_faster_for_it() {
    let good = good();
    let after = |status: NodeStatus| {
        let after = run(
            |manifest| {
                let node = manifest.nodes.iter_mut().find(|node| node.name == "lines").unwrap();
                node.status = status;
                node.duration_ms = node.duration_ms.map(|ms| ms / 2.0);
            },
            "HashJoinExec",
            1_000,
            "a",
        );
        let comparison = Comparison::new(std::slice::from_ref(&good), &after).unwrap();
        comparison.nodes.into_iter().find(|node| node.name == "lines").unwrap()
    };
    assert!(after(NodeStatus::Success).duration_ms.is_some());
    for status in [NodeStatus::Unfinished, NodeStatus::Interrupted] {
        let node = after(status);
        assert_eq!((node.status_after, node.duration_ms), (Some(status), None));
    }
}

#[test]
fn values_that_are_long_are_shown_where_they_differ() {
    let of = |value: &str| {
        let value = value.to_owned();
        run(
            |manifest| drop(manifest.identity.tags.insert("param.in".into(), value)),
            "HashJoinExec",
            1_000,
            "a",
        )
    };
    let line = |before: &str, now: &str| {
        let text = Comparison::new(&[of(before)], &of(now)).unwrap().to_text();
        text.lines().find(|line| line.contains("param.in")).unwrap().trim().to_owned()
    };
    assert_eq!(
        line("/data/shop/2026-11-26/orders.csv", "/data/shop/2026-11-27/orders.csv"),
        "param.in: /data/shop/2026-11-27/orders.csv, was /data/shop/2026-11-26/orders.csv"
    );
    let long = |day: u32| {
        format!("/very/long/path/to/the/data/of/the/shop/2026-11-{day}/in/one/more/folder/orders.csv")
    };
    let line = line(&long(26), &long(27));
    assert!(line.contains("2026-11-27") && line.contains("was …") && line.contains("2026-11-26"), "{line}");
}

#[test]
fn what_a_killed_run_did_not_come_to_is_not_gone_and_not_faster() {
    let at = |ms: i64| Some(fixture::start() + chrono::TimeDelta::milliseconds(ms));
    let before = run(|manifest| manifest.ended_at = at(4_000), "SortMergeJoinExec", 1_000, "a");
    let killed = |ms: i64| {
        let change = |manifest: &mut Manifest| {
            (manifest.status, manifest.ended_at, manifest.process_ended_at) =
                (RunStatus::Failure, at(ms), at(ms));
            manifest.nodes[1].status = NodeStatus::Unfinished;
            manifest.nodes[2].status = NodeStatus::NotRun;
        };
        run(change, "HashJoinExec", 1_000, "a")
    };
    let comparison = Comparison::new(std::slice::from_ref(&before), &killed(1_000)).unwrap();
    assert_eq!((comparison.duration_ms, comparison.findings_went.len()), (None, 0));
    let why = |criterion: &str| comparison.unjudged(&criterion.parse().unwrap());
    assert_eq!(why("slower=1%"), Some("the run did not end well"));
    let nodes = Some("nodes that ended well in one of the runs alone: lines, totals");
    for criterion in ["rows-changed=1%", "plan-changed", "schema-changed", "finding=spill"] {
        assert_eq!(why(criterion), nodes, "{criterion}");
    }
    let text = comparison.to_text();
    assert!(text.contains("times of the runs are not compared: the run did not end well\n"), "{text}");
    assert!(text.contains("not compared: nodes that ended well in one") && !text.contains("gone"), "{text}");
    // It took longer already.
    let longer = Comparison::new(std::slice::from_ref(&before), &killed(9_000)).unwrap();
    check(&longer, "slower=20%", &["the run took 9.00 s, was 4.00 s (+125 %)"]);
    assert_eq!(longer.unjudged(&"slower=20%".parse().unwrap()), nodes);
    // One that was killed is not a measure for the next.
    let back = Comparison::new(&[killed(1_000)], &before).unwrap();
    assert_eq!(back.duration_ms, None);
}

#[test]
fn the_same_run_again_meets_no_criterion() {
    let comparison = Comparison::new(&[good(), good()], &good()).unwrap();
    CRITERIA.iter().for_each(|criterion| check(&comparison, criterion, &[]));
    let text = comparison.to_text();
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn what_changed_is_reported_and_meets_criteria() {
    let worse = run(
        |manifest| {
            manifest.status = RunStatus::Failure;
            manifest.ended_at = Some(fixture::start() + chrono::TimeDelta::milliseconds(150));
            manifest.nodes[1].duration_ms = Some(60.0);
            manifest.nodes[1].rows = Some(1_100);
            manifest.nodes.remove(0);
            manifest.nodes.push(fixture::node("more", &[], 100, 1.0));
            manifest.profile = "prod".into();
        },
        "SortMergeJoinExec",
        900,
        "b",
    );
    let comparison = Comparison::new(&[good()], &worse).unwrap();
    check(&comparison, "slower=20%", &["the run took 150 ms, was 100 ms (+50 %)", "node lines took 60 ms"]);
    check(&comparison, "slower=100%", &[]);
    check(
        &comparison,
        "rows-changed=5%",
        &["node lines has 1,100 rows, was 1,000 (+10 %)", "output totals has 900 rows, was 1,000 (-10 %)"],
    );
    check(&comparison, "rows-changed=10%", &[]);
    check(&comparison, "plan-changed", &["a plan of lines changed"]);
    check(&comparison, "schema-changed", &["output totals has other columns"]);
    check(&comparison, "finding=spill", &["SortMergeJoinExec in node lines spilled 9 B"]);
    check(&comparison, "finding=cross-join", &[]);
    check(&comparison, "failed", &["did not end well"]);
    let text = comparison.to_text();
    for expected in [
        "  orders: gone\n",
        "  more: new\n",
        "Plan of lines\n    SortExec\n  -   HashJoinExec\n  +   SortMergeJoinExec\n        DataSourceExec (orders)\n",
        "  totals: 900 rows, was 1,000 (-10 %); - a Int64; + b Int64\n",
        "  profile: prod, was dev\n",
        "  datafusion.execution.batch_size: 4096, was 8192\n",
        "New findings\n  spill: ",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    let json = serde_json::to_string(&comparison).unwrap();
    // Without the feature of exact floats a number read back may differ in its last digit.
    assert_eq!(serde_json::from_str::<Comparison>(&json).unwrap().to_text(), text);
    let back = Comparison::new(&[worse], &good()).unwrap();
    // The column of the output is another one in this direction as well.
    assert_eq!(
        back.findings_came.iter().map(|finding| finding.kind.id()).collect::<Vec<_>>(),
        ["schema-drift"]
    );
    assert_eq!(back.findings_went.len(), 1);
}

#[test]
fn a_node_of_another_name_is_compared_with_what_it_was() {
    let of = |name: &'static str, ms: f64, missing: u64| {
        let change = move |manifest: &mut Manifest| {
            manifest.nodes[1].name = name.into();
            manifest.nodes[1].duration_ms = Some(ms);
        };
        // A plan that spills, which is a finding of the node.
        let (_out, bundle) = bundle_of(name, change, "SortMergeJoinExec", 1_000, "a");
        let columns = json!({"price": {"count": 100, "missing": missing}});
        let columns = Policy::of_profile(Profile::Dev).capture(columns);
        NodeSummary::new(name, &columns).append(&bundle).unwrap();
        ComparedRun::read(&bundle).unwrap()
    };
    let before = of("lines", 30.0, 0);
    let comparison = Comparison::new(std::slice::from_ref(&before), &of("order_lines", 90.0, 50)).unwrap();
    check(&comparison, "slower=20%", &["node order_lines took 90 ms, was 30 ms"]);
    check(&comparison, "finding=spill", &[]);
    assert_eq!((&*comparison.findings_came, &*comparison.findings_went), ([].as_slice(), [].as_slice()));
    let drifts: Vec<_> =
        comparison.drifts.iter().map(|drift| (&*drift.node, &*drift.column, drift.missing_before)).collect();
    assert_eq!(drifts, [("order_lines", "price", 0.0)]);
    let operators: Vec<_> = comparison.operators.iter().map(|operator| operator.node.as_deref()).collect();
    assert_eq!(operators, [Some("order_lines"); 2]);
    let text = comparison.to_text();
    assert!(text.contains("  order_lines: was called lines; 90 ms"), "{text}");
    assert!(!text.contains("gone") && !text.contains("new"), "{text}");
    assert!(comparison.to_html().contains("was called"));
    // With another plan it is another node.
    let other = run_of(
        "order_lines",
        |manifest| manifest.nodes[1].name = "order_lines".into(),
        "HashJoinExec",
        1_000,
        "a",
    );
    let text = Comparison::new(&[before], &other).unwrap().to_text();
    assert!(text.contains("order_lines: new") && text.contains("lines: gone"), "{text}");
}

#[test]
fn what_cannot_be_judged_is_reported() {
    let comparison = Comparison::new(&[good()], &good()).unwrap();
    let why = |criterion: &str| comparison.unjudged(&criterion.parse().unwrap());
    assert_eq!(why("drift"), Some("neither run has data summaries (capture.data_statistics)"));
    assert_eq!((why("plan-changed"), why("slower=1%"), why("failed")), (None, None, None));
}

#[test]
fn what_only_plans_show_is_not_compared_with_a_run_that_kept_none() {
    let skewed = skewed(0.9);
    let (_out, bundle) = bundle_of("lines", |_| {}, "HashJoinExec", 1_000, "a");
    fs::remove_dir_all(bundle.plan_file(Some("lines"), "a").parent().unwrap()).unwrap();
    let without = ComparedRun::read(&bundle).unwrap();
    for (before, after, why) in [
        (&without, &skewed, "the baseline has no plans (plans.keep)"),
        (&skewed, &without, "the run has no plans (plans.keep)"),
    ] {
        let comparison = Comparison::new(std::slice::from_ref(before), after).unwrap();
        check(&comparison, "finding=partition-skew", &[]);
        assert_eq!(comparison.unjudged(&"finding=partition-skew".parse().unwrap()), Some(why));
        assert_eq!((comparison.findings_came.len(), comparison.findings_went.len()), (0, 0));
        // Settings of sessions are in plans.
        let is_setting = |name: &str| name.starts_with("datafusion.");
        assert!(!comparison.differences.iter().any(|difference| is_setting(&difference.name)));
    }
    let back = Comparison::new(&[good()], &skewed).unwrap();
    check(&back, "finding=partition-skew", &["in few of its 4 partitions"]);
}

#[test]
fn the_output_and_the_rows_of_a_node_that_did_not_run_are_not_compared() {
    let not_run = |manifest: &mut Manifest| {
        for node in &mut manifest.nodes {
            (node.status, node.rows) = (NodeStatus::NotRun, Some(0));
        }
    };
    let (_out, bundle) = bundle_of("lines", not_run, "HashJoinExec", 1_000, "a");
    ArtifactCatalog::new(Vec::new()).write(&bundle).unwrap();
    let part = ComparedRun::read(&bundle).unwrap();
    let (_out, bundle) = bundle_of("lines", |_| {}, "HashJoinExec", 1_000, "a");
    let output = Artifact { node: Some("totals".into()), ..artifact("totals") };
    ArtifactCatalog::new(vec![output]).write(&bundle).unwrap();
    let whole = ComparedRun::read(&bundle).unwrap();
    for (before, after) in [(whole.clone(), part.clone()), (part, whole)] {
        let comparison = Comparison::new(&[before], &after).unwrap();
        check(&comparison, "schema-changed", &[]);
        check(&comparison, "rows-changed=5%", &[]);
        let text = comparison.to_text();
        assert!(!text.contains("totals: gone") && !text.contains("totals: new"), "{text}");
    }
}

#[test]
fn a_catalog_of_outputs_that_is_lost_or_damaged_is_no_change_of_schemas() {
    let (_out, bundle) = bundle_of("lines", |_| {}, "HashJoinExec", 1_000, "a");
    let mut manifest = Manifest::read(&bundle).unwrap();
    manifest.files = [("artifacts.json", 1)]
        .map(|(path, size_bytes)| FileEntry { path: path.into(), size_bytes, sha256: None })
        .into();
    manifest.write(&bundle).unwrap();
    fs::write(bundle.artifacts(), "{\"format_ver").unwrap();
    let damaged = ComparedRun::read(&bundle).unwrap();
    fs::remove_file(bundle.artifacts()).unwrap();
    for run in [damaged, ComparedRun::read(&bundle).unwrap()] {
        let comparison = Comparison::new(&[good()], &run).unwrap();
        let why = |criterion: &str| comparison.unjudged(&criterion.parse().unwrap());
        check(&comparison, "schema-changed", &[]);
        assert_eq!(
            why("schema-changed"),
            Some("the run has no readable catalog of outputs (artifacts.json)")
        );
        assert!(!comparison.to_text().contains("gone"), "{}", comparison.to_text());
    }
}

#[test]
fn what_is_within_the_spread_of_the_baselines_is_not_slower() {
    let of = |ms| {
        let ended = fixture::start() + chrono::TimeDelta::milliseconds(ms);
        run(|manifest| manifest.ended_at = Some(ended), "HashJoinExec", 1_000, "a")
    };
    let comparison = |baselines: &[i64]| {
        let baselines: Vec<_> = baselines.iter().map(|ms| of(*ms)).collect();
        Comparison::new(&baselines, &of(150)).unwrap()
    };
    check(&comparison(&[100, 101, 99]), "slower=20%", &["the run took 150 ms, was 100 ms ±4.4 ms (+50 %)"]);
    check(&comparison(&[100, 120, 80]), "slower=20%", &[]);
}

/// Another profile keeps fewer plans, and a run that goes on behind a failure has not planned everything: neither is a new plan.
#[test]
fn plans_are_the_same_where_both_runs_know_them() {
    const HASH: &str = "9f3a9f3a9f3a9f3a";
    let recorded = |hash: &'static str, join: &str, change: &dyn Fn(&mut Manifest), keeps: bool| {
        let of = |manifest: &mut Manifest| {
            manifest.nodes[1].plan_hashes = vec![hash.to_owned()];
            change(manifest);
        };
        let (_out, bundle) = bundle_of("lines", of, join, 1_000, "a");
        let (old, new) = (bundle.plan_file(Some("lines"), HASH), bundle.plan_file(Some("lines"), hash));
        let mut plan: serde_json::Value = serde_json::from_slice(&fs::read(&old).unwrap()).unwrap();
        (plan["format"], plan["plan_hash"]) = ("datafusion_plan_bundle_v2".into(), hash.into());
        fs::remove_file(old).unwrap();
        if keeps {
            fs::write(new, plan.to_string()).unwrap();
        }
        ComparedRun::read(&bundle).unwrap()
    };
    let nothing = |_: &mut Manifest| {};
    let fails = |manifest: &mut Manifest| {
        manifest.status = RunStatus::Failure;
        manifest.nodes[1].status = NodeStatus::Failure;
        manifest.nodes[1].plan_hashes.clear();
    };
    let first = recorded(HASH, "HashJoinExec", &nothing, true);
    for (same, what) in [
        (recorded(HASH, "HashJoinExec", &nothing, false), "its plans are not kept"),
        (recorded(HASH, "HashJoinExec", &fails, false), "the node failed"),
        (recorded("1111222233334444", "HashJoinExec", &nothing, true), "other expressions"),
    ] {
        assert!(same.has_plans_of(&first) && first.has_plans_of(&same), "{what}");
    }
    for (other, what) in [
        (recorded("1111222233334444", "SortMergeJoinExec", &nothing, true), "another join"),
        (recorded("1111222233334444", "HashJoinExec", &nothing, false), "another fingerprint, and no plan"),
    ] {
        assert!(!other.has_plans_of(&first) && !first.has_plans_of(&other), "{what}");
    }
}

#[test]
fn another_pipeline_and_what_was_met_stand_first() {
    let other = run(|manifest| manifest.identity.dag_name = "sales::other_v1".into(), "HashJoinExec", 9, "a");
    let comparison = Comparison::new(&[good()], &other).unwrap();
    let warning = "different pipelines are compared: sales::daily_v1 before, and sales::other_v1 now.";
    assert!(comparison.to_text().starts_with(&format!("warning: {warning}")), "{}", comparison.to_text());
    let page =
        ComparisonPage::default().failed_on(vec!["slower=20%: the run took <2 s>".into()]).of_runs_at("./");
    let html = comparison.to_html_of(&page);
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("no {text:?} in {html}"));
    assert!(at(warning) < at("<h2>"), "{html}");
    assert!(at("failed on slower=20%: the run took &lt;2 s&gt;") < at("<h2>"), "{html}");
    assert!(html.contains("<a href=\"./\">all runs</a>"), "{html}");
    let same = Comparison::new(&[good()], &good()).unwrap();
    assert!(!same.to_text().contains("different pipelines") && !same.to_html().contains("all runs"));
}

#[test]
fn what_hardly_changed_is_not_shown_as_nothing() {
    let comparison = |rows| {
        Comparison::new(
            &[run(|_| {}, "HashJoinExec", 1_000_000, "a")],
            &run(|_| {}, "HashJoinExec", rows, "a"),
        )
    };
    let text = comparison(997_000).unwrap().to_text();
    assert!(text.contains("(-0.3 %)"), "{text}");
    let failed = run(|manifest| manifest.nodes[1].status = NodeStatus::Failure, "HashJoinExec", 1_000, "a");
    let text = Comparison::new(&[good()], &failed).unwrap().to_text();
    assert!(text.contains("failed, succeeded before"), "{text}");
}

/// What is wrong with the files of a bundle, as its report names it.
fn damages(bundle: &Bundle) -> Vec<(String, String)> {
    let report = Report::from_bundle(bundle).unwrap();
    report.damages().map(|damage| (damage.file, damage.problem)).collect()
}

#[test]
fn a_manifest_that_was_edited_is_named_fails_the_criterion_and_stays_damaged() {
    let (_out, bundle) = bundle_of("lines", |_| (), "HashJoinExec", 1_000, "a");
    Manifest::update(&bundle, |manifest| manifest.files = FileEntry::list_with_hashes(&bundle)).unwrap();
    assert_eq!(damages(&bundle), []);
    let text = fs::read_to_string(bundle.manifest()).unwrap();
    fs::write(bundle.manifest(), text.replacen("1000", "9000", 1)).unwrap();
    let named = |bundle: &Bundle| {
        let problem = "is not as it was written: its checksum is another";
        assert_eq!(damages(bundle), [("manifest.json".to_owned(), problem.to_owned())]);
        let faults: Vec<String> = bundle.verify().iter().map(ToString::to_string).collect();
        assert!(faults.contains(&format!("manifest.json: {problem}")), "{faults:?}");
    };
    named(&bundle);
    for _ in 0..2 {
        Report::from_bundle(&bundle).unwrap().write(&bundle).unwrap();
        Manifest::list_again(&bundle, &REPORT_FILES).unwrap();
        named(&bundle);
    }
    let comparison = Comparison::new(&[good()], &ComparedRun::read(&bundle).unwrap()).unwrap();
    check(&comparison, "failed", &["how the run ended is not certain"]);
}

#[test]
fn outputs_and_plans_of_another_run_are_left_out_and_named() {
    let (_out, bundle) = bundle_of("lines", |_| (), "HashJoinExec", 1_000, "a");
    Manifest::update(&bundle, |manifest| manifest.files = FileEntry::list_with_hashes(&bundle)).unwrap();
    let mut catalog = ArtifactCatalog::read(&bundle).unwrap();
    catalog.artifacts.push(artifact("others"));
    catalog.artifacts[1].run_id = "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b99".parse().unwrap();
    catalog.write(&bundle).unwrap();
    let plan = fs::read_to_string(bundle.plan_file(Some("lines"), "9f3a9f3a9f3a9f3a")).unwrap();
    fs::write(bundle.plan_file(Some("other"), "1111222233334444"), plan).unwrap();
    let report = Report::from_bundle(&bundle).unwrap();
    assert_eq!(report.artifacts.len(), 1);
    assert_eq!(report.plans.len(), 1);
    let stray = "is not in the manifest, so it is not of this run, and is left out";
    let expected = [
        ("artifacts.json", "1 output of run 0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b99 left out"),
        ("plans/other-1111222233334444.json", stray),
    ];
    assert_eq!(damages(&bundle), expected.map(|(file, problem)| (file.to_owned(), problem.to_owned())));
}

#[test]
fn a_manifest_in_the_folder_of_another_run_is_named() {
    let (out, bundle) = bundle_of("lines", |_| (), "HashJoinExec", 1_000, "a");
    let other = out.path().join("run_bundle/0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b99");
    fs::rename(bundle.dir(), &other).unwrap();
    let named = damages(&Bundle::open(other).unwrap());
    assert!(named.len() == 1 && named[0].1.starts_with("is of run 0198c5f0"), "{named:?}");
}
