//! What a run tells OpenLineage: its own start and end, and those of its nodes, with what they have read and written.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, NaiveDate, Utc};
use daglight_capture_policy::{Captured, Policy};
use daglight_materializers::{Written, name_of_files};
use daglight_openlineage::{
    DatasetName, Ending, ErrorFacts, LineageRun, NominalTime, ParentRun, RunFacts, SourceLocation,
};
use daglight_plan_diagnostics::SourceTable;
use daglight_run_bundle::{Bundle, SignalLedger, WriteError};
use daglight_run_identity::{DagName, GitFacts, RunId};
use datafusion::{DATAFUSION_VERSION, arrow::datatypes::SchemaRef, datasource::listing::ListingTableUrl};
use percent_encoding::percent_decode_str;

use crate::{lineage_setup::LineageSetup, options::RunOptions, run_log::RunLog, shared::Shared};

mod nodes;

/// The tags of a run that say the time it is for.
const NOMINAL_TIME: &str = "nominal_time";
const NOMINAL_END_TIME: &str = "nominal_end_time";

/// The events of one run.
pub(crate) struct RunLineage {
    run: LineageRun,
    policy: Policy,
    dag: String,
    /// Where the code lies, as far as a checkout is known.
    checkout: Option<PathBuf>,
    /// The outputs of nodes that have not ended, by node and name.
    outputs: Mutex<BTreeMap<(String, String), NotedOutput>>,
}

/// What is known of an output beside its artifact, which says it only as far as it may be shown.
#[derive(Clone)]
struct NotedOutput {
    location: Option<String>,
    schema: SchemaRef,
}

