//! What a worker says of the tasks of a query while they run: a separate method beside those of the engine, on the same port.

use http::uri::PathAndQuery;
use prost::Message;

/// The service, as gRPC calls it.
pub(super) const SERVICE: &str = "daglight.cluster.v1.Progress";
/// Its only method.
pub(super) const METHOD: PathAndQuery = PathAndQuery::from_static("/daglight.cluster.v1.Progress/SoFar");

/// Asks for the tasks of a query.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Question {
    /// The id that the engine gave the query.
    #[prost(string, tag = "1")]
    pub(super) query: String,
}

/// The tasks of the query that the worker has.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(message, repeated, tag = "1")]
    pub(super) tasks: Vec<TaskSoFar>,
    /// Time that the threads of the worker's process have computed since it started.
    #[prost(uint64, tag = "2")]
    pub(super) cpu_nanoseconds: u64,
    /// A random number that the worker has chosen when it was made, by which it is recognised under another name.
    #[prost(uint64, tag = "3")]
    pub(super) worker: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TaskSoFar {
    #[prost(uint64, tag = "1")]
    pub(super) stage: u64,
    #[prost(uint64, tag = "2")]
    pub(super) task: u64,
    /// In pre-order.
    #[prost(message, repeated, tag = "3")]
    pub(super) operators: Vec<OperatorSoFar>,
}

/// An operator of a task, summed over its partitions. Times are those of the worker's clock, in nanoseconds since 1970.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSoFar {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint64, tag = "2")]
    pub(super) rows: u64,
    #[prost(uint64, tag = "3")]
    pub(super) compute_nanoseconds: u64,
    /// When its first partition started.
    #[prost(uint64, optional, tag = "4")]
    pub(super) started: Option<u64>,
    /// When its last partition ended; none while one runs.
    #[prost(uint64, optional, tag = "5")]
    pub(super) ended: Option<u64>,
}
