//! Jobs of schedulers that a run has left behind, because its process was killed while they went on.

use crate::{
    manifest::{Manifest, RunStatus},
    plan_bundle::PlanBundle,
};

/// The maximum number of characters of an id or an address. Longer ones are rejected, because anybody may have made the file.
const MAX_NAME: usize = 253;

/// A job of a query that ran when its process died, and of which nobody knows how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftJob<'p> {
    /// The scheduler, as `HOST:PORT`. It is as trustworthy as the bundle.
    pub scheduler: &'p str,
    /// The id of the job; `None` if the scheduler had perhaps not taken it yet.
    pub id: Option<&'p str>,
}

impl Manifest {
    /// Whether queries of the run may go on as jobs of a scheduler: a run that ends by itself takes its jobs back.
    pub fn may_have_left_jobs(&self) -> bool {
        match self.status {
            RunStatus::Running | RunStatus::Success => false,
            RunStatus::Failure => self.process_ended_at.is_some(),
            RunStatus::Interrupted => true,
        }
    }
}

impl PlanBundle {
    /// The job of the query, if it was running in a [run that may have left some](Manifest::may_have_left_jobs) and its end is not recorded.
    pub fn left_job(&self) -> Option<LeftJob<'_>> {
        let work = self.metrics.cluster.as_ref()?;
        let is_left = !self.running.is_empty() && work.job_end.is_none();
        let scheduler =
            work.scheduler.as_deref().filter(|scheduler| is_left && is_plain(scheduler, ".:[]-_"))?;
        Some(LeftJob { scheduler, id: work.engine_query_id.as_deref().filter(|id| is_plain(id, "-_")) })
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
    use crate::{ClusterWork, PlanMetrics};

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
