//! The reports of bundles on disk.

use std::fs;

use chrono::TimeDelta;
use daglight_bundle_report::{DeliveryReport, Level, Report, ReportError, ReportStatus};
use daglight_capture_policy::{Policy, Profile};
use daglight_run_bundle::{
    ActiveTask, Artifact, ArtifactCatalog, ArtifactColumn, AttemptRecord, Bundle, DeliveryCounts, Durability,
    LedgerDestination, LedgerSignal, Manifest, Materialization, NodeRecord, NodeStatus, NodeSummary,
    PlanBundle, ProcessEvidence, RecordedKind, RunStatus, SignalFiles, SignalLedger, Tracking, Warning,
    WarningCode,
    outbox::{Attribute, AttributeKind, AttributeRole, Event, Outbox, Outcome, outbox_path},
};
use daglight_run_identity::RunId;
use serde_json::json;

use crate::fixture::{self, SpanLine};

struct Run {
    _out: tempfile::TempDir,
    bundle: Bundle,
}

impl Run {
    fn new() -> Self {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        fs::write(bundle.traces(), spans()).unwrap();
        fs::write(bundle.logs(), fixture::log_line(13, "statistics are off")).unwrap();
        fs::write(bundle.metrics(), "").unwrap();
        fs::write(outbox_path(&bundle.tracker_dir()), "").unwrap();
        Self { _out: out, bundle }
    }

    fn manifest(self, change: impl FnOnce(&mut Manifest)) -> Self {
        let mut manifest = fixture::manifest();
        change(&mut manifest);
        manifest.write(&self.bundle).unwrap();
        self
    }

    /// A heartbeat file as a process leaves it that was killed while `task` ran.
    fn killed_while(self, task: &str) -> Self {
        let last_beat_at = fixture::start() + TimeDelta::milliseconds(90);
        let mut evidence = ProcessEvidence::for_self(fixture::start(), 1.0);
        evidence.start_ticks = Some(1);
        evidence.last_beat_at = last_beat_at;
        evidence.last_seen_at = Some(last_beat_at);
        evidence.active_tasks = vec![ActiveTask { name: task.into(), since: fixture::start() }];
        evidence.write(&self.bundle.heartbeat()).unwrap();
        self
    }

    fn report(&self) -> Report {
        Report::from_bundle(&self.bundle).unwrap()
    }
}

fn spans() -> String {
    [
        SpanLine::new("hamilton.node", 0, 20).id("n1").text("node", "orders").text("stage", "extract").line(),
        SpanLine::new("datafusion.plan", 20, 24).text("query_id", "2").parent("n2").line(),
        SpanLine::new("datafusion.execute", 24, 50)
            .text("query_id", "2")
            .text("plan_hash", "9f3a")
            .parent("n2")
            .line(),
        SpanLine::new("hamilton.node", 20, 50).id("n2").text("node", "lines").count("row_count", 77).line(),
        SpanLine::new("pipeline.execute", 0, 100).line(),
    ]
    .concat()
}

#[track_caller]
fn check_headline(report: &Report, expected: &[&str]) {
    let headline: Vec<&str> = report.headline.iter().map(|finding| finding.text.as_str()).collect();
    for (position, part) in expected.iter().enumerate() {
        assert!(headline.get(position).is_some_and(|text| text.contains(part)), "{part:?} in {headline:#?}");
    }
}

