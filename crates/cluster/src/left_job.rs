//! What became of the work of a client that is gone.

/// A job of a scheduler whose client is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftJob {
    /// The id that the scheduler gave it.
    pub id: String,
    /// What became of it.
    pub end: JobEnd,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobEnd {
    /// It was still running, or in the queue, and was cancelled.
    Cancelled,
    /// It was cancelled, and had not ended after three seconds.
    StillRunning,
    /// It had come to its end.
    Completed,
    /// It had failed, or somebody else had cancelled it.
    Failed,
    /// The scheduler does not know it, or knows it as a job of another run.
    Unknown,
}
