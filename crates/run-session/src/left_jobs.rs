//! Jobs of schedulers that a run has left behind, because its process was killed while they went on.

use std::collections::BTreeMap;

use daglight_run_bundle::{Bundle, ClusterTask, ClusterWork, Manifest, PlanBundle, UpdateError, WriteError};

/// Jobs that a dead run has left at a scheduler, of which nobody knows how they ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftJobs {
    /// The scheduler, as `HOST:PORT`. It is as trustworthy as the bundle.
    pub scheduler: String,
    /// The ids of the jobs that are known, in order. There may be others: a job may have been taken at the last moment.
    pub ids: Vec<String>,
}

/// How a job of a dead run has ended, as its scheduler says.
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

/// The jobs that a run has left behind, by scheduler. None of a run that goes on, or has ended by itself.
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

/// Records how the jobs that a run has left at a scheduler have ended, so that nobody asks for them again. A job that is not among
/// `ends` is one that the scheduler does not know.
///
/// # Errors
/// When a plan or the manifest cannot be written.
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
            plans.push((format!("plans/{name}"), plan));
        }
    });
    plans.iter().try_for_each(|(_, plan)| plan.write(bundle))?;
    let paths: Vec<&str> = plans.iter().map(|(path, _)| path.as_str()).collect();
    Ok(Manifest::list_again(bundle, &paths)?)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use daglight_run_bundle::{PlanMetrics, RunStatus};
    use daglight_run_identity::RunId;

    use super::*;

    fn plan(hash: &str, scheduler: Option<&str>, job: Option<&str>, running: Vec<u64>) -> PlanBundle {
        let work = ClusterWork {
            scheduler: scheduler.map(str::to_owned),
            engine_query_id: job.map(str::to_owned),
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
            plan("b", Some("s:1"), Some("j2"), vec![2]),
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
    fn jobs_are_left_by_what_ran_when_the_process_died_until_their_end_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = bundle_of(&dir, |_| {});
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
    }

    #[test]
    fn a_run_that_goes_on_or_has_ended_by_itself_has_left_none() {
        for status in [RunStatus::Running, RunStatus::Success] {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(left_jobs(&bundle_of(&dir, |manifest| manifest.status = status)), []);
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(left_jobs(&bundle_of(&dir, |manifest| manifest.process_ended_at = None)), []);
    }
}