#[test]
fn the_data_of_outputs_is_shown_as_the_policy_shows_it_and_in_bounds() {
    let run = Run::new().manifest(|_| {});
    ArtifactCatalog::new(vec![Artifact { node: Some("lines".into()), ..artifact("totals") }])
        .write(&run.bundle)
        .unwrap();
    let policy = Policy::of_profile(Profile::Dev);
    let price = json!({"pos": 0, "data_type": "Int64", "base_data_type": "numeric", "count": 1000, "missing": 20, "min": 3,
        "max": 9, "mean": 5.25, "histogram": {"(3.0, 6.0]": 900, "(6.0, 9.0]": 80}, "distinct": 7, "distinct_is_estimate": true});
    let mut columns = serde_json::Map::from_iter([("price".to_owned(), price)]);
    let status = json!({"pos": 1, "data_type": "Utf8", "base_data_type": "category", "count": 1000, "missing": 0,
        "unique": 4, "domain": {"<b>": 700, "O": 200, "F": 70, "P": 30}, "distinct": 4});
    columns.insert("status".to_owned(), status);
    let plain = |at: u64| json!({"pos": at, "data_type": "Binary", "base_data_type": "unhandled", "count": 1000, "missing": 0});
    columns.extend((2..60).map(|at| (format!("c{at:02}"), plain(at))));
    let keep = |node: &str, columns: serde_json::Map<_, _>| {
        let shown = policy.capture_columns(columns, |_, _| json!({}));
        NodeSummary::new(node, &shown).append(&run.bundle).unwrap();
    };
    keep("orders", columns.clone().into_iter().skip(58).collect());
    keep("lines", columns);
    let report = run.report();
    let nodes: Vec<&str> = report.data.iter().map(|data| data.node.as_str()).collect();
    assert_eq!(nodes, ["lines", "orders"], "what was written comes first");
    let lines = &report.data[0];
    assert_eq!((lines.rows, lines.columns.len(), lines.columns_left_out), (1_000, 50, 10));
    let markdown = report.to_markdown();
    for expected in [
        "## Data of the outputs",
        "`lines`: 1,000 rows, 60 columns",
        "- column `price`: type `Int64`, missing 20 (2 %), different about 7,\n values `3` to `9`, on average `5.25`, distribution █▂\n",
        "- column `status`: type `Utf8`, different 4, values `<b>` 70 %, `O` 20 %, `F` 7 % and 1 more\n",
        "10 columns more.",
    ] {
        // Cells are padded, so that columns stand under each other.
        let plain = markdown.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        assert!(plain.contains(expected), "{expected:?} is not in\n{markdown}");
    }
    let page = report.to_html();
    assert!(page.contains("<svg class=\"histogram\"") && page.contains("&lt;b&gt;") && !page.contains("<b>"));
    assert!(run.bundle.verify().iter().all(|fault| !fault.to_string().contains("data_summaries")));
    // What of it is damaged is named, and the rest is shown.
    let path = run.bundle.data_summaries();
    fs::write(&path, [fs::read(&path).unwrap(), b"{\"format_version\":1,".to_vec()].concat()).unwrap();
    let damaged = run.report();
    assert_eq!(damaged.data.len(), 2);
    assert!(damaged.damages().any(|damage| damage.file == "data_summaries.jsonl"), "{:?}", damaged.files);
}

#[test]
fn summaries_in_the_outbox_are_those_of_a_run_that_summarised() {
    let run = Run::new();
    let columns = json!({"price": {"pos": 0, "data_type": "Int64", "count": 1_000, "missing": 0}});
    let finished = Event::TaskFinished {
        node: "lines".into(),
        time: fixture::start(),
        status: Outcome::Success,
        attributes: vec![Attribute::new(
            "data_summary",
            AttributeKind::DagworksDescribe,
            AttributeRole::ResultSummary,
            Policy::of_profile(Profile::Dev).capture(columns),
        )],
    };
    let outbox = Outbox::open(&run.bundle.tracker_dir(), Durability::Process).unwrap();
    outbox.append(&finished).unwrap();
    drop(outbox);
    let nodes = || run.report().data.into_iter().map(|data| data.node).collect::<Vec<_>>();
    assert_eq!(nodes(), ["lines"], "without a manifest");
    let mut manifest = fixture::manifest();
    let on = Policy::of_profile(Profile::Dev).rules();
    let off = Policy::of_profile(Profile::Prod).rules();
    for (policy, expected) in [
        (serde_json::Value::Null, ["lines"].as_slice()),
        (json!(on), &["lines"]),
        // Of such a run there is nothing to find, and looking for it would take reading all events.
        (json!(off), &[]),
    ] {
        manifest.policy = policy;
        manifest.write(&run.bundle).unwrap();
        assert_eq!(nodes(), expected, "{}", manifest.policy);
    }
}

#[test]
fn a_run_that_succeeded() {
    let run = Run::new().manifest(|_| {});
    ArtifactCatalog::new(vec![artifact("totals")]).write(&run.bundle).unwrap();
    let plan = serde_json::json!({"query_id": 2, "node": "lines", "metrics": {"wall_ms": 26.0, "operators": [
        {"id": 0, "name": "HashJoinExec", "elapsed_compute_ms": 20.0},
        {"id": 1, "parent": 0, "name": "DataSourceExec", "output_rows": 500, "elapsed_compute_ms": 5.0}]}});
    fs::write(run.bundle.plan_file(Some("lines"), "9f3a9f3a9f3a9f3a"), plan.to_string()).unwrap();
    let report = run.report();
    assert_eq!(report.status, ReportStatus::Success);
    check_headline(
        &report,
        &[
            "Succeeded in 100 ms: 3 nodes, 1 query, 1,000 rows written to files (52.0 kB).",
            "Slowest: totals took 40 ms (40 % of the run).",
            "1 warning: statistics are off",
        ],
    );
    let lines = &report.nodes[1];
    assert_eq!((lines.rows_in, lines.rows_out, lines.queries), (Some(500), Some(1_000), 1));
    let query = &report.queries[0];
    assert_eq!((query.node.as_deref(), query.planning_ms), (Some("lines"), Some(4.0)));
    assert_eq!(query.hottest_operators[0].name, "HashJoinExec");
    assert_eq!(report.timeline.as_ref().unwrap().critical_path, ["lines", "totals"]);
    assert_eq!(report.slowest_spans[0].node.as_deref(), Some("lines"));
    assert_eq!(report.delivery.sync_command, None);
}

