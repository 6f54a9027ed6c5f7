//! A worker: executes parts of the plans of others.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use daglight_plan_diagnostics::{
    RemoteTask, RemoteTaskListener, TaskListener, giving_way, watched_task, with_watched_stores,
};
use datafusion::{
    error::{DataFusionError, Result},
    execution::{SessionState, SessionStateBuilder, runtime_env::RuntimeEnv},
    physical_plan::{
        ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions, repartition::RepartitionExec,
    },
    prelude::SessionConfig,
};
use datafusion_distributed::{
    BroadcastExec, DistributedExt as _, DistributedTaskContext, Worker as Engine, WorkerPlanRewriteEvent,
    WorkerPlanRewriteEventResponse, WorkerQueryContext, WorkerSessionBuilder,
};
use http::HeaderMap;
use tokio::net::TcpListener;
use tonic::transport::Server;

use super::{
    channels::Channels,
    running_tasks::{ProgressService, RunningTasks, TaskId},
    travels,
    version::version,
};
use crate::{endpoint::incoming, headers::HEADERS};

/// A worker. Clones are the same one.
#[derive(Clone)]
pub struct Worker {
    engine: Engine,
    tasks: RunningTasks,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker that executes in sessions as `session` makes them of what the engine gives, with its own functions for
    /// example; `|context| Ok(context.builder.build())` adds nothing. Register object stores in the runtime that the builder has, or give it
    /// with [`with_runtime_env`](Self::with_runtime_env): requests to the stores of another runtime are not counted for the task.
    pub fn new(
        session: impl Fn(WorkerQueryContext) -> Result<SessionState> + Send + Sync + 'static,
        listener: Option<Arc<dyn RemoteTaskListener>>,
    ) -> Self {
        let tasks = RunningTasks::default();
        let sessions = Sessions { session, listener, tasks: tasks.clone(), channels: Channels::default() };
        Self { engine: Engine::from_session_builder(sessions).with_version(version()), tasks }
    }

    /// What it executes in: memory, and object stores.
    #[must_use]
    pub fn with_runtime_env(self, env: Arc<RuntimeEnv>) -> Self {
        Self { engine: self.engine.with_runtime_env(env), ..self }
    }

    /// Serves until `end`. Tasks that run then are dropped.
    ///
    /// # Errors
    /// When the address cannot be served.
    pub async fn serve(self, listener: TcpListener, end: impl Future<Output = ()>) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        let serving = Server::builder()
            .add_service(self.engine.into_worker_server())
            .add_service(ProgressService(self.tasks))
            .serve_with_incoming(incoming(listener));
        tokio::select! {
            served = serving => served.map_err(io::Error::other)?,
            () = end => {}
        }
        Ok(address)
    }
}

struct Sessions<F> {
    session: F,
    listener: Option<Arc<dyn RemoteTaskListener>>,
    tasks: RunningTasks,
    channels: Channels,
}

#[async_trait]
impl<F> WorkerSessionBuilder for Sessions<F>
where
    F: Fn(WorkerQueryContext) -> Result<SessionState> + Send + Sync + 'static,
{
    async fn build_session_state(
        &self,
        context: WorkerQueryContext,
    ) -> Result<SessionState, DataFusionError> {
        let WorkerQueryContext { builder, headers } = context;
        let builder = builder.with_distributed_channel_resolver(self.channels.clone());
        let builder = watched(builder, &headers, self.listener.as_deref(), self.tasks.clone());
        (self.session)(WorkerQueryContext { builder, headers })
    }
}

/// Has the tasks of the session be known to those who ask, and to the listener.
fn watched(
    mut builder: SessionStateBuilder,
    headers: &HeaderMap,
    listener: Option<&dyn RemoteTaskListener>,
    tasks: RunningTasks,
) -> SessionStateBuilder {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let number = |name: &http::HeaderName| text(name.as_str()).and_then(|text| text.parse().ok());
    let (stage, task) = (number(&travels::STAGE), number(&travels::TASK));
    let id = (text(travels::ENGINE_QUERY.as_str()).zip(stage).zip(task))
        .map(|((query, stage), task)| TaskId { query, stage, task });
    let watch = listener.and_then(|listener| {
        let place =
            builder.config().as_ref().and_then(SessionConfig::get_extension::<DistributedTaskContext>);
        listener.listen(RemoteTask {
            headers: HEADERS.iter().filter_map(|name| Some((*name, text(name)?))).collect(),
            stage,
            task: task.unwrap_or_else(|| place.as_ref().map_or(0, |place| place.task_index as u64)),
            tasks: Some(place.as_ref().map_or(1, |place| place.task_count as u64)),
        })
    });
    if let Some(observer) = watch.as_ref().and_then(|watch| watch.stores()) {
        let runtime = builder.runtime_env().get_or_insert_default();
        *runtime = with_watched_stores(runtime, observer);
    }
    builder.with_distributed_worker_plan_rewrite_handler(move |event: WorkerPlanRewriteEvent<'_>| {
        let mut plan = giving_way(event.plan);
        if let Some(watch) = &watch {
            plan = watched_plan(plan, Arc::clone(watch))?;
        }
        // The one that the engine keeps: of what it was made of, nobody does.
        if let Some(id) = &id {
            tasks.add(id.clone(), &plan);
        }
        Ok(WorkerPlanRewriteEventResponse::new(plan))
    })
}

/// Below what distributes the rows of a task, which the engine makes anew for those who ask for them.
fn watched_plan(
    plan: Arc<dyn ExecutionPlan>,
    watch: Arc<dyn TaskListener>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if !plan.is::<RepartitionExec>() && !plan.is::<BroadcastExec>() {
        return Ok(watched_task(plan, watch));
    }
    let [input] = plan.children()[..] else { return Ok(plan) };
    let input = watched_task(Arc::clone(input), watch);
    plan.replace_children(vec![input], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
}
