//! The end of a run, step by step.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use daglight_bundle_report::{Report, ReportOptions, job_left};
use daglight_run_bundle::{
    ArtifactCatalog, Bundle, Delivery, FileEntry, RunProgress, Warning, WarningCode, clock,
};
use daglight_tracker_client::{Event, Outcome};

use crate::{
    beats,
    delivery_warnings::{say_what_the_tracker_lacks, say_what_waits, say_what_was_lost},
    finish_facts::{EndFacts, ending_so_far, report_of, shown},
    finish_report::{FinishReport, ReportPaths},
    flush::{Flushed, flush},
    given_up_jobs::GivenUpJob,
    lineage::RunLineage,
    log::{field, log},
    manifest_file::{replace_manifest, write_last_manifest, write_manifest},
    node_run::NodeRun,
    own_time::Own,
    run_state::RunState,
    run_tags::late_tags,
    stalls,
};

/// How long the end of a run waits for dropped queries to say how they ended.
const DROPPED_QUERIES_LIMIT: Duration = Duration::from_millis(250);

/// How long it waits for the plans of queries to be written.
const PLANS_LIMIT: Duration = Duration::from_secs(2);

/// Ends a run, in bounded time. Called once for each run.
#[expect(clippy::disallowed_methods, reason = "a run has the time at which it ends")]
pub(crate) fn finish(state: &Arc<RunState>) -> FinishReport {
    // One time for all: the root span, the tracker, the manifest and the stalls say the same end, however long the end
    // itself takes.
    let ended_at = clock::utc_now();
    let delivering = state.own_time.measure(Own::Delivery);
    // Before the heart is stopped, which is how nobody would know.
    if let Some(silence) = state.beats.silence(&state.context, Duration::ZERO) {
        state.log.warn(silence.code, silence.message);
    }
    let heartbeat = state.beats.take();
    // First of all: a beat in the middle of the end would show a run that goes on, and take the locks that the end
    // needs.
    if let Some(heartbeat) = heartbeat {
        heartbeat.stop();
    }
    let last_beat = state.beats.last.shown().map(|(_, beat)| beat);
    stalls::close(state, ended_at);
    // Nodes whose code is still held somewhere: nothing more will be heard of them.
    state.nodes.list().iter().for_each(|node| NodeRun::end_with_the_run(state, node));
    if state.core.interruption.get().is_some() {
        state.statements.end_interrupted();
    }
    // A query with several partitions that is dropped ends on the threads of the runtime, after the drop has
    // returned: DataFusion aborts its tasks, and a task stops at its next `await`. A blocking function may take
    // seconds for that, hence the limit.
    state.complete_open_nodes(DROPPED_QUERIES_LIMIT);
    // Before the files of plans are complete: they say which jobs may go on.
    let jobs = unconfirmed_jobs(state);
    // Before the spans are flushed: this makes the spans of the last operators.
    end_plans(state);
    beats::measure_the_end(state, last_beat.as_ref());
    say_what_has_no_run(state);
    state.core.check_registry();
    say_how_it_ended(state);
    state.log.has_lost_bundle();
    let late_tags = late_tags(state);
    state.log.records().late_tags.clone_from(&late_tags);
    if let Some(tracker) = &state.context.tracker {
        // Asked only now: a query that ended late, and the registry of outputs, can still fail the run.
        let succeeded = state.log.records().failure().is_none();
        if !late_tags.is_empty() {
            tracker.record(&Event::TagsUpserted { tags: late_tags, time: ended_at });
        }
        tracker.record(&Event::RunFinished {
            status: if succeeded { Outcome::Success } else { Outcome::Failure },
            time: ended_at,
        });
    }
    if let Some(lineage) = &state.context.lineage {
        let (failure, interrupted) = {
            let records = state.log.records();
            (records.failure().cloned(), records.is_interrupted())
        };
        lineage.run_ended(&state.log, ended_at, failure, interrupted);
    }
    // Whatever becomes of the process while it waits for servers, its bundle says how the run ended.
    // On a full disk the last manifest has its own space, and says what is missing.
    let _ = replace_manifest(state, Some(&ending_so_far(state, ended_at)), FileEntry::list);

    let Flushed { tracker, signals } = flush(state, SystemTime::from(ended_at));
    let lineage = state.context.lineage.as_ref();
    let of_lineage = lineage.map(RunLineage::accounts).unwrap_or_default();
    let receiver = lineage.map(RunLineage::receiver).unwrap_or_default();
    // Counted after the flush, when nothing is on its way any more: the sums add up only then.
    let mut delivery = Delivery {
        // The answers of servers may repeat what was sent to them.
        tracker: tracker.map(|ledger| shown(state, ledger)),
        signals: signals.accounts().into_iter().chain(of_lineage).collect(),
    };
    if state.log.has_lost_bundle() {
        delivery.lose_bundle("with the folder of the bundle");
    }
    drop(delivering);
    say_what_was_lost(state, &signals);
    // Behind the flush, as everything that a synchronisation resolves: the log of the run keeps saying it.
    say_which_jobs_go_on(state, jobs);
    if let Some(ledger) = &delivery.tracker {
        say_what_the_tracker_lacks(state, ledger);
    }
    delivery.signals.iter().for_each(|account| say_what_waits(state, receiver, account));
    let ending = EndFacts { ended_at, delivery };
    // Behind the flush, because the manifest has the counts of what was delivered.
    let report = write_files(state, &ending);
    report_of(state, &ending, report)
}