#[test]
fn a_run_that_failed_says_where_first() {
    let run = Run::new().manifest(|manifest| {
        manifest.status = RunStatus::Failure;
        manifest.nodes[1].status = NodeStatus::Failure;
        manifest.nodes[1].error = Some("Resources exhausted: sort needs 2 GB\nat SortExec".into());
        manifest.nodes[2] = NodeRecord {
            status: NodeStatus::NotRun,
            started_at: None,
            duration_ms: None,
            ..manifest.nodes[2].clone()
        };
    });
    check_headline(
        &run.report(),
        &[
            "Failed after 100 ms: 3 nodes (1 succeeded, 1 failed, 1 not run)",
            "Node lines failed: Resources exhausted: sort needs 2 GB",
        ],
    );
}

#[test]
fn a_run_that_was_told_to_end_says_so_first() {
    let run = Run::new().manifest(|manifest| {
        manifest.status = RunStatus::Interrupted;
        manifest.error = Some("interrupted by ctrl-c (SIGINT) after 100 ms, while lines ran (40 ms)".into());
        manifest.nodes[1].status = NodeStatus::Interrupted;
        manifest.nodes[1].error = Some("interrupted by ctrl-c (SIGINT) after 40 ms".into());
    });
    let report = run.report();
    assert_eq!((report.status, report.totals.nodes_interrupted), (ReportStatus::Interrupted, 1));
    check_headline(
        &report,
        &["Interrupted by ctrl-c (SIGINT) after 100 ms, while lines ran (40 ms): \
           3 nodes (2 succeeded, 1 interrupted)"],
    );
}

#[test]
fn what_waits_is_reported_with_the_command_that_delivers_it() {
    let run = Run::new().manifest(|manifest| {
        let dropped = [("refused by the server".to_owned(), 1)].into();
        manifest.delivery.tracker = Some(DeliveryCounts {
            produced: 9,
            delivered: 3,
            waiting: 5,
            dropped,
            ..DeliveryCounts::default()
        });
        manifest.delivery.signals.push(SignalLedger {
            signal: LedgerSignal::Traces,
            destination: LedgerDestination::Otlp,
            ledger: DeliveryCounts { produced: 4, waiting: 4, ..DeliveryCounts::default() },
        });
    });
    let report = run.report();
    check_headline(
        &report,
        &[
            "Succeeded",
            "Lost: 1 tracker event to hamilton (refused by the server)",
            "Not delivered yet: 5 tracker events to hamilton",
        ],
    );
    let DeliveryReport { sync_command, replay_command, .. } = report.delivery;
    assert!(sync_command.unwrap().starts_with("daglight sync "));
    assert!(replay_command.unwrap().starts_with("daglight replay "));
}

#[test]
fn no_command_delivers_what_is_not_in_the_bundle() {
    let run = Run::new().manifest(|manifest| {
        manifest.delivery.tracker =
            Some(DeliveryCounts { produced: 9, waiting: 9, ..DeliveryCounts::default() });
    });
    // As `bundle pack --without-sql` leaves it out.
    fs::remove_file(outbox_path(&run.bundle.tracker_dir())).unwrap();
    let report = run.report();
    assert_eq!((report.delivery.waiting, &report.delivery.sync_command), (9, &None));
    assert!(!report.to_markdown().contains("daglight sync"), "{}", report.to_markdown());
}

#[test]
fn a_report_of_what_was_unpacked_names_the_archive() {
    let run = Run::new().manifest(|manifest| {
        manifest.delivery.tracker =
            Some(DeliveryCounts { produced: 1, waiting: 1, ..DeliveryCounts::default() })
    });
    let unpacked = run.bundle.clone().unpacked_from("p.tar.gz");
    let report = Report::from_bundle(&unpacked).unwrap();
    assert_eq!(report.delivery.sync_command.as_deref(), Some("daglight sync p.tar.gz"));
    let text = fs::read_to_string(run.bundle.manifest()).unwrap();
    fs::write(run.bundle.manifest(), text.replacen("\"format_version\": ", "\"format_version\": 9", 1))
        .unwrap();
    let error = Report::from_bundle(&unpacked).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("p.tar.gz/manifest.json has format 9"), "{cause}");
}

