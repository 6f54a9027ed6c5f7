//! The words that name a task in an error.

use std::{fmt, sync::Arc};

use daglight_run_bundle::ClusterTask;
use datafusion::error::DataFusionError;
use datafusion_distributed::TaskKey;

use crate::address::WorkerAddress;

/// Stands in front of the name of a task that is lost.
const LOST: &str = "lost ";

/// Which task of which worker it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskName {
    pub(super) worker: String,
    pub(super) stage: usize,
    pub(super) task: u64,
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}, task {} of stage {}", self.worker, self.task, self.stage)
    }
}

impl TaskName {
    pub(super) fn of(stage: usize, task: &ClusterTask) -> Self {
        Self { worker: task.worker.clone(), stage, task: task.task }
    }

    /// The error of a query that has lost the task: it names the task once.
    pub(super) fn lost(&self, error: DataFusionError) -> DataFusionError {
        self.unnamed(error).context(format!("{LOST}{self}"))
    }

    /// The error without the words that name the task.
    fn unnamed(&self, error: DataFusionError) -> DataFusionError {
        match error {
            DataFusionError::Context(text, inner) if Self::parse(&text).as_ref() == Some(self) => {
                self.unnamed(*inner)
            }
            DataFusionError::Context(text, inner) => self.unnamed(*inner).context(text),
            DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
                Ok(inner) => self.unnamed(inner),
                // Others have it too.
                Err(inner) => DataFusionError::Shared(inner),
            },
            other => other,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(LOST).unwrap_or(text);
        let (worker, rest) = text.strip_prefix("worker ")?.split_once(", task ")?;
        let (task, stage) = rest.split_once(" of stage ")?;
        Some(Self { worker: worker.to_owned(), stage: stage.parse().ok()?, task: task.parse().ok()? })
    }

    /// The task in which an error arose: those above it only pass it on.
    pub(super) fn innermost(error: &DataFusionError) -> Option<Self> {
        let (mut innermost, mut error) = (None, error);
        loop {
            error = match error {
                DataFusionError::Context(text, inner) => {
                    innermost = Self::parse(text).or(innermost);
                    inner
                }
                DataFusionError::Diagnostic(_, inner) => inner,
                DataFusionError::Shared(inner) => inner,
                _ => return innermost,
            };
        }
    }

    /// Has errors name the task, unless they name one already: that is where they arose.
    pub(super) fn naming(
        worker: &WorkerAddress,
        key: TaskKey,
    ) -> impl Fn(DataFusionError) -> DataFusionError + Send + Sync + 'static {
        let name = Self { worker: worker.to_string(), stage: key.stage_id, task: key.task_number as u64 };
        move |error| match Self::innermost(&error) {
            Some(_) => error,
            None => error.context(name.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::exec_datafusion_err;

    use super::*;

    #[test]
    fn the_error_of_a_lost_task_names_it_once() {
        let name = TaskName { worker: "10.0.0.5:9400".to_owned(), stage: 2, task: 1 };
        let of_task = exec_datafusion_err!("connection reset").context(name.to_string());
        let other = "worker 10.0.0.6:9400, task 0 of stage 3";
        let shared = DataFusionError::Shared(Arc::new(of_task)).context("while joining").context(other);
        let lost = name.lost(shared);
        let text = lost.to_string();
        assert_eq!(text.matches("10.0.0.5:9400").count(), 1, "{text}");
        assert!(text.contains("lost worker 10.0.0.5:9400, task 1 of stage 2"), "{text}");
        assert!(text.contains("while joining") && text.contains(other), "{text}");
        let lost = name.lost(exec_datafusion_err!("connection reset").context(name.to_string()));
        assert_eq!(TaskName::innermost(&lost), Some(name));
    }

    #[test]
    fn the_innermost_task_is_the_one_in_which_an_error_arose() {
        let name = |worker: &str, stage, task| TaskName { worker: worker.to_owned(), stage, task };
        let error = exec_datafusion_err!("no file")
            .context(name("[::1]:9401", 2, 1).to_string())
            .context("while joining")
            .context(name("10.0.0.5:9400", 4, 0).to_string());
        assert_eq!(TaskName::innermost(&error), Some(name("[::1]:9401", 2, 1)));
        assert_eq!(TaskName::innermost(&exec_datafusion_err!("worker a, task 1 of stage 2")), None);
        for other in ["worker a", "worker a, task x of stage 2", "task 1 of stage 2"] {
            assert_eq!(TaskName::parse(other), None, "{other}");
        }
    }
}