/// Before the signals are flushed: the operators of the last queries have spans.
fn end_plans(state: &RunState) {
    match state.core.plans.stop(PLANS_LIMIT) {
        Some(0) => {}
        Some(left_out) => {
            let (events, were) = if left_out == 1 { ("event", "was") } else { ("events", "were") };
            state.log.warn(
                WarningCode::PlansDropped,
                format!(
                    "{left_out} query {events} {were} dropped from the plan files because writing could not keep up"
                ),
            );
        }
        None => state.log.bundle_failed(Warning::new(
            WarningCode::PlansNotWritten,
            format!(
                "some plans of queries are not in the bundle: they were not written within {} s",
                PLANS_LIMIT.as_secs()
            ),
        )),
    }
}

/// Jobs that were given up, and whose scheduler does not confirm that they are cancelled.
fn unconfirmed_jobs(state: &RunState) -> Vec<GivenUpJob> {
    let progress = &state.ending.progress;
    // A process that leaves its work behind does not cancel anything any more.
    let is_enough = || progress.is_without_servers() || progress.is_beside_the_work();
    state.core.queries.given_up_jobs.unconfirmed(is_enough)
}

fn say_which_jobs_go_on(state: &RunState, jobs: Vec<GivenUpJob>) {
    let dir = state.context.bundle.as_ref().map(Bundle::dir);
    for GivenUpJob { scheduler, id } in jobs {
        state.log.warn(WarningCode::JobLeft, job_left(&scheduler, id.as_deref(), dir));
    }
}

/// Queries that were seen, and that nothing says which of several runs they belong to.
fn say_what_has_no_run(state: &RunState) {
    let queries = state.log.records().queries_without_run;
    if queries > 0 {
        let queries = if queries == 1 { "1 query".to_owned() } else { format!("{queries} queries") };
        state.log.warn(
            WarningCode::QueriesUnassigned,
            format!(
                "{queries} ran while several runs were open and could not be assigned to one: \
                 start such queries with node.spawn, or in node.context() or run.context()"
            ),
        );
    }
}

fn say_how_it_ended(state: &RunState) {
    let failure = state.log.records().failure().cloned();
    let _guard = state.context.root.context.clone().attach();
    match failure {
        None => log!(INFO, "run succeeded", run_id = field(state.context.run_id)),
        Some(reason) => {
            state.context.root.fail("RunFailed", &reason);
            log!(ERROR, "run failed", run_id = field(state.context.run_id), reason = field(&reason));
        }
    }
}

/// Manifest, artifacts and report. The manifest comes before the report, which reads it, and again after it, to list
/// the report's files.
fn write_files(state: &RunState, ending: &EndFacts) -> Option<ReportPaths> {
    // A folder that has gone takes no file.
    let bundle = state.context.bundle.as_ref().filter(|_| !state.log.has_lost_bundle())?;
    let reporting = state.own_time.measure(Own::Report);
    // On a full disk there is space for the manifest now, and perhaps for nothing else.
    drop(state.ending.reserve().take());
    write_manifest(state, Some(ending));
    let artifacts = state.log.records().artifacts.clone();
    if !artifacts.is_empty()
        && let Err(error) = ArtifactCatalog::new(artifacts).write(bundle)
    {
        state.log.bundle_error(&error);
    } else if *state.ending.is_recorded() {
        // The manifest and the catalog have it. One that stays is not read any more.
        let _ = RunProgress::remove(bundle);
    }
    let options = ReportOptions::default().thresholds(state.context.settings().findings.clone());
    let not_written = |error: &(dyn Error + 'static)| {
        let warning = Warning::of_error(WarningCode::ReportNotWritten, error);
        Warning { message: format!("no report: {}", warning.message), ..warning }
    };
    let written = Report::made(bundle, &options, |_| ())
        .map_err(|error| not_written(&error))
        .and_then(|report| report.write(bundle).map_err(|error| not_written(&error)));
    match written {
        Ok(()) => {
            drop(reporting);
            write_last_manifest(state, ending);
            Some(ReportPaths {
                json: bundle.report_json(),
                markdown: bundle.report_markdown(),
                html: bundle.report_html(),
            })
        }
        Err(error) => {
            state.log.bundle_failed(error);
            drop(reporting);
            write_last_manifest(state, ending);
            None
        }
    }
}
