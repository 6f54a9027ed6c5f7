//! The tasks that a worker runs, for those who ask how far they are.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Ready, ready},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use cpu_time::ProcessTime;
use datafusion::physical_plan::{ExecutionPlan, metrics::MetricValue};
use http::{Request, Response};
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Context, Poll, Service},
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::so_far::{Answer, METHOD, OperatorSoFar, Question, SERVICE, TaskSoFar};

/// Which task it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TaskId {
    /// The id that the engine gave its query.
    pub(super) query: String,
    pub(super) stage: u64,
    pub(super) task: u64,
}

/// The tasks that a worker runs. Clones share them, and none of them keeps a task alive.
#[derive(Clone)]
pub(super) struct RunningTasks {
    tasks: Arc<Mutex<HashMap<TaskId, Weak<dyn ExecutionPlan>>>>,
    /// The number by which the worker is recognised.
    worker: u64,
}

impl Default for RunningTasks {
    fn default() -> Self {
        // The keys of each of these are random.
        let random = RandomState::new().build_hasher().finish();
        Self { tasks: Arc::default(), worker: random.max(1) }
    }
}

impl RunningTasks {
    pub(super) fn add(&self, id: TaskId, plan: &Arc<dyn ExecutionPlan>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|_, plan| plan.strong_count() > 0);
        tasks.insert(id, Arc::downgrade(plan));
    }

    fn of_query(&self, query: &str) -> Vec<TaskSoFar> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let of_query = tasks.iter().filter(|(id, _)| id.query == query);
        // What is upgraded may be the last handle, and is dropped without the lock.
        let plans: Vec<_> = of_query.filter_map(|(id, plan)| Some((id.clone(), plan.upgrade()?))).collect();
        drop(tasks);
        let so_far = plans.into_iter().map(|(id, plan)| {
            let mut operators = Vec::new();
            measure(&plan, &mut operators);
            TaskSoFar { stage: id.stage, task: id.task, operators }
        });
        so_far.collect()
    }
}

fn measure(plan: &Arc<dyn ExecutionPlan>, out: &mut Vec<OperatorSoFar>) {
    let mut operator = OperatorSoFar { name: plan.name().to_owned(), ..OperatorSoFar::default() };
    let (mut begun, mut done) = (0_usize, 0_usize);
    let nanoseconds = |time: i64| u64::try_from(time).unwrap_or_default();
    for metric in plan.metrics().unwrap_or_default().iter() {
        match metric.value() {
            MetricValue::OutputRows(rows) => operator.rows += rows.value() as u64,
            MetricValue::ElapsedCompute(time) => operator.compute_nanoseconds += time.value() as u64,
            MetricValue::StartTimestamp(start) => {
                let at = start.value().and_then(|at| at.timestamp_nanos_opt()).map(nanoseconds);
                begun += usize::from(at.is_some());
                operator.started = operator.started.into_iter().chain(at).min();
            }
            MetricValue::EndTimestamp(end) => {
                let at = end.value().and_then(|at| at.timestamp_nanos_opt()).map(nanoseconds);
                done += usize::from(at.is_some());
                operator.ended = operator.ended.max(at);
            }
            _ => {}
        }
    }
    operator.ended = operator.ended.filter(|_| done >= begun);
    out.push(operator);
    for child in plan.children() {
        measure(child, out);
    }
}

/// Answers those who ask.
#[derive(Clone)]
pub(super) struct ProgressService(pub(super) RunningTasks);

impl NamedService for ProgressService {
    const NAME: &'static str = SERVICE;
}

impl Service<Request<Body>> for ProgressService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let tasks = self.0.clone();
        Box::pin(async move {
            if request.uri().path() != METHOD.path() {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::<Answer, Question>::default());
            Ok(grpc.unary(SoFar(tasks), request).await)
        })
    }
}

struct SoFar(RunningTasks);

impl UnaryService<Question> for SoFar {
    type Response = Answer;
    type Future = Ready<Result<tonic::Response<Answer>, Status>>;

    fn call(&mut self, request: tonic::Request<Question>) -> Self::Future {
        let tasks = self.0.of_query(&request.into_inner().query);
        let computed = ProcessTime::try_now().ok().map(|time| time.as_duration());
        let cpu_nanoseconds =
            computed.and_then(|time| u64::try_from(time.as_nanos()).ok()).unwrap_or_default();
        ready(Ok(tonic::Response::new(Answer { tasks, cpu_nanoseconds, worker: self.0.worker })))
    }
}
