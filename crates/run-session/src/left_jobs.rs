//! Jobs of schedulers that a run has left behind: its process was killed while they were running, or their scheduler did not confirm that they
//! were cancelled.

use std::collections::BTreeMap;

use daglight_bundle_report::{Report, ReportError};
use daglight_run_bundle::{
    Bundle, ClusterTask, ClusterWork, Manifest, PlanBundle, UpdateError, WarningCode, WriteError,
};

/// Jobs that a run has left at a scheduler, of which nobody knows how they ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftJobs {
    /// The scheduler, as `HOST:PORT`. It is as trustworthy as the bundle.
    pub scheduler: String,
    /// The ids of the jobs that are known, in order. There may be others: a job may have been taken at the last moment.
    pub ids: Vec<String>,
}

/// How a job that a run has left has ended, as its scheduler says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftJobEnd {
    /// It was cancelled when the scheduler was asked.
    Cancelled,
    /// It had come to its end.
    Completed,
    /// It had failed.
    Failed,
    /// The scheduler does not know it.
    Unknown,
}

/// Why the ends of jobs were not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeftJobsError {
    /// A plan cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The manifest cannot be replaced.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The report cannot be made again.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl LeftJobEnd {
    const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => ClusterTask::CANCELLED,
            Self::Completed => ClusterTask::COMPLETED,
            Self::Failed => ClusterTask::FAILED,
            Self::Unknown => ClusterWork::UNKNOWN,
        }
    }
}

