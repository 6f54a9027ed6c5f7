//! What a query hands over for its plan.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use daglight_capture_policy::Captured;
use daglight_plan_diagnostics::{MeasuredQuery, PlannedQuery};
use daglight_run_bundle::ClusterWork;
use opentelemetry::Context;

use crate::{
    preview::Preview,
    storage::{QueryStorage, Storage},
};

/// A plan of a run: two executions with the same one have one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    /// `None` for a query of the run itself.
    pub(crate) node: Option<String>,
    pub(crate) plan_hash: String,
}

/// A query that starts, or is being planned.
pub(crate) struct StartedQuery {
    pub(crate) key: PlanKey,
    /// When it was handed over.
    pub(crate) at: Instant,
    pub(crate) query: Arc<PlannedQuery>,
    /// Its SQL, or that of its node, as it may be shown.
    pub(crate) sql: Option<Arc<Captured>>,
    /// How long its text was parsed, where a front end has said so.
    pub(crate) parsing: Option<Duration>,
    /// What it asks of object stores while it runs, where it uses some.
    pub(crate) storage: Option<Arc<QueryStorage>>,
}

/// A query that has ended.
pub(crate) struct EndedQuery {
    pub(crate) key: PlanKey,
    pub(crate) report: MeasuredQuery,
    /// The context of its span, for the spans of its operators.
    pub(crate) span: Option<Context>,
    /// Its first rows, where the policy shows some.
    pub(crate) preview: Option<Arc<Preview>>,
    /// What it has asked of object stores.
    pub(crate) storage: Storage,
}

/// What the thread for plans receives about queries.
pub(crate) enum PlanMessage {
    Started(Box<StartedQuery>),
    Ended(Box<EndedQuery>),
    /// An execution of this plan has an id on other machines.
    HasRemoteId(PlanKey),
    /// More is known of the work on other machines of a query that has ended.
    RemoteWorkSettled {
        key: PlanKey,
        query_id: u64,
        work: Box<ClusterWork>,
    },
    /// The heart beats: what runs is brought up to date, and so are these, which are being planned.
    Beat(Vec<StartedQuery>),
}
