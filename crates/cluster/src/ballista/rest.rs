//! What the web interface of a scheduler says of jobs and executors: fields of its answers, of which others may come.

use serde::Deserialize;

/// How the texts of operators name the stage that they read: the scheduler says it nowhere else.
pub(super) const UPSTREAM: &str = "upstream_stage: ";

/// `/api/executors`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Executor {
    pub(super) id: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// When the scheduler has last heard of it, in milliseconds since 1970.
    #[serde(default)]
    pub(super) last_seen: Option<u64>,
}

impl Executor {
    /// Where others fetch rows from it.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// A job in `/api/jobs`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ListedJob {
    pub(super) job_id: String,
    pub(super) job_name: String,
    pub(super) status: String,
}

impl ListedJob {
    /// Whether it is in the queue, or runs.
    pub(super) fn is_open(&self) -> bool {
        ["Queued", "Running"].contains(&&*self.status)
    }
}

/// `/api/job/ID/stages`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Stages {
    pub(super) stages: Vec<Stage>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Stage {
    pub(super) stage_id: String,
    /// Its plan as text, once it has started.
    #[serde(default)]
    pub(super) stage_plan: Option<String>,
    pub(super) tasks: Vec<Option<Task>>,
}

/// A task, of which a stage may have several for a partition, one after the other. Times are milliseconds since 1970, 0 where it has not come
/// to that.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Task {
    pub(super) id: u64,
    pub(super) status: TaskStatus,
    #[serde(rename = "partition_id")]
    pub(super) partitions: Vec<u32>,
    pub(super) launch_time: u64,
    pub(super) start_exec_time: u64,
    pub(super) end_exec_time: u64,
    /// Rows that the leaves of its plan gave, once it has ended.
    pub(super) input_rows: u64,
    pub(super) output_rows: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) enum TaskStatus {
    Running,
    Successful,
    Failed { reason: String },
}

impl Stage {
    pub(super) fn number(&self) -> Option<u64> {
        self.stage_id.parse().ok()
    }

    /// Whether all of its rows come from tables.
    pub(super) fn only_scans(&self) -> bool {
        self.stage_plan.as_ref().is_some_and(|plan| !plan.contains(UPSTREAM))
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_fields_that_nobody_knows() {
        let text = r#"{"stages": [{"stage_id": "2", "stage_status": "Running", "tasks": [null, {"id": 4, "status": "Running",
            "partition_id": [0, 3], "launch_time": 7, "start_exec_time": 8, "end_exec_time": 0, "input_rows": 0, "output_rows": 0},
            {"id": 5, "status": {"Failed": {"reason": "ExecutorLost", "error": "gone"}}, "partition_id": [1], "launch_time": 7,
            "start_exec_time": 8, "end_exec_time": 9, "input_rows": 1, "output_rows": 0}]}]}"#;
        let stages: Stages = serde_json::from_str(text).unwrap();
        let stage = &stages.stages[0];
        let tasks: Vec<&Task> = stage.tasks().collect();
        assert_eq!((stage.number(), tasks.len(), &tasks[0].partitions[..]), (Some(2), 2, &[0, 3][..]));
        assert_eq!(tasks[1].status, TaskStatus::Failed { reason: "ExecutorLost".to_owned() });
    }
}