#[test]
#[cfg(target_os = "linux")]
fn what_was_open_when_a_run_was_killed_lasts_until_it_was_last_seen() {
    let run = Run::new().killed_while("nothing").manifest(|manifest| {
        manifest.status = RunStatus::Running;
        manifest.ended_at = None;
        for node in &mut manifest.nodes {
            *node = NodeRecord::not_run(node.name.clone());
        }
    });
    let open = [
        SpanLine::new("hamilton.node", 60, 60).open().id("n3").text("node", "totals").line(),
        SpanLine::new("hamilton.stage", 61, 61)
            .open()
            .id("s1")
            .parent("n3")
            .text("stage", "write")
            .text("node", "totals")
            .line(),
        // It has ended since.
        SpanLine::new("hamilton.node", 20, 20).open().id("n2").text("node", "lines").line(),
    ];
    let whole = spans();
    let (ended, _) = whole.trim_end().rsplit_once('\n').unwrap();
    fs::write(run.bundle.traces(), format!("{ended}\n")).unwrap();
    let file = SignalFiles::from(&run.bundle).open_spans();
    fs::write(&file, open.concat()).unwrap();
    let report = run.report();
    let of = |name: &str| report.nodes.iter().find(|node| node.name == name).unwrap();
    assert_eq!((of("lines").status, of("lines").duration_ms), (NodeStatus::Success, Some(30.0)));
    let totals = of("totals");
    assert_eq!(
        (totals.status, totals.start_ms, totals.duration_ms),
        (NodeStatus::Unfinished, Some(60.0), Some(30.0))
    );
    let stage = report.spans.iter().find(|span| span.name == "write").unwrap();
    assert_eq!((stage.open, stage.start_ms, stage.duration_ms), (true, 61.0, 29.0));
    let slowest = report.slowest_spans.iter().filter(|span| span.open);
    let slowest: Vec<_> =
        slowest.map(|span| (&*span.name, span.node.as_deref(), span.duration_ms, span.self_ms)).collect();
    let expected = [
        ("hamilton.node", Some("totals"), 30.0, Some(1.0)),
        ("hamilton.stage", Some("totals"), 29.0, Some(29.0)),
    ];
    assert_eq!(slowest, expected);
    let stage = report.stages.iter().find(|stage| stage.stage == "write").unwrap();
    assert_eq!((stage.wall_ms, stage.spans, stage.open), (29.0, 1, 1));
    let page = report.to_markdown();
    assert!(page.contains("has not ended") && page.contains("not ended |"), "{page}");
    assert_eq!(report.files.len(), 3);
    // A part of a line is named like that of any other file.
    fs::write(&file, &open[0][..40]).unwrap();
    let damaged = run.report();
    assert!(damaged.files.iter().any(|read| read.file == "otel_traces.open.json" && read.torn_bytes == 40));
}