impl RunLineage {
    /// Starts recording. What cannot be read of the tags goes into `warnings`.
    pub(crate) fn start(
        shared: &Shared,
        setup: &LineageSetup,
        bundle: &Bundle,
        (dag, run_id, git): (&DagName, RunId, &GitFacts),
        options: &RunOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Self, WriteError> {
        let (settings, policy) = (&shared.settings, &shared.policy);
        let shown = |text: &Option<String>| text.as_deref().map(|text| policy.redactor().text(text));
        let shown_run = |run: &Option<ParentRun>| {
            let shown = |text: &str| policy.redactor().text(text);
            let run = run.as_ref()?;
            Some(ParentRun { namespace: shown(&run.namespace), job: shown(&run.job), run_id: run.run_id })
        };
        let source = shown(&git.repo).map(|repo| SourceLocation {
            repo,
            commit: shown(&git.commit),
            branch: shown(&git.branch),
        });
        let tag = |name: &str| options.tags.get(name).or_else(|| settings.tags.get(name));
        let mut time = |name: &str| {
            let text = tag(name)?;
            let read = instant(text);
            if read.is_none() {
                warnings.push(format!(
                    "the tag {name} is not a time: expected one such as 2026-11-25T00:00:00Z, or a date"
                ));
            }
            read
        };
        let (start, end) = (time(NOMINAL_TIME), time(NOMINAL_END_TIME));
        let facts = RunFacts {
            run_id,
            dag: dag.to_string(),
            namespace: policy.redactor().text(&settings.openlineage.namespace),
            parent: shown_run(&setup.parent),
            root: shown_run(&setup.root),
            nominal_time: start.map(|start| NominalTime { start, end }),
            engine_version: DATAFUSION_VERSION.to_owned(),
            source,
            owner: settings.team.as_deref().map(|team| policy.capture(team)),
        };
        Ok(Self {
            run: LineageRun::start(bundle, facts, setup.target.clone())?,
            policy: policy.clone(),
            dag: dag.to_string(),
            checkout: checkout(options.source_dir.as_deref()),
            outputs: Mutex::default(),
        })
    }

    pub(crate) fn run_started(&self, log: &RunLog, time: DateTime<Utc>) {
        said(log, self.run.run_started(time));
    }

    /// The run goes on, for so long by now.
    pub(crate) fn run_goes_on(&self, log: &RunLog, started_at: DateTime<Utc>, elapsed: Duration) {
        said(log, self.run.run_goes_on(started_at + elapsed, elapsed));
    }

    pub(crate) fn run_ended(
        &self,
        log: &RunLog,
        time: DateTime<Utc>,
        failure: Option<Captured>,
        interrupted: bool,
    ) {
        said(log, self.run.run_ended(time, &ending(failure, None, interrupted)));
    }

    /// A node has written something.
    pub(crate) fn written(&self, node: &str, written: &Written) {
        let noted = NotedOutput { location: written.location.clone(), schema: Arc::clone(&written.schema) };
        self.outputs().insert((node.to_owned(), written.name.clone()), noted);
    }

    /// The dataset that a node has written under that name.
    pub(crate) fn output(&self, node: &str, name: &str) -> DatasetName {
        match self.noted(node, name).and_then(|noted| noted.location) {
            Some(location) => self.at(&location).unwrap_or_else(|| self.of_dag(name)),
            None => self.table(name),
        }
    }

    /// The columns of what a node has written under that name.
    pub(crate) fn output_schema(&self, node: &str, name: &str) -> Option<SchemaRef> {
        self.noted(node, name).map(|noted| noted.schema)
    }

    fn noted(&self, node: &str, name: &str) -> Option<NotedOutput> {
        self.outputs().get(&(node.to_owned(), name.to_owned())).cloned()
    }

    /// The datasets that a table is made of: none for what a function makes.
    pub(crate) fn datasets_of(&self, table: &SourceTable) -> Vec<DatasetName> {
        let places: Vec<_> = table.locations.iter().filter_map(|url| self.at_url(url)).collect();
        if !places.is_empty() {
            return places;
        }
        // The policy shows no place, or there is none.
        let is_at =
            |location: &String| ListingTableUrl::parse(&table.name).is_ok_and(|url| url.as_str() == location);
        match table.locations.first() {
            None if table.is_of_function => Vec::new(),
            // Read by its place: called as the output is that has written it.
            Some(location) if is_at(location) => vec![self.of_dag(&name_of_files(&table.name))],
            _ => vec![self.table(&table.name)],
        }
    }

    /// The dataset at the URL of a table. `None` where the policy does not show it. The engine writes blanks, and letters that are not
    /// ASCII, as percent signs and digits; what is written is called as the statement calls it.
    pub(crate) fn at_url(&self, url: &str) -> Option<DatasetName> {
        self.at(&percent_decode_str(url).decode_utf8_lossy())
    }

    /// The dataset at a place. `None` where the policy does not show it.
    #[expect(
        clippy::disallowed_methods,
        reason = "a relative location is one below the folder that the process works in"
    )]
    pub(crate) fn at(&self, location: &str) -> Option<DatasetName> {
        let whole = match location.contains("://") {
            true => location.to_owned(),
            // Other systems know no working directory.
            false => std::env::current_dir().ok()?.join(location).to_string_lossy().into_owned(),
        };
        DatasetName::of_location(&self.policy.capture_path(&whole)?.to_text())
    }

    /// A table that is known in this DAG alone.
    pub(crate) fn table(&self, name: &str) -> DatasetName {
        let begin = ["datafusion.public.", "public."].into_iter().find_map(|begin| name.strip_prefix(begin));
        self.of_dag(begin.unwrap_or(name).trim_matches('"'))
    }

    fn of_dag(&self, name: &str) -> DatasetName {
        DatasetName::of_dag(self.run.namespace(), &self.dag, &self.policy.capture_name(name).to_text())
    }

    pub(crate) fn flush(&self, timeout: Duration) {
        self.run.flush(timeout);
    }

    /// The destination of the events, as it may be shown.
    pub(crate) fn receiver(&self) -> &str {
        self.run.target()
    }

    /// The counts, as they may be shown.
    pub(crate) fn accounts(&self) -> Vec<SignalLedger> {
        let mut accounts = self.run.accounts();
        for account in &mut accounts {
            let error = account.ledger.last_error.take();
            account.ledger.last_error = error.map(|error| self.policy.redactor().text(&error));
        }
        accounts
    }

    fn outputs(&self) -> MutexGuard<'_, BTreeMap<(String, String), NotedOutput>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ending(failure: Option<Captured>, stack: Option<Captured>, interrupted: bool) -> Ending {
    match failure {
        None => Ending::Complete,
        Some(message) if interrupted => Ending::Abort(ErrorFacts { message, stack }),
        Some(message) => Ending::Fail(ErrorFacts { message, stack }),
    }
}

/// One cause is one warning: the file lies on the disk on which all of the bundle does.
fn said(log: &RunLog, written: Result<(), WriteError>) {
    if let Err(error) = written {
        log.bundle_error(&error);
    }
}

/// The root of the checkout that a folder is in.
#[expect(
    clippy::disallowed_methods,
    reason = "the checkout is that of the folder in which the process works"
)]
fn checkout(source_dir: Option<&Path>) -> Option<PathBuf> {
    let dir = source_dir.map(Path::to_owned).or_else(|| std::env::current_dir().ok())?;
    let dir = std::path::absolute(dir).ok()?;
    dir.ancestors().find(|dir| dir.join(".git").exists()).map(Path::to_owned)
}

/// A time with its zone, or a date, which is its beginning in UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    time.ok().or_else(|| Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_zone_or_is_a_date() {
        let shown = |text: &str| instant(text).map(|time| time.to_rfc3339());
        assert_eq!(shown("2026-11-25").as_deref(), Some("2026-11-25T00:00:00+00:00"));
        assert_eq!(shown("2026-11-25T01:00:00+01:00").as_deref(), Some("2026-11-25T00:00:00+00:00"));
        assert_eq!((shown("2026-11-25T00:00:00"), shown("yesterday")), (None, None));
    }
}
