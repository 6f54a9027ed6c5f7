//! What can go wrong.

use datafusion::error::DataFusionError;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A sensor does not answer.
    #[error("sensor {0} does not answer")]
    Silent(String),
    /// The readings are not complete.
    #[error("the readings are not complete")]
    Incomplete(#[source] Box<Trouble>),
    /// A query failed.
    #[error("cannot query the readings")]
    Query(#[from] DataFusionError),
    /// A task that was spawned did not end.
    #[error("a task did not end")]
    Task(#[from] tokio::task::JoinError),
}
