//! The pages of reports and comparisons of bundles on disk.

use std::fs;

use daglight_bundle_report::{ComparedRun, Comparison, Report};
use daglight_run_bundle::{Bundle, NodeRecord, NodeStatus};
use daglight_run_identity::RunId;
use serde_json::json;

use crate::fixture::{self, SpanLine};

/// A run with a plan, beats and spans, whose texts are all `text`.
fn bundle(out: &tempfile::TempDir, text: &str, join: &str) -> Bundle {
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    let mut manifest = fixture::manifest();
    for node in &mut manifest.nodes {
        node.error = Some(text.to_owned());
    }
    manifest.nodes.push(fixture::node(text, &["totals"], 70, 5.0));
    manifest.error = Some(text.to_owned());
    manifest.write(&bundle).unwrap();
    let beat = |number: u64| {
        let beat = SpanLine::new("build.heartbeat", number * 20, number * 20);
        beat.count("process.resident_bytes", 1_000_000 * number).count("active_tasks", 2).line()
    };
    let operator = |start| {
        let span = SpanLine::new("datafusion.operator", start, 50).text("operator", text).text("node", text);
        span.line()
    };
    let inner = SpanLine::new("hamilton.stage", 20, 30).text("stage", text).parent("n1").line();
    let node = SpanLine::new("hamilton.node", 0, 50).id("n1").text("node", text).failed(text).line();
    let lines: Vec<String> = (1..5).map(beat).chain([operator(10), operator(20), inner, node]).collect();
    fs::write(bundle.traces(), lines.concat()).unwrap();
    let plan = json!({"query_id": text, "node": text, "metrics": {"wall_ms": 26.0,
        "cluster": {"engine": text, "on_client": text, "workers": [text]}, "operators": [
        {"id": 0, "name": join, "detail": text, "elapsed_compute_ms": 1.0, "estimated_rows": 7, "output_rows": 70_000},
        {"id": 1, "parent": 0, "name": "DataSourceExec", "table": text, "output_rows": 3, "memory_bytes": 5_000}]}});
    fs::write(bundle.plan_file(Some("lines"), "9f3a9f3a9f3a9f3a"), plan.to_string()).unwrap();
    bundle
}

fn page(text: &str) -> String {
    let out = tempfile::tempdir().unwrap();
    Report::from_bundle(&bundle(&out, text, "HashJoinExec")).unwrap().to_html()
}

#[test]
fn the_report_has_plans_beats_the_timeline_and_the_time_of_its_own_of_spans() {
    let out = tempfile::tempdir().unwrap();
    let report = Report::from_bundle(&bundle(&out, "x", "HashJoinExec")).unwrap();
    let operators: Vec<_> =
        report.plans[0].operators.iter().map(|op| (op.depth, op.estimated_rows)).collect();
    assert_eq!(operators, [(0, Some(7)), (1, None)]);
    assert_eq!(report.resources.len(), 4);
    assert_eq!((report.resources[3].at_ms, report.resources[3].resident_bytes), (80.0, Some(4_000_000)));
    let spans: Vec<_> = report.spans.iter().map(|span| (span.start_ms, &*span.name)).collect();
    assert_eq!(spans, [(10.0, "x"), (20.0, "x"), (20.0, "x")]);
    let own: Vec<_> = report.slowest_spans.iter().map(|span| (span.duration_ms, span.self_ms)).collect();
    assert_eq!(own, [(50.0, Some(40.0)), (10.0, Some(10.0))]);
    let markdown = report.to_markdown();
    for expected in [
        "    HashJoinExec                 ~7  70,000  1.0 ms",
        "      DataSourceExec (x)                  3          5.0 kB",
        "`x`, 1 worker: 0 of 1 query ran on the cluster, 1 on the client.",
        "The query ran on the client, because x.",
        "- memory of the process, up to 4.0 MB: ▃▅▆█",
    ] {
        assert!(markdown.contains(expected), "{expected:?} is not in\n{markdown}");
    }
    let page = report.to_html();
    for expected in ["70,000", "class=\"dag\"", "class=\"series\"", "id=\"timeline\"", "script-src 'sha256-"]
    {
        assert!(page.contains(expected), "{expected:?} is not in\n{page}");
    }
}

