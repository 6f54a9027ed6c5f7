//! Jobs of schedulers that a run has left behind: its process was killed while they were running, or their scheduler did not confirm that they
//! were cancelled.

use crate::{
    manifest::{Manifest, RunStatus},
    plan_bundle::PlanBundle,
    plan_cluster::ClusterWork,
};

/// The maximum number of characters of an id or an address. Longer ones are rejected, because anybody may have made the file.
const MAX_NAME: usize = 253;

/// A job that may still be running at its scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftJob<'p> {
    /// The scheduler, as `HOST:PORT`. It is as trustworthy as the bundle.
    pub scheduler: &'p str,
    /// The id of the job; `None` if the scheduler had perhaps not taken it yet.
    pub id: Option<&'p str>,
}

impl Manifest {
    /// Whether the open jobs of the plans are jobs that the run has left behind: while it goes on, it may still cancel them.
    pub fn may_have_left_jobs(&self) -> bool {
        self.status != RunStatus::Running
    }
}

impl PlanBundle {
    /// The job of the query, if it is [open](ClusterWork::job_open) or the query was running, and the end of the job is not recorded. It is
    /// left behind if the run [may have left some](Manifest::may_have_left_jobs).
    pub fn left_job(&self) -> Option<LeftJob<'_>> {
        let work = self.metrics.cluster.as_ref()?;
        let is_open = work.job_open || !self.running.is_empty();
        work.job().filter(|_| is_open && work.job_end.is_none())
    }
}

impl ClusterWork {
    /// The job of the query at its scheduler, as far as its names can be shown; `None` for an engine without a scheduler.
    pub fn job(&self) -> Option<LeftJob<'_>> {
        let scheduler = self.scheduler.as_deref().filter(|scheduler| is_plain(scheduler, ".:[]-_"))?;
        Some(LeftJob { scheduler, id: self.engine_query_id.as_deref().filter(|id| is_plain(id, "-_")) })
    }
}

/// It may become a part of a command that somebody copies.
fn is_plain(text: &str, others: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlanMetrics;

    #[test]
    fn a_job_is_left_while_it_is_open_or_its_query_was_running_until_its_end_is_recorded() {
        let is_left = |job_open, running: &[u64], job_end: Option<&str>| {
            let work = ClusterWork {
                scheduler: Some("h:1".to_owned()),
                job_open,
                job_end: job_end.map(str::to_owned),
                ..ClusterWork::default()
            };
            let metrics = PlanMetrics { cluster: Some(work), ..PlanMetrics::default() };
            let plan = PlanBundle { running: running.to_vec(), metrics, ..PlanBundle::default() };
            plan.left_job().is_some()
        };
        assert!(is_left(true, &[], None) && is_left(false, &[1], None) && is_left(true, &[1], None));
        assert!(!is_left(false, &[], None) && !is_left(true, &[1], Some("unknown")));
    }

    #[test]
    fn what_could_be_more_than_a_name_in_a_command_is_none() {
        let left = |scheduler: &str, id: &str| {
            let work = ClusterWork {
                scheduler: Some(scheduler.to_owned()),
                engine_query_id: Some(id.to_owned()),
                ..ClusterWork::default()
            };
            let metrics = PlanMetrics { cluster: Some(work), ..PlanMetrics::default() };
            let plan = PlanBundle { running: vec![1], metrics, ..PlanBundle::default() };
            plan.left_job().map(|job| (job.scheduler.to_owned(), job.id.map(str::to_owned)))
        };
        let job = |scheduler: &str, id: Option<&str>| Some((scheduler.to_owned(), id.map(str::to_owned)));
        assert_eq!(left("10.0.0.5:50050", "UyL5-_A"), job("10.0.0.5:50050", Some("UyL5-_A")));
        assert_eq!(left("[::1]:50050", "$(reboot)"), job("[::1]:50050", None));
        for scheduler in ["", "h:1 --help", "h:1;reboot", "h:1\n", &"h".repeat(300)] {
            assert_eq!(left(scheduler, "a"), None, "{scheduler}");
        }
    }
}
