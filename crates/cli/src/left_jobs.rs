//! Jobs that runs have left at a scheduler: what `daglight sync` says of them, and does about them.
//!
//! A bundle may come from anybody, and names the scheduler. So only the scheduler that the command line names is asked.

use std::collections::BTreeMap;

use daglight::{
    LeftJobEnd, LeftJobs,
    bundle::{Bundle, Manifest},
    cluster::{Cluster, ClusterAddress, JobEnd, LeftJob},
    left_jobs,
    policy::in_one_line,
    record_left_jobs,
};
use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;

/// What was found out about the jobs of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) sentences: Vec<String>,
    /// The scheduler was asked, and did not say how all of them ended.
    pub(crate) is_incomplete: bool,
    /// Of jobs of schedulers that were not asked.
    pub(crate) is_unasked: bool,
}

/// The cluster of the command line, whose scheduler is asked.
pub(crate) struct AskedCluster {
    cluster: Cluster,
    runtime: Runtime,
    /// It did not answer: asking once is enough.
    is_silent: bool,
}

impl AskedCluster {
    pub(crate) fn new(address: &ClusterAddress) -> Result<Self, Failure> {
        let cluster = Cluster::new(address.clone()).map_err(|error| Failure::input(error.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::work)?;
        Ok(Self { cluster, runtime, is_silent: false })
    }

    fn end(&mut self, bundle: &Bundle, jobs: &LeftJobs) -> Said {
        let incomplete =
            |sentence: String| Said { sentences: vec![sentence], is_incomplete: true, ..Said::default() };
        if self.is_silent {
            return incomplete(format!("{}: not asked, the scheduler does not answer", named(jobs)));
        }
        let run_id = match Manifest::read(bundle) {
            Ok(manifest) => manifest.identity.run_id.to_string(),
            Err(error) => return incomplete(format!("{}: {}", named(jobs), in_one_line(&error))),
        };
        let ended = match self.runtime.block_on(self.cluster.end_jobs(&run_id, &jobs.ids)) {
            Ok(ended) => ended,
            Err(missing) => {
                self.is_silent = true;
                return incomplete(format!("{}: error: {missing}", named(jobs)));
            }
        };
        let mut said = Said { sentences: sentences(jobs, &ended), ..Said::default() };
        let ends: Option<BTreeMap<String, LeftJobEnd>> =
            ended.iter().map(|job| Some((job.id.clone(), recorded(job.end)?))).collect();
        said.is_incomplete = ends.is_none();
        let recorded = ends.map_or(Ok(()), |ends| record_left_jobs(bundle, &jobs.scheduler, &ends));
        said.sentences.extend(recorded.err().map(|error| format!("warning: {}", in_one_line(&error))));
        said
    }
}

/// Cancels the jobs that the run has left at the scheduler that is asked, and names those at others.
pub(crate) fn end_left_jobs(bundle: &Bundle, mut asked: Option<&mut AskedCluster>) -> Said {
    let mut said = Said::default();
    for jobs in left_jobs(bundle) {
        // What is not an address does not come from a run.
        let Ok(address) = format!("ballista://{}", jobs.scheduler).parse::<ClusterAddress>() else {
            continue;
        };
        match asked.as_deref_mut().filter(|asked| *asked.cluster.address() == address) {
            Some(asked) => {
                let of_these = asked.end(bundle, &jobs);
                said.sentences.extend(of_these.sentences);
                said.is_incomplete |= of_these.is_incomplete;
            }
            None => {
                said.is_unasked = true;
                said.sentences.push(format!(
                    "{} may still be running: with --cluster {address}, the scheduler is asked, and cancels what runs",
                    named(&jobs)
                ));
            }
        }
    }
    said
}

/// `None` while it is not over.
fn recorded(end: JobEnd) -> Option<LeftJobEnd> {
    match end {
        JobEnd::Cancelled => Some(LeftJobEnd::Cancelled),
        JobEnd::Completed => Some(LeftJobEnd::Completed),
        JobEnd::Failed => Some(LeftJobEnd::Failed),
        JobEnd::Unknown => Some(LeftJobEnd::Unknown),
        _ => None,
    }
}

fn sentences(jobs: &LeftJobs, ended: &[LeftJob]) -> Vec<String> {
    if ended.is_empty() {
        return vec![format!("the scheduler {} has no job of the run", jobs.scheduler)];
    }
    let sentence = |job: &LeftJob| {
        let end = match job.end {
            JobEnd::Cancelled => "was still running, and is cancelled now",
            JobEnd::Completed => "had come to its end",
            JobEnd::Failed => "had failed, or was cancelled before",
            JobEnd::Unknown => "is not known there any more",
            _ => "is cancelled, and has not ended yet: run this again",
        };
        format!("job {} of the scheduler {} {end}", job.id, jobs.scheduler)
    };
    ended.iter().map(sentence).collect()
}

fn named(jobs: &LeftJobs) -> String {
    match jobs.ids.as_slice() {
        [] => format!("a job of the scheduler {}", jobs.scheduler),
        [id] => format!("job {id} of the scheduler {}", jobs.scheduler),
        [first, ..] => {
            format!("{} jobs of the scheduler {}, the first of them {first},", jobs.ids.len(), jobs.scheduler)
        }
    }
}
