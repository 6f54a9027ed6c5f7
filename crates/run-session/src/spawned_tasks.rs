//! Tasks that DataFusion spawns, in the span that they were spawned in.

use std::any::Any;

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::{FutureExt as _, future::BoxFuture};
use opentelemetry::{Context, context::FutureExt as _, trace::TraceContextExt as _};

use crate::query_owner::QueryOwner;

type Output = Box<dyn Any + Send>;

/// Has what is logged and started in the tasks that DataFusion spawns, such as those of a repartition or of a scan,
/// belong to the span that they were spawned in: then it carries the ids of its trace and of its run.
///
/// DataFusion has one place for this in a process, so it is never taken unasked. False when something else is there
/// already.
pub fn follow_spawned_tasks() -> bool {
    set_join_set_tracer(&InContext).is_ok()
}

struct InContext;

impl JoinSetTracer for InContext {
    // Called for every task that the engine spawns, also those of no run: these pass as they are.
    fn trace_future(&self, future: BoxFuture<'static, Output>) -> BoxFuture<'static, Output> {
        match active() {
            Some(context) => match QueryOwner::current() {
                Some(owner) => owner.follow(future).with_context(context).boxed(),
                None => future.with_context(context).boxed(),
            },
            None => future,
        }
    }

    fn trace_block(&self, block: Box<dyn FnOnce() -> Output + Send>) -> Box<dyn FnOnce() -> Output + Send> {
        match active() {
            Some(context) => {
                let owner = QueryOwner::current();
                Box::new(move || {
                    let _guard = context.attach();
                    let _polling = owner.as_ref().map(|owner| owner.polls().begin_blocking());
                    block()
                })
            }
            None => block,
        }
    }
}

/// The current context, where there is a span in it.
fn active() -> Option<Context> {
    // Without a span there is nothing to hand on, and cloning a context for each task is not free.
    Context::map_current(|current| current.has_active_span().then(|| current.clone()))
}
