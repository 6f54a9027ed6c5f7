//! The statements and stages of a run that belong to no node, while they run.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::SystemTime,
};

use daglight_bundle_report::display;
use daglight_heartbeat::StatementProgress;
use daglight_otel_bridge::{SpanStatus, StageSpan};
use daglight_plan_diagnostics::Polls;
use daglight_run_bundle::clock;
use daglight_run_identity::Code;
use opentelemetry::Context;

use crate::{
    active_polls::poll,
    location::{StatementPlace, shown_location},
    ran_for::RanFor,
    run_core::RunCore,
};

/// Those that run, in the order in which they started.
#[derive(Default)]
pub(crate) struct OpenStatements(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    statements: BTreeMap<u64, Arc<OpenStatement>>,
}

/// One that runs.
pub(crate) struct OpenStatement {
    /// What the program calls the stage, where it says no more of it.
    stage: String,
    /// Where the statement stands.
    pub(crate) place: Option<StatementPlace>,
    ran_for: RanFor,
    /// Those of its code.
    polls: Polls,
    span: Mutex<Option<StageSpan>>,
}

/// A statement is open until this is dropped.
pub(crate) struct StatementGuard<'a> {
    open: &'a OpenStatements,
    core: &'a RunCore,
    id: u64,
    statement: Arc<OpenStatement>,
}

impl OpenStatements {
    pub(crate) fn list(&self) -> Vec<Arc<OpenStatement>> {
        self.lock().statements.values().cloned().collect()
    }

    /// Ends the spans of those that a signal has interrupted and that did not give way: nothing more will be heard of them.
    pub(crate) fn end_interrupted(&self) {
        self.list().iter().for_each(|statement| statement.end_interrupted());
    }

    /// How far the statements and stages are that belong to no node.
    pub(crate) fn in_progress(&self, core: &RunCore) -> Vec<StatementProgress> {
        let open: Vec<_> = {
            let open = self.lock();
            open.statements.iter().map(|(id, statement)| (*id, Arc::clone(statement))).collect()
        };
        // Tasks that their code has spawned are known as those of the run.
        let marks = core.log.records().queries_without_node;
        let progress = |(id, statement): (u64, Arc<OpenStatement>)| StatementProgress {
            id,
            name: statement.name(),
            // A statement is that alone. A stage of a program may be anything.
            holds_nodes: statement.place.is_none(),
            marks,
            polls: statement
                .polls
                .active()
                .into_iter()
                .chain(core.queries.polls.active())
                .map(poll)
                .collect(),
            busy: statement.polls.busy() + core.queries.polls.busy(),
            planning: None,
        };
        open.into_iter().map(progress).collect()
    }

    /// Remembers what runs outside of every node, until the guard is dropped.
    pub(crate) fn opened<'a>(
        &'a self,
        core: &'a RunCore,
        stage: &str,
        code: Option<&Code>,
        span: StageSpan,
    ) -> StatementGuard<'a> {
        let place = code.map(|code| StatementPlace {
            file: shown_location(&code.path, &core.context.policy),
            line: code.first_line,
        });
        let statement = Arc::new(OpenStatement {
            stage: stage.to_owned(),
            place,
            ran_for: RanFor::now(),
            polls: Polls::default(),
            span: Mutex::new(Some(span)),
        });
        let mut open = self.lock();
        let id = open.next;
        open.next += 1;
        open.statements.insert(id, Arc::clone(&statement));
        // Before the guard is made, whose drop takes the same lock.
        drop(open);
        StatementGuard { open: self, core, id, statement }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StatementGuard<'_> {
    /// The context of its span.
    pub(crate) fn context(&self) -> Context {
        self.statement.span().as_ref().map(StageSpan::context).unwrap_or_default()
    }

    /// Does its work: each of its polls is noted.
    pub(crate) async fn follow<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|context| {
            let _polling = self.statement.polls.begin();
            work.as_mut().poll(context)
        })
        .await
    }

    /// Ends it, with what its span is to say.
    #[expect(clippy::disallowed_methods, reason = "a run that nothing has interrupted lasts until now")]
    pub(crate) fn end(self, say: impl FnOnce(&StageSpan)) {
        // Taken first: the guard of a lock in the condition would live for the whole of what follows.
        let span = self.statement.span().take();
        if let Some(span) = span {
            say(&span);
            let ended_at = match self.core.interruption.get() {
                // It went on after the signal, while the process was being stopped. That time is not the
                // statement's.
                Some(_) => self.statement.interrupted_at(&span),
                None => clock::now(),
            };
            span.end_at(ended_at);
        }
    }
}

impl Drop for StatementGuard<'_> {
    fn drop(&mut self) {
        self.open.lock().statements.remove(&self.id);
        // Dropped because the run was stopped, and not by a panic, which says itself what happened.
        if self.core.interruption.get().is_some() && !thread::panicking() {
            self.statement.end_interrupted();
        }
        // What is dropped for another reason before its end, its span says by itself.
        let span = self.statement.span().take();
        drop(span);
    }
}

impl OpenStatement {
    fn interrupted_at(&self, span: &StageSpan) -> SystemTime {
        span.started_at() + self.ran_for.interrupted()
    }

    fn end_interrupted(&self) {
        let span = self.span().take();
        if let Some(span) = span {
            span.finish_as(SpanStatus::Cancelled);
            let ended_at = self.interrupted_at(&span);
            span.end_at(ended_at);
        }
    }

    fn span(&self) -> MutexGuard<'_, Option<StageSpan>> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it did when the signal came, and for how long: "the statement at shop.sql:12 ran (3.2 s)".
    pub(crate) fn describe(&self) -> String {
        format!("{} ran ({})", self.name(), display::elapsed(self.ran_for.interrupted()))
    }

    /// What it is: "the statement at shop.sql:12".
    fn name(&self) -> String {
        match &self.place {
            Some(StatementPlace { file: Some(file), line }) => format!("the statement at {file}:{line}"),
            Some(StatementPlace { file: None, line }) => format!("the statement at line {line}"),
            None => format!("the stage {:?}", self.stage),
        }
    }
}