/// The jobs that a run has left behind, by scheduler. None of a run that goes on.
pub fn left_jobs(bundle: &Bundle) -> Vec<LeftJobs> {
    if !Manifest::read(bundle).is_ok_and(|manifest| manifest.may_have_left_jobs()) {
        return Vec::new();
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    PlanBundle::read_all(bundle, |_, plan| {
        if let Some(job) = plan.left_job() {
            found.entry(job.scheduler.to_owned()).or_default().extend(job.id.map(str::to_owned));
        }
    });
    let jobs = found.into_iter().map(|(scheduler, mut ids)| {
        ids.sort();
        ids.dedup();
        LeftJobs { scheduler, ids }
    });
    jobs.collect()
}

/// Records how the jobs that a run has left at a scheduler have ended, so that nobody asks for them again and no warning names them any more.
/// A job that is not among `ends` is one that the scheduler does not know.
///
/// # Errors
/// When a plan, the manifest or the report cannot be written.
pub fn record_left_jobs(
    bundle: &Bundle,
    scheduler: &str,
    ends: &BTreeMap<String, LeftJobEnd>,
) -> Result<(), LeftJobsError> {
    let mut plans = Vec::new();
    PlanBundle::read_all(bundle, |name, mut plan| {
        if plan.left_job().is_none_or(|job| job.scheduler != scheduler) {
            return;
        }
        if let Some(work) = &mut plan.metrics.cluster {
            let end = work.engine_query_id.as_ref().and_then(|id| ends.get(id));
            work.job_end = Some(end.copied().unwrap_or(LeftJobEnd::Unknown).name().to_owned());
            work.job_open = false;
            plans.push((format!("plans/{name}"), plan));
        }
    });
    plans.iter().try_for_each(|(_, plan)| plan.write(bundle))?;
    let paths: Vec<&str> = plans.iter().map(|(path, _)| path.as_str()).collect();
    Manifest::list_again(bundle, &paths)?;
    let is_of_jobs = |code: &WarningCode| *code == WarningCode::JobLeft;
    if left_jobs(bundle).is_empty()
        && Manifest::read(bundle)
            .is_ok_and(|manifest| manifest.warnings.iter().any(|warning| is_of_jobs(&warning.code)))
    {
        Manifest::update(bundle, |manifest| manifest.warnings.retain(|warning| !is_of_jobs(&warning.code)))?;
    }
    Ok(Report::from_bundle(bundle)?.write(bundle)?)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use daglight_run_bundle::{PlanMetrics, RunStatus, Warning};
    use daglight_run_identity::RunId;

    use super::*;

    fn plan(hash: &str, scheduler: Option<&str>, job: Option<&str>, running: Vec<u64>) -> PlanBundle {
        let work = ClusterWork {
            scheduler: scheduler.map(str::to_owned),
            engine_query_id: job.map(str::to_owned),
            // Given up, and not confirmed.
            job_open: hash == "b",
            ..ClusterWork::default()
        };
        PlanBundle {
            query_id: "1".to_owned(),
            plan_hash: Some(format!("{hash:0>16}")),
            running,
            metrics: PlanMetrics { cluster: Some(work), ..PlanMetrics::default() },
            ..PlanBundle::default()
        }
    }

    fn bundle_of(dir: &tempfile::TempDir, change: impl FnOnce(&mut Manifest)) -> Bundle {
        let bundle = Bundle::create(dir.path(), RunId::new()).unwrap();
        let at = DateTime::<Utc>::UNIX_EPOCH;
        let mut manifest = Manifest::of_start(RunId::new(), "d", at);
        (manifest.status, manifest.ended_at) = (RunStatus::Failure, Some(at));
        manifest.process_ended_at = Some(at);
        change(&mut manifest);
        manifest.write(&bundle).unwrap();
        for plan in [
            plan("a", Some("s:1"), Some("j1"), vec![1]),
            plan("b", Some("s:1"), Some("j2"), vec![]),
            // It has not been taken yet, as far as anybody knows.
            plan("c", Some("s:1"), None, vec![3]),
            plan("d", Some("t:1"), Some("j\u{1b}"), vec![4]),
            plan("e", Some("s:1"), Some("ended"), vec![]),
            plan("f", None, Some("of-workers"), vec![5]),
        ] {
            plan.write(&bundle).unwrap();
        }
        bundle
    }

    #[test]
    fn jobs_are_left_by_queries_that_ran_or_were_given_up_until_their_end_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let codes = [WarningCode::JobLeft, WarningCode::Program];
        let bundle = bundle_of(&dir, |manifest| {
            manifest.warnings = codes.clone().map(|code| Warning::new(code, "said")).to_vec();
        });
        let warned = || -> Vec<WarningCode> {
            let manifest = Manifest::read(&bundle).unwrap();
            manifest.warnings.into_iter().map(|warning| warning.code).collect()
        };
        let left = |scheduler: &str, ids: &[&str]| LeftJobs {
            scheduler: scheduler.to_owned(),
            ids: ids.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(left_jobs(&bundle), [left("s:1", &["j1", "j2"]), left("t:1", &[])]);
        record_left_jobs(&bundle, "s:1", &[("j1".to_owned(), LeftJobEnd::Cancelled)].into()).unwrap();
        assert_eq!(left_jobs(&bundle), [left("t:1", &[])]);
        let end = |hash: &str| {
            let plan = PlanBundle::read_one(&bundle, None, &format!("{hash:0>16}")).unwrap();
            plan.metrics.cluster.unwrap().job_end
        };
        assert_eq!((end("a").as_deref(), end("b").as_deref()), (Some("cancelled"), Some("unknown")));
        assert_eq!((end("d"), end("e")), (None, None));
        assert_eq!(warned(), codes);
        record_left_jobs(&bundle, "t:1", &BTreeMap::new()).unwrap();
        assert_eq!((left_jobs(&bundle), warned()), (Vec::new(), vec![WarningCode::Program]));
    }

    #[test]
    fn a_run_that_goes_on_has_left_none_and_one_that_has_ended_by_itself_may_have() {
        let of_status = |status| {
            let dir = tempfile::tempdir().unwrap();
            left_jobs(&bundle_of(&dir, |manifest| {
                (manifest.status, manifest.process_ended_at) = (status, None);
            }))
            .len()
        };
        let statuses = [RunStatus::Running, RunStatus::Success, RunStatus::Failure, RunStatus::Interrupted];
        assert_eq!(statuses.map(of_status), [0, 2, 2, 2]);
    }
}
