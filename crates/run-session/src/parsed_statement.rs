//! How long the statement was parsed that is planned at this moment.

use std::{future::Future, time::Duration};

use opentelemetry::{Context, trace::FutureExt as _};

/// The time that a front end has taken to make a logical plan of a statement's text. DataFusion keeps no text with a plan, so
/// only who has parsed it knows.
#[derive(Debug, Clone, Copy)]
pub struct ParsedStatement(pub Duration);

impl ParsedStatement {
    /// Does the work in which the statement is planned and executed.
    pub async fn of<T>(self, work: impl Future<Output = T>) -> T {
        let context = Context::map_current(|context| context.with_value(self));
        work.with_context(context).await
    }

    /// That of the statement in whose work this is called.
    pub(crate) fn current() -> Option<Duration> {
        Context::map_current(|context| context.get::<Self>().map(|parsed| parsed.0))
    }
}
