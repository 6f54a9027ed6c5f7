//! Spans of the stages and tasks of a query on machines that make none themselves, of what their scheduler has said of them.

use std::{
    cmp::Reverse,
    time::{Duration, SystemTime},
};

use daglight_otel_bridge::{
    SpanStatus,
    names::{self, Key},
};
use daglight_plan_diagnostics::MeasuredQuery;
use daglight_run_bundle::{ClusterStage, ClusterTask};
use opentelemetry::Context;

use crate::run_context::RunContext;

/// Tasks of a stage that have spans: those that took longest.
const MAX_TASKS: usize = 100;

/// Shows the stages below the span of their query, and below them their tasks, except those whose workers do it.
pub(crate) fn show_reported_tasks(
    run: &RunContext,
    query: &Context,
    node: Option<&str>,
    report: &MeasuredQuery,
) {
    let of = Of { run, node, report };
    let reported = report.cluster.iter().filter(|work| work.is_reported());
    reported.flat_map(|work| &work.stages).for_each(|stage| of.show_stage(query, stage));
}

/// Whose stages they are.
struct Of<'r> {
    run: &'r RunContext,
    node: Option<&'r str>,
    report: &'r MeasuredQuery,
}

impl Of<'_> {
    fn show_stage(&self, query: &Context, stage: &ClusterStage) {
        let starts = stage.tasks.iter().filter_map(|task| task.started_ms.or(task.sent_ms));
        // Of tasks without their times, it is only known that they ran.
        let started = self.at(starts.min_by(f64::total_cmp), self.report.started_at);
        let is_open = stage.tasks.iter().any(|task| task.ended_ms.is_none());
        let ends = stage.tasks.iter().filter_map(|task| task.ended_ms).max_by(f64::total_cmp);
        let ended = self.at(ends.filter(|_| !is_open), self.report.ended_at());
        let span = self.run.signals.span(names::span::CLUSTER_STAGE).parent(query).stage("execute");
        let span = self.node.into_iter().fold(span, |span, node| span.node(node));
        let span = span
            .attribute(Key::QueryId, self.report.query.id)
            .attribute(Key::ClusterStage, stage.stage)
            .start_at(started)
            .past()
            .start();
        // The spans of its tasks may all be those of executors.
        let left_out = stage.left_out.as_ref();
        let all = left_out.map_or(0, |left_out| left_out.tasks).saturating_add(stage.tasks.len() as u64);
        span.set(Key::ClusterTasks, all);
        let rows =
            stage.tasks.iter().filter_map(|task| task.rows).chain(left_out.map(|left_out| left_out.rows));
        if let Some(rows) = rows.reduce(u64::saturating_add) {
            span.set(Key::RowCount, rows);
        }
        let mut tasks: Vec<&ClusterTask> = stage.tasks.iter().filter(|task| !task.has_own_span).collect();
        tasks.sort_by_key(|task| Reverse(took(task)));
        tasks.truncate(MAX_TASKS);
        tasks.sort_by_key(|task| task.task);
        tasks.into_iter().for_each(|task| self.show_task(&span.context(), stage.stage, task));
        span.end_at(ended);
    }

    fn show_task(&self, below: &Context, stage: u64, task: &ClusterTask) {
        let started = self.at(task.started_ms.or(task.sent_ms), self.report.started_at);
        let span = self.run.signals.span(names::span::CLUSTER_TASK).parent(below).stage("execute");
        let span = self.node.into_iter().fold(span, |span, node| span.node(node));
        let span = span
            .attribute(Key::QueryId, self.report.query.id)
            .attribute(Key::ClusterStage, stage)
            .attribute(Key::ClusterTask, task.task)
            .start_at(started)
            .past()
            .start();
        if let Some(rows) = task.rows {
            span.set(Key::RowCount, rows);
        }
        match task.outcome.as_deref() {
            Some(ClusterTask::COMPLETED) => {}
            Some(ClusterTask::LOST | ClusterTask::FAILED) => {
                let why = self.run.policy.capture("the scheduler says that the task failed");
                span.fail("task", &why);
            }
            _ => span.finish_as(SpanStatus::Cancelled),
        }
        span.end_at(self.at(task.ended_ms, self.report.ended_at()));
    }

    /// The moment of the query, whose clock is the scheduler's and the executors', within the time that it took here.
    fn at(&self, since_ms: Option<f64>, or: SystemTime) -> SystemTime {
        let at = since_ms.map_or(or, |ms| self.report.started_at + milliseconds(ms));
        at.clamp(self.report.started_at, self.report.ended_at().max(self.report.started_at))
    }
}

fn took(task: &ClusterTask) -> Duration {
    let took = task.ended_ms.zip(task.started_ms).map(|(ended, started)| ended - started);
    // Without an end, it took as long as it could.
    took.map_or(Duration::MAX, milliseconds)
}

fn milliseconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}
