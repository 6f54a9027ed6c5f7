//! Code that uses runs in ways that they are not meant for: what its author reads.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use daglight_capture_policy::Profile;
use daglight_run_bundle::Bundle;
use daglight_run_identity::{Dag, DagName};
use daglight_run_session::{FinishReport, NodeStatus, ObserveOptions, Run, RunOptions, RunStatus};
use datafusion::prelude::SessionContext;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{dag, telemetry};

/// The warnings that a console would show, each with its code.
#[derive(Debug, Clone, Default)]
struct Console(Arc<Mutex<Vec<String>>>);

impl Console {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Subscriber for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("daglight")
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap().push(format!("{}: {}", line.code, line.message));
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

#[derive(Default)]
struct Line {
    code: String,
    message: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            "warning.code" => self.code = text.trim_matches('"').to_owned(),
            _ => {}
        }
    }
}

async fn work(run: &Run, node: &str) {
    run.node(node, async |_| Ok::<_, String>(())).await.unwrap();
}

/// What is said, on the console and in the report, of a run that is used like this.
async fn used(misuse: impl AsyncFnOnce(&Run)) -> (Vec<String>, FinishReport) {
    let console = Console::default();
    let guard = tracing::subscriber::set_default(console.clone());
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let run = telemetry.start_run(&dag(), RunOptions::new());
    misuse(&run).await;
    let report = run.finish().await;
    drop(guard);
    (console.lines(), report)
}

#[track_caller]
fn check((said, report): (Vec<String>, FinishReport), expected: &[&str]) {
    assert_eq!(said, expected);
    let reported = report.warnings.iter();
    let reported: Vec<String> =
        reported.map(|warning| format!("{}: {}", warning.code.name(), warning.message)).collect();
    assert_eq!(reported, expected);
    assert_eq!(report.status, RunStatus::Success);
}

#[tokio::test]
async fn a_node_that_the_dag_does_not_have() {
    let used = used(async |run| work(run, "order").await).await;
    check(
        used,
        &[
            "node_not_declared: node \"order\" is not a node of the DAG test::orders_v1: it will appear in the trace but \
           not in the tracker",
        ],
    );
}

#[tokio::test]
async fn a_node_that_runs_twice() {
    let again = used(async |run| {
        work(run, "orders").await;
        work(run, "orders").await;
    })
    .await;
    check(again, &["node_repeated: node \"orders\" runs again after it has succeeded: the last time counts"]);
    let inside_itself = used(async |run| {
        run.node("orders", async |_| {
            work(run, "orders").await;
            Ok::<_, String>(())
        })
        .await
        .unwrap();
    })
    .await;
    check(
        inside_itself,
        &["node_repeated: node \"orders\" runs twice at the same time: the one that started last counts"],
    );
}

#[tokio::test]
async fn a_node_inside_another_is_a_node_as_any_other() {
    let used = used(async |run| {
        run.node("orders", async |_| {
            work(run, "late").await;
            Ok::<_, String>(())
        })
        .await
        .unwrap();
    })
    .await;
    let statuses: Vec<NodeStatus> = used.1.nodes.iter().map(|node| node.status).collect();
    assert_eq!(statuses, [NodeStatus::Success, NodeStatus::Success, NodeStatus::NotRun]);
    check(used, &[]);
}

#[tokio::test]
async fn a_run_after_its_end() {
    let console = Console::default();
    let _guard = tracing::subscriber::set_default(console.clone());
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    let report = run.clone().finish().await;
    work(&run, "orders").await;
    work(&run, "orders").await;
    assert_eq!(
        console.lines(),
        ["node_after_run: node \"orders\" runs after the end of its run: nothing of it is recorded"]
    );
    assert_eq!(run.finish().await, report);
}

#[tokio::test]
async fn a_session_that_is_observed_twice() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let observed = telemetry.observe(SessionContext::new(), ObserveOptions::new()).unwrap();
    let sessions = [telemetry.session(SessionContext::new()), SessionContext::clone(&observed)];
    for session in sessions {
        let error = telemetry.observe(session, ObserveOptions::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the session is observed already, so that its queries would not be seen by this call: give `observe` the \
             session that it was made of"
        );
    }
    // Where a run with a DAG is wanted beside, it is the same session.
    let same = telemetry.session(SessionContext::clone(&observed));
    same.sql("SELECT 1 AS one").await.unwrap().collect().await.unwrap();
    assert_eq!(observed.finish().await.unwrap().nodes.len(), 1);
}

#[test]
fn two_runs_of_one_id() {
    let out = tempfile::tempdir().unwrap();
    let run = telemetry(out.path(), Profile::Dev).start_run(&dag(), RunOptions::new());
    // Every run has its own id. Who records without one chooses it, and what is there stays.
    let error = Bundle::create(out.path(), run.id()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().starts_with("cannot create the run bundle "), "{error}");
    assert!(cause.contains("exists"), "{cause}");
    assert_eq!(run.finish_blocking().status, RunStatus::Success);
}

#[test]
fn names_that_are_not_valid() {
    let name = |name: &str| DagName::try_from(name).unwrap_err().to_string();
    assert_eq!(name(""), "a DAG name cannot be empty: write one such as sales::daily_orders_v1");
    assert!(
        name(&"a".repeat(500)).starts_with("DAG name \"aaa")
            && name(&"a".repeat(500)).contains("500 characters")
    );
    assert_eq!(name("a\nb"), "DAG name \"a\\nb\" contains a control character");
    assert!(name("orders_2026-11-27").starts_with("DAG name \"orders_2026-11-27\" contains"));
    let dag = || Dag::builder("test::d_v1").unwrap().loader("orders");
    let refused = [
        dag().loader("").build(),
        dag().loader("orders").build(),
        dag().transform("late", ["order"]).build(),
        dag().transform("late", ["risk"]).transform("risk", ["late"]).build(),
    ];
    let said = refused.map(|refused| refused.unwrap_err().to_string());
    assert_eq!(
        said,
        [
            "a data_loader has no name",
            "two nodes are called \"orders\": names must be unique in a DAG",
            "node \"late\" depends on \"order\", which is not a node of this DAG",
            "nodes depend on each other in a circle: late -> risk -> late",
        ]
    );
}
