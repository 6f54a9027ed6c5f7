//! The statements and stages of a run that belong to no node, while they run.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use daglight_bundle_report::display;
use daglight_run_identity::Code;

use crate::{location::shown_location, run_state::RunState};

/// Those that run, in the order in which they started.
#[derive(Default)]
pub(crate) struct OpenStatements(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    statements: BTreeMap<u64, OpenStatement>,
}

/// One that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenStatement {
    /// What the program calls the stage, where it says no more of it.
    stage: String,
    /// Where the statement stands.
    pub(crate) place: Option<StatementPlace>,
    started: Instant,
}

/// Where a statement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatementPlace {
    /// The file, as far as the policy shows it.
    pub(crate) file: Option<String>,
    /// Its first line, from 1.
    pub(crate) line: usize,
}

/// A statement is open until this is dropped.
pub(crate) struct StatementGuard<'a> {
    open: &'a OpenStatements,
    id: u64,
}

impl OpenStatements {
    pub(crate) fn list(&self) -> Vec<OpenStatement> {
        self.lock().statements.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StatementGuard<'_> {
    fn drop(&mut self) {
        self.open.lock().statements.remove(&self.id);
    }
}

impl OpenStatement {
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What it did, and for how long: "the statement at shop.sql:12 ran (3.2 s)".
    pub(crate) fn describe(&self) -> String {
        let elapsed = display::elapsed(self.elapsed());
        match &self.place {
            Some(StatementPlace { file: Some(file), line }) => {
                format!("the statement at {file}:{line} ran ({elapsed})")
            }
            Some(StatementPlace { file: None, line }) => {
                format!("the statement at line {line} ran ({elapsed})")
            }
            None => format!("the stage {:?} ran ({elapsed})", self.stage),
        }
    }
}

impl RunState {
    /// Remembers what runs outside of every node, until the guard is dropped.
    pub(crate) fn statement_opened(&self, stage: &str, code: Option<&Code>) -> StatementGuard<'_> {
        let place = code.map(|code| StatementPlace {
            file: shown_location(&code.path, &self.context.policy),
            line: code.first_line,
        });
        let mut open = self.open_statements.lock();
        let id = open.next;
        open.next += 1;
        let statement = OpenStatement { stage: stage.to_owned(), place, started: Instant::now() };
        open.statements.insert(id, statement);
        StatementGuard { open: &self.open_statements, id }
    }
}