#[test]
fn without_a_server_nothing_is_missing_and_a_note_says_how_to_see_the_run_there() {
    let run = Run::new().manifest(|manifest| {
        manifest.tracking = Tracking::NoServer;
        manifest.delivery.tracker =
            Some(DeliveryCounts { produced: 9, waiting: 9, ..DeliveryCounts::default() });
    });
    let report = run.report();
    assert_eq!(report.delivery.waiting, 0);
    let notes: Vec<_> = report.headline.iter().filter(|finding| finding.text.contains("Hamilton")).collect();
    let [note] = &notes[..] else { panic!("{:#?}", report.headline) };
    assert_eq!(note.level, Level::Note);
    assert!(note.text.contains("daglight sync "), "{}", note.text);
    assert!(!report.headline.iter().any(|finding| finding.text.contains("Not delivered")));
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_that_was_killed_is_described_by_spans_and_heartbeat() {
    let run = Run::new().killed_while("totals").manifest(|manifest| {
        manifest.status = RunStatus::Running;
        manifest.ended_at = None;
        for node in &mut manifest.nodes {
            *node = NodeRecord {
                started_at: None,
                duration_ms: None,
                status: NodeStatus::NotRun,
                ..node.clone()
            };
        }
    });
    let cut = spans().trim_end().rsplit_once('\n').map(|(before, root)| format!("{before}\n{}", &root[..40]));
    fs::write(run.bundle.traces(), cut.unwrap()).unwrap();
    let report = run.report();
    assert_eq!(report.status, ReportStatus::ProcessEnded);
    let statuses: Vec<_> = report.nodes.iter().map(|node| (node.name.as_str(), node.status)).collect();
    assert_eq!(
        statuses,
        [("orders", NodeStatus::Success), ("totals", NodeStatus::Unfinished), ("lines", NodeStatus::Success)]
    );
    assert_eq!(report.files[0].torn_bytes, 40);
    check_headline(
        &report,
        &[
            "The process ended before it could end the run, and was last seen after 90 ms",
            "running then: totals",
        ],
    );
    assert!(!report.delivery.is_final && report.delivery.sync_command.is_some());
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_node_had_read_when_its_process_was_killed_is_what_its_plans_say() {
    let run = Run::new().killed_while("totals").manifest(|manifest| {
        (manifest.status, manifest.ended_at) = (RunStatus::Running, None);
        manifest.nodes.iter_mut().for_each(|node| node.status = NodeStatus::NotRun);
    });
    let read = |start, query_id, node| {
        SpanLine::new("datafusion.execute", start, 20)
            .text("query_id", query_id)
            .text("node", node)
            .count("rows_read", 30)
            .line()
    };
    let orders = SpanLine::new("hamilton.node", 0, 20).text("node", "orders").line();
    fs::write(run.bundle.traces(), read(0, "1", "orders") + &read(10, "2", "totals") + &orders).unwrap();
    let plan = |hash, node, executions, rows| {
        let plan = json!({
            "query_id": 3, "plan_hash": hash, "node": node, "executions": executions,
            "metrics": {"wall_ms": 50.0, "operators": [{"id": 0, "name": "DataSourceExec", "output_rows": rows}]},
        });
        serde_json::from_value::<PlanBundle>(plan).unwrap().write(&run.bundle).unwrap();
    };
    // One execution of the plan has ended, and another one had not.
    plan("a", "totals", json!({"started": 2, "completed": 1, "rows_read": 30}), json!(500));
    let rows_in = |report: &Report| {
        let rows = report.nodes.iter().map(|node| (node.name.clone(), node.rows_in));
        rows.filter(|(name, _)| name != "lines").collect::<Vec<_>>()
    };
    let of = |totals| [("orders".to_owned(), Some(30)), ("totals".to_owned(), totals)];
    let report = run.report();
    let totals = report.nodes.iter().find(|node| node.name == "totals").unwrap();
    assert_eq!(totals.status, NodeStatus::Unfinished);
    assert_eq!((rows_in(&report), report.totals.rows_read), (of(Some(530)).to_vec(), 560));
    // What one of its scans does not count is not known.
    plan("b", "totals", json!({"started": 1}), json!(null));
    assert_eq!(rows_in(&run.report()), of(None));
}

/// On a full disk, the last heartbeat cannot be written.
#[test]
#[cfg(target_os = "linux")]
fn a_run_that_has_ended_was_not_killed_whatever_its_heartbeat_says() {
    let report = Run::new().killed_while("totals").manifest(|_| {}).report();
    assert_eq!(report.status, ReportStatus::Success);
    assert!(!report.to_markdown().contains("was last seen"), "{}", report.to_markdown());
}

/// What the program says of itself may begin like a sentence of ours.
#[test]
#[cfg(target_os = "linux")]
fn no_text_of_an_error_or_a_warning_decides_what_the_headline_says() {
    let run = Run::new().killed_while("totals").manifest(|manifest| {
        manifest.status = RunStatus::Failure;
        manifest.error = Some("process ended with code 3: loader".into());
        manifest.nodes[1].error = Some("the process ended".into());
    });
    fs::write(run.bundle.logs(), fixture::log_line(13, "no progress for ticket 7")).unwrap();
    let report = run.report();
    check_headline(
        &report,
        &[
            "Failed after 100 ms",
            "The run failed: process ended with code 3: loader",
            "Slowest: totals",
            "1 warning: no progress for ticket 7",
        ],
    );
    assert!(!report.to_markdown().contains("was last seen"), "{}", report.to_markdown());
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_that_was_closed_for_its_process_is_known_by_its_manifest_or_its_root_span() {
    let closed = |manifest: &mut Manifest| {
        manifest.status = RunStatus::Failure;
        manifest.error = Some("a text that says nothing".into());
        manifest.nodes[0].status = NodeStatus::Failure;
    };
    let check = |run: &Run| {
        let report = run.report();
        assert!(report.process_ended && report.nodes[0].process_ended, "{report:#?}");
        check_headline(
            &report,
            &[
                "The process ended before it could end the run, and was last seen after 100 ms",
                "running then: orders, totals",
            ],
        );
        // It is said once.
        let said = report.headline.iter().filter(|sentence| sentence.text.contains("orders")).count();
        assert_eq!(said, 1, "{:#?}", report.headline);
    };
    let closed_span = |name: &'static str, node: &str| {
        let span =
            SpanLine::new(name, 0, 90).failed("x").text("node", node).text("error.type", "process_ended");
        span.line().replace("daglight.error.type", "error.type")
    };
    let node = closed_span("hamilton.node", "orders");
    let new = Run::new().killed_while("totals").manifest(|manifest| {
        closed(manifest);
        manifest.process_ended_at = manifest.ended_at;
    });
    fs::write(new.bundle.traces(), spans() + &node).unwrap();
    check(&new);
    // Older versions wrote it to the spans alone.
    let old = Run::new().killed_while("totals").manifest(closed);
    let spans = spans() + &node + &closed_span("pipeline.execute", "");
    fs::write(old.bundle.traces(), spans).unwrap();
    check(&old);
}

/// A warning in the log with one field.
fn warning_line(text: &str, key: &str, value: &str) -> String {
    let field = json!({"key": key, "value": {"stringValue": value}});
    let record = json!({"severityNumber": 13, "body": {"stringValue": text}, "attributes": [field]});
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).to_string() + "\n"
}

#[test]
fn the_report_has_the_code_of_a_warning_of_any_version() {
    let run = Run::new().manifest(|manifest| {
        let newer = WarningCode::Unknown("of_a_newer_version".into());
        manifest.warnings = vec![Warning::new(WarningCode::DiskFull, "a"), Warning::new(newer, "b")];
    });
    // With its code as it is written now, and with its fields alone as older versions wrote it.
    let logs = warning_line("no progress", "warning.code", "stall")
        + &warning_line("no progress for 30 s", "stall.since", "2026-11-21T05:09:47Z");
    fs::write(run.bundle.logs(), logs + &fixture::log_line(13, "of a library")).unwrap();
    let json = serde_json::to_value(run.report()).unwrap();
    let problems = json["problems"].as_array().unwrap().iter();
    let codes: Vec<_> = problems.map(|problem| problem["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["stall", "stall", "other", "disk_full", "of_a_newer_version"]);
}

#[test]
fn attempts_and_recoveries_are_on_every_page() {
    let run = Run::new().manifest(|manifest| {
        let node = &mut manifest.nodes[0];
        node.attempts = 3;
        node.earlier_attempts = vec![AttemptRecord {
            attempt: 2,
            status: NodeStatus::Failure,
            started_at: None,
            duration_ms: Some(12.0),
            error: Some("connection <reset>".into()),
        }];
        manifest.nodes[1].status = NodeStatus::Failure;
        manifest.nodes[1].recovered = true;
    });
    let report = run.report();
    let (markdown, html) = (report.to_markdown(), report.to_html());
    for part in
        ["ok (attempt 3)", "attempt 2 failed after 12 ms: connection <reset>", "**failed** (recovered)"]
    {
        assert!(markdown.contains(part), "no {part:?} in {markdown}");
    }
    let title = "title=\"attempt 2 failed after 12 ms: connection &lt;reset&gt;\">attempt 3</span>";
    for part in [title, ">recovered</span>"] {
        assert!(html.contains(part), "no {part:?} in {html}");
    }
    let quiet = Run::new().manifest(|_| {}).report();
    assert!(!quiet.to_markdown().contains("attempt") && !quiet.to_html().contains(">attempt"));
}

#[track_caller]
fn check_waiting(nodes: &[(u64, u64)], end_ms: u64, setup: Option<(u64, u64)>, expected: Option<&str>) {
    let run = Run::new().manifest(|manifest| {
        manifest.nodes.clear();
        manifest.ended_at = Some(fixture::start() + TimeDelta::milliseconds(end_ms as i64));
    });
    let name = |index: usize| format!("n{index:03}");
    let of_node = |(index, (start, end)): (usize, &(u64, u64))| {
        SpanLine::new("hamilton.node", *start, *end)
            .id(&format!("{index:016x}"))
            .text("node", &name(index))
            .line()
    };
    let setup =
        setup.map(|(start, end)| SpanLine::new("hamilton.stage", start, end).text("stage", "setup").line());
    let lines: String = nodes.iter().enumerate().map(of_node).chain(setup).collect();
    fs::write(run.bundle.traces(), lines).unwrap();
    let headline = run.report().headline;
    let said: Vec<&str> = headline
        .iter()
        .map(|finding| finding.text.as_str())
        .filter(|text| text.starts_with("Idle") || text.starts_with("Setup"))
        .collect();
    assert_eq!(said.len(), usize::from(expected.is_some()), "{said:?}");
    assert!(expected.is_none_or(|expected| said[0].contains(expected)), "{said:?}");
}

#[test]
fn only_gaps_that_are_long_add_up_to_idle_time() {
    let nodes =
        |gap: u64| (0..30).map(|index| (index * (50 + gap), index * (50 + gap) + 50)).collect::<Vec<_>>();
    check_waiting(&nodes(90), 30 * 140, None, None);
    check_waiting(&nodes(150), 30 * 200, None, Some("no node ran for 75 % of the run"));
}

#[test]
fn a_long_setup_is_a_finding() {
    check_waiting(&[(0, 1_000)], 2_000, Some((1_000, 2_000)), Some("took 1.00 s (50 % of the run)"));
    check_waiting(&[(0, 1_000)], 1_400, Some((1_000, 1_400)), None);
    check_waiting(&[], 717, Some((2, 715)), Some("took 713 ms (99 % of the run)"));
    check_waiting(&[(0, 9_400)], 10_000, Some((9_400, 10_000)), None);
}

#[test]
fn no_node_takes_more_than_the_run() {
    let run = Run::new().manifest(|manifest| {
        manifest.ended_at = Some(fixture::start() + TimeDelta::milliseconds(1));
        manifest.nodes[0].duration_ms = Some(4_000.0);
    });
    let headline = run.report().headline;
    let slowest = headline.iter().find(|finding| finding.text.starts_with("Slowest")).unwrap();
    assert!(!slowest.text.contains("of the run"), "{}", slowest.text);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a report is made by the clock of the system")]
fn a_heart_is_silent_by_the_clock_of_the_system() {
    let silence = |signed_at| {
        let run =
            Run::new().manifest(|manifest| (manifest.status, manifest.ended_at) = (RunStatus::Running, None));
        fs::write(run.bundle.traces(), "").unwrap();
        let mut evidence = ProcessEvidence::for_self(fixture::start(), 1.0);
        (evidence.beats, evidence.signed_at) = (9, signed_at);
        evidence.write(&run.bundle.heartbeat()).unwrap();
        let report = run.report();
        assert_eq!(report.status, ReportStatus::Running);
        report.heartbeat.unwrap().silent_seconds
    };
    // The clock of the run stands behind, as after a night in which the machine slept.
    assert_eq!(silence(Some(chrono::Utc::now())), None);
    assert!(silence(Some(chrono::Utc::now() - TimeDelta::hours(1))).is_some_and(|seconds| seconds > 3_599.0));
    assert!(silence(None).is_some(), "as older versions have it");
}

#[test]
fn a_stall_is_reported_once() {
    let run = Run::new().killed_while("totals").manifest(|_| {});
    let text = "no progress for 30 s: node totals, operator SortExec";
    fs::write(run.bundle.logs(), warning_line(text, "warning.code", "stall")).unwrap();
    let report = run.report();
    assert!(
        !report.headline.iter().any(|finding| finding.text.contains("warning")),
        "{:#?}",
        report.headline
    );
    assert!(report.problems.iter().any(|problem| problem.message == text), "it stays in the list");
}

#[test]
fn a_bundle_that_holds_nothing_still_has_a_report() {
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    let report = Report::from_bundle(&bundle).unwrap();
    assert_eq!(report.status, ReportStatus::Unknown);
    assert_eq!(report.unreadable.len(), 1);
    report.write(&bundle).unwrap();
    // Only what cannot be read is listed.
    assert_eq!(report.to_markdown().lines().filter(|line| line.starts_with("## ")).count(), 1);
    assert_eq!(report.to_html().matches("<h2>").count(), 1);
}

#[test]
fn a_newer_bundle_has_no_report() {
    let run = Run::new();
    fs::write(run.bundle.manifest(), r#"{"format_version": 99}"#).unwrap();
    assert!(matches!(Report::from_bundle(&run.bundle), Err(ReportError::Newer { .. })));
}

#[test]
fn the_json_is_read_back_and_fits_its_schema() {
    let run = Run::new().manifest(|_| {});
    let report = run.report();
    report.write(&run.bundle).unwrap();
    let text = fs::read(run.bundle.report_json()).unwrap();
    assert_eq!(serde_json::from_slice::<Report>(&text).unwrap(), report);
    let written: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let schema = Report::json_schema();
    for field in written.as_object().unwrap().keys() {
        assert!(schema["properties"][field].is_object(), "{field}");
    }
    assert_eq!(fs::read_dir(run.bundle.dir()).unwrap().count(), 9);
}

#[test]
fn the_schema_that_is_checked_in_is_that_of_reports() {
    const COMMAND: &str =
        "cargo run -q -p daglight-bundle-report --example schema > docs/run_diagnostics_report.schema.json";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/run_diagnostics_report.schema.json");
    let text = fs::read_to_string(path).unwrap();
    let is_current =
        serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|schema| schema == Report::json_schema());
    assert!(
        is_current,
        "docs/run_diagnostics_report.schema.json is not current; to make it again: {COMMAND}"
    );
}

#[test]
fn names_are_never_markup() {
    let name = "<script>alert(1)</script>|`*_[x](y)";
    let run = Run::new().manifest(|manifest| {
        manifest.identity.dag_name = name.into();
        manifest.identity.tags.insert(name.into(), name.into());
        manifest.error = Some(name.into());
        manifest.warnings.push(Warning::new(WarningCode::Program, name));
        manifest.links.hamilton_run = Some(format!("javascript:{name}"));
        manifest.delivery.signals[0].signal = LedgerSignal::Other(name.into());
        manifest.nodes[0].name = name.into();
        manifest.nodes[0].kind = RecordedKind::Other(name.into());
        manifest.nodes[0].status = NodeStatus::Failure;
        manifest.nodes[0].error = Some(name.into());
    });
    let hostile = SpanLine::new("hamilton.node", 0, 9).text("node", name).text("stage", name).failed(name);
    fs::write(run.bundle.traces(), hostile.line()).unwrap();
    fs::write(run.bundle.logs(), fixture::log_line(17, name)).unwrap();
    fs::write(
        run.bundle.plan_file(Some("a"), "0123456789abcdef"),
        serde_json::json!({"query_id": name, "node": name}).to_string(),
    )
    .unwrap();
    ArtifactCatalog::new(vec![artifact(name)]).write(&run.bundle).unwrap();
    let report = run.report();
    let html = report.to_html();
    // The page has its data and two scripts, and nothing of the run adds one.
    assert!(html.matches("<script").count() == 3 && html.contains("&lt;script"));
    assert!(!html.contains("href=\"javascript"));
    for line in report.to_markdown().lines().filter(|line| line.contains("script>")) {
        let is_code = line.contains('`') || line.starts_with("    ");
        assert!(is_code || line.contains("\\<script\\>"), "{line}");
    }
}

#[test]
fn a_damaged_file_still_has_a_report() {
    let run = Run::new().manifest(|_| {});
    let whole = spans().into_bytes();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let mut damaged = whole.clone();
        let position = random.usize(..damaged.len());
        damaged[position] = random.u8(..);
        fs::write(run.bundle.traces(), &damaged).unwrap();
        let report = run.report();
        assert!(!report.to_markdown().is_empty() && !report.to_html().is_empty());
    }
}

pub(crate) fn artifact(name: &str) -> Artifact {
    Artifact {
        name: name.into(),
        node: None,
        materialization: Materialization::Parquet,
        location: Some(format!("out/{name}.parquet")),
        format: Some("parquet".into()),
        rows: Some(1_000),
        bytes: Some(52_000),
        files: Some(1),
        files_before: None,
        schema: vec![ArtifactColumn { name: "id".into(), data_type: "Int64".into(), nullable: false }],
        schema_hash: None,
        plan_signature: None,
        signature: None,
        run_id: "0198c5f0-7a0e-7d5f-8a53-0c9f9f4c2b11".parse().unwrap(),
        written_at: fixture::start(),
    }
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_not_utf_8_do_not_keep_a_report_from_being_made() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
    fs::write(bundle.plan_file(Some("a"), "0123456789abcdef"), r#"{"query_id":1}"#).unwrap();
    fs::write(bundle.dir().join(OsStr::from_bytes(b"caf\xe9.csv")), "mine").unwrap();
    fs::write(bundle.plans_dir().join(OsStr::from_bytes(b"001-\xff.json")), "mine").unwrap();
    let report = Report::from_bundle(&bundle).unwrap();
    assert_eq!(report.totals.queries, 1);
    assert!(report.unreadable.iter().any(|file| file.file.starts_with("plans/001-")), "{report:?}");
}
