//! The one stream that stands in front of another one and watches it.

use std::{
    any::Any,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    error::{DataFusionError, Result},
    execution::{RecordBatchStream, SendableRecordBatchStream},
};
use futures::Stream;

use crate::shield::shielded;

/// Watches one partition of a plan. A panic in any of its methods does not reach the query.
pub(crate) trait StreamWatch: Send + Unpin + 'static {
    /// The plan returned a stream with these columns.
    fn opened(&mut self, _schema: &SchemaRef) {}

    /// Code of the plan is about to run on this thread, and does until the answer is dropped.
    fn entered(&self) -> Option<Box<dyn Any>> {
        None
    }

    /// The stream is asked for its next batch.
    fn poll_begins(&mut self) {}

    /// It has answered, or it is `pending`: it will wake who asks when there is something.
    fn poll_ends(&mut self, _is_pending: bool) {}

    /// Why the stream is to end without being asked any more: before it is polled, and once more when it has nothing yet, with
    /// who waits for that.
    fn cancelled(&mut self, _waiting: Option<&Waker>) -> Option<DataFusionError> {
        None
    }

    /// Whether who asks has to ask once more, so that others have their turn, and what was dropped ends.
    fn pauses(&mut self) -> bool {
        false
    }

    /// A batch passes. Not called again once it has panicked.
    fn batch(&mut self, batch: &RecordBatch);

    /// The stream ended, and is dropped already, so that its metrics have their end times. Called once, whatever way it
    /// ended, also where the plan returned no stream.
    fn ended(self, end: StreamEnd<'_>);
}

/// How a stream ended.
pub(crate) enum StreamEnd<'e> {
    /// It was read to its end.
    Complete,
    /// It returned an error, or the plan returned one instead of a stream.
    Failed(&'e DataFusionError),
    /// It was dropped before its end.
    Dropped,
    /// It panicked, or was dropped by a panic.
    Panicked,
}

/// Passes a stream on as it is. It ends at the first error, behind which DataFusion reads no stream.
pub(crate) struct WatchedStream<W: StreamWatch> {
    schema: SchemaRef,
    inner: Option<SendableRecordBatchStream>,
    watch: Option<W>,
    is_blind: bool,
    /// Set while code of the plan runs. It stays set where that panics, also where the panic is caught before this is
    /// dropped.
    is_running: bool,
}

impl<W: StreamWatch> WatchedStream<W> {
    /// Executes a partition and watches what it returns.
    ///
    /// # Errors
    /// Those of `execute`.
    pub(crate) fn execute(
        watch: W,
        execute: impl FnOnce() -> Result<SendableRecordBatchStream>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = Arc::new(Schema::empty());
        // Before the inner plan is asked: where that panics, this is dropped while it unwinds, and says so.
        let mut watched = Self { schema, inner: None, watch: Some(watch), is_blind: false, is_running: true };
        let entered = watched.entered();
        let executed = execute();
        drop(entered);
        watched.is_running = false;
        match executed {
            Ok(inner) => {
                watched.schema = inner.schema();
                watched.inner = Some(inner);
                watched.look(|watch, schema| watch.opened(schema));
                Ok(Box::pin(watched))
            }
            Err(error) => {
                watched.end(StreamEnd::Failed(&error));
                Err(error)
            }
        }
    }

    fn look(&mut self, look: impl FnOnce(&mut W, &SchemaRef)) {
        // Once something that watches has panicked it is in no state to be asked again. Its end is still reported.
        if self.is_blind {
            return;
        }
        if let Some(watch) = &mut self.watch {
            self.is_blind =
                shielded("what watches the data of a query", || look(watch, &self.schema)).is_none();
        }
    }

    fn entered(&self) -> Option<Box<dyn Any>> {
        let watch = self.watch.as_ref()?;
        shielded("what knows whose code runs", || watch.entered()).flatten()
    }

    fn cancelled(&mut self, waiting: Option<&Waker>) -> Option<DataFusionError> {
        let watch = self.watch.as_mut()?;
        let error = shielded("what may end a query", || watch.cancelled(waiting)).flatten()?;
        self.end(StreamEnd::Failed(&error));
        Some(error)
    }

    fn pauses(&mut self) -> bool {
        let watch = self.watch.as_mut().filter(|_| !self.is_blind);
        watch.is_some_and(|watch| shielded("what pauses a query", || watch.pauses()).unwrap_or(false))
    }

    fn end(&mut self, end: StreamEnd<'_>) {
        // First of all: metrics get their end when the streams that hold them are dropped (`BaselineMetrics`,
        // `datafusion-physical-expr-common` 55.2.0, `src/metrics/baseline.rs`, line 234), and whoever is told of the
        // end reads them.
        drop(self.inner.take());
        if let Some(watch) = self.watch.take() {
            shielded("what watches the end of a query", || watch.ended(end));
        }
    }
}

impl<W: StreamWatch> Stream for WatchedStream<W> {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let watched = &mut *self;
        // Before the inner stream is polled: one that blocks in its poll would never come to the check behind it.
        if let Some(error) = watched.cancelled(None) {
            return Poll::Ready(Some(Err(error)));
        }
        if watched.pauses() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        watched.look(|watch, _| watch.poll_begins());
        let entered = watched.entered();
        let Some(inner) = watched.inner.as_mut() else { return Poll::Ready(None) };
        watched.is_running = true;
        let polled = inner.as_mut().poll_next(context);
        watched.is_running = false;
        drop(entered);
        watched.look(|watch, _| watch.poll_ends(polled.is_pending()));
        match &polled {
            Poll::Pending => {
                if let Some(error) = watched.cancelled(Some(context.waker())) {
                    return Poll::Ready(Some(Err(error)));
                }
            }
            Poll::Ready(Some(Ok(batch))) => watched.look(|watch, _| watch.batch(batch)),
            Poll::Ready(Some(Err(error))) => watched.end(StreamEnd::Failed(error)),
            Poll::Ready(None) => watched.end(StreamEnd::Complete),
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), |inner| inner.size_hint())
    }
}

impl<W: StreamWatch> RecordBatchStream for WatchedStream<W> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl<W: StreamWatch> Drop for WatchedStream<W> {
    fn drop(&mut self) {
        // Dropped in the middle of a poll is a panic of the operator, also where the runtime has caught it by now.
        let has_panicked = self.is_running || std::thread::panicking();
        self.end(if has_panicked { StreamEnd::Panicked } else { StreamEnd::Dropped });
    }
}