#[test]
fn no_text_of_a_bundle_becomes_a_part_of_its_page() {
    let tags = |page: &str| page.matches('<').count();
    let plain = tags(&page("word"));
    for hostile in
        ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\" onload=\"alert(1)", "-->"]
    {
        assert_eq!(tags(&page(hostile)), plain, "{hostile:?}");
    }
}

#[test]
fn a_comparison_is_a_page() {
    let compared = |text: &str, join| {
        let out = tempfile::tempdir().unwrap();
        ComparedRun::read(&bundle(&out, text, join)).unwrap()
    };
    let page = |text: &str| {
        let comparison =
            Comparison::new(&[compared(text, "HashJoinExec")], &compared(text, "SortMergeJoinExec")).unwrap();
        comparison.to_html()
    };
    let plain = page("word");
    for expected in ["- HashJoinExec", "+ SortMergeJoinExec", "sales::daily_v1", "script-src 'sha256-"] {
        assert!(plain.contains(expected), "{expected:?} is not in\n{plain}");
    }
    let hostile = page("</pre><script>alert(1)</script>");
    assert_eq!(hostile.matches('<').count(), plain.matches('<').count());
}

#[test]
fn a_name_of_any_length_is_cut_for_people_and_whole_in_the_json() {
    let name = "nx".repeat(5_000);
    let out = tempfile::tempdir().unwrap();
    let runs = ["HashJoinExec", "CrossJoinExec"].map(|join| {
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        let mut manifest = fixture::manifest();
        manifest.nodes[2].dependencies.push(name.clone());
        let status = if join == "HashJoinExec" { NodeStatus::Success } else { NodeStatus::Failure };
        let duration_ms = if join == "HashJoinExec" { 30.0 } else { 80.0 };
        manifest.nodes.push(NodeRecord { status, ..fixture::node(&name, &["totals"], 10, duration_ms) });
        manifest.write(&bundle).unwrap();
        fs::write(
            bundle.traces(),
            SpanLine::new("hamilton.stage", 10, 90).text("node", &name).text("stage", "write").line(),
        )
        .unwrap();
        let plan = json!({"query_id": 7, "node": &name, "outcome": "completed",
            "schema": [{"name": &name, "type": "Utf8"}],
            "lineage": {"columns": [{"name": &name, "sources": [{"table": &name, "column": &name, "derivation": "identity"}]}],
                "indirect": [{"table": &name, "column": &name, "influences": ["filter"]}]},
            "sources": [{"table": &name, "location": "a", "rows": 70_000}],
            "metrics": {"wall_ms": 26.0, "operators": [
                {"id": 0, "name": join, "elapsed_compute_ms": 1_000.0, "estimated_rows": 7, "output_rows": 70_000_000},
                {"id": 1, "parent": 0, "name": "DataSourceExec", "table": &name, "output_rows": 70_000, "memory_bytes": 5_000},
                {"id": 2, "parent": 0, "name": "DataSourceExec", "table": &name, "output_rows": 70_000}]}});
        fs::write(bundle.plan_file(Some("lines"), "9f3a9f3a9f3a9f3a"), plan.to_string()).unwrap();
        ComparedRun::read(&bundle).unwrap()
    });
    let comparison = Comparison::new(&runs[..1], &runs[1]).unwrap();
    let report = &runs[1].report;
    assert!(report.headline.iter().all(|sentence| sentence.text.len() < 1_000), "{:#?}", report.headline);
    let long = &name[..400];
    let is_shown = |text: &str| text.contains("nxnxnx") && !text.contains(long);
    let markdown = report.to_markdown();
    assert!(is_shown(&markdown), "{}", markdown.lines().find(|line| line.contains(long)).unwrap_or_default());
    assert!(is_shown(&comparison.to_text()), "{}", comparison.to_text());
    for page in [report.to_html(), comparison.to_html()] {
        // Between tags, without what the mouse points to and without the script and its data.
        let body = page.split("<script").next().unwrap();
        let texts = body.split('<').filter_map(|part| part.split_once('>'));
        let cut = texts.clone().filter(|(_, text)| text.contains("nxnxnx")).count();
        let whole: Vec<_> =
            texts.filter(|(_, text)| text.contains(long)).map(|(tag, _)| &tag[..tag.len().min(30)]).collect();
        assert!(cut > 3 && whole.iter().all(|tag| *tag == "title"), "{cut} {whole:?}");
    }
    assert!(serde_json::to_string(report).unwrap().contains(&name));
}
