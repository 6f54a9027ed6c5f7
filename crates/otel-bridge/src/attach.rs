//! Support for existing providers of the program: the spans of runs are also created with them, under the same ids.
//!
//! A span of the program's provider, the mirrored span, is started first. The span that the bridge then creates for the files of
//! the run takes over its ids and its sampling decision. When that span ends, so does the mirrored span, with the same attributes,
//! events, links and status.

use std::{cell::RefCell, fmt, sync::Arc};

use daglight_run_bundle::clock;
use opentelemetry::{
    Context, InstrumentationScope,
    global::{self, BoxedSpan, BoxedTracer, ObjectSafeTracerProvider},
    metrics::MeterProvider,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, TraceContextExt as _, TraceId, Tracer, TracerProvider,
    },
};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, SamplingDecision, SamplingResult, SdkTracer, SdkTracerProvider, Span,
    SpanData,
};

use crate::{
    door::Exportable,
    own_record::{OwnRecord, starting_with},
};

/// Existing providers of the program, for [`crate::BridgeConfig::attach_to`].
///
/// A signal whose provider is given here is exported only by that provider: the `OTEL_*` variables do not configure a second export
/// for it. Its sampler controls its own exporters, while the files of runs still contain every span. Nothing is changed in the
/// provider, and the bridge never flushes or shuts it down.
///
/// ```
/// use daglight_otel_bridge::{Bridge, BridgeConfig, ProgramProviders};
/// use opentelemetry_sdk::{metrics::SdkMeterProvider, trace::SdkTracerProvider};
///
/// // What the program had before.
/// let tracers = SdkTracerProvider::builder() /* .with_batch_exporter(...) */.build();
/// let meters = SdkMeterProvider::builder().build();
///
/// let bridge = Bridge::start(BridgeConfig {
///     attach_to: ProgramProviders::default().with_tracers(tracers.clone()).with_meters(meters.clone()),
///     ..BridgeConfig::new("orders")
/// });
/// // Runs of `bridge` are now in the program's traces, below the span in which they are opened.
/// # drop(bridge);
/// ```
#[derive(Clone, Default)]
pub struct ProgramProviders {
    pub(crate) tracers: Option<Arc<dyn ObjectSafeTracerProvider + Send + Sync>>,
    pub(crate) meters: Option<Arc<dyn MeterProvider + Send + Sync>>,
}

impl ProgramProviders {
    /// The current global providers of traces and metrics: set them before.
    pub fn global() -> Self {
        Self { tracers: Some(Arc::new(global::tracer_provider())), meters: Some(global::meter_provider()) }
    }

    /// Also creates the spans of runs with this provider.
    #[must_use]
    pub fn with_tracers<P>(mut self, provider: P) -> Self
    where
        P: ObjectSafeTracerProvider + Send + Sync + 'static,
    {
        self.tracers = Some(Arc::new(provider));
        self
    }

    /// Also records the metrics of runs with this provider.
    #[must_use]
    pub fn with_meters(mut self, provider: impl MeterProvider + Send + Sync + 'static) -> Self {
        self.meters = Some(Arc::new(provider));
        self
    }
}

impl fmt::Debug for ProgramProviders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramProviders")
            .field("tracers", &self.tracers.is_some())
            .field("meters", &self.meters.is_some())
            .finish()
    }
}

/// Creates the tracers of a [`crate::Bridge`].
#[derive(Clone)]
pub struct BridgeTracerProvider {
    own: SdkTracerProvider,
    program: Option<Arc<dyn ObjectSafeTracerProvider + Send + Sync>>,
}

impl BridgeTracerProvider {
    pub(crate) fn new(own: SdkTracerProvider, attached: &ProgramProviders) -> Self {
        Self { own, program: attached.tracers.clone() }
    }
}

impl TracerProvider for BridgeTracerProvider {
    type Tracer = BridgeTracer;

    fn tracer_with_scope(&self, scope: InstrumentationScope) -> BridgeTracer {
        let program = self.program.as_ref();
        BridgeTracer {
            program: program.map(|program| Arc::new(BoxedTracer::new(program.boxed_tracer(scope.clone())))),
            own: self.own.tracer_with_scope(scope),
        }
    }
}

impl fmt::Debug for BridgeTracerProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeTracerProvider").field("attached", &self.program.is_some()).finish()
    }
}

/// Creates spans for the files of runs, and if the program has its own provider, their mirrored spans.
#[derive(Debug, Clone)]
pub struct BridgeTracer {
    own: SdkTracer,
    program: Option<Arc<BoxedTracer>>,
}

impl Tracer for BridgeTracer {
    type Span = Span;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> Span {
        self.build(builder, parent, None)
    }
}

impl BridgeTracer {
    /// Starts a span of a run, whose own attributes, events and status are in `record`.
    pub(crate) fn build_own(&self, builder: SpanBuilder, parent: &Context, record: &Arc<OwnRecord>) -> Span {
        self.build(builder, parent, Some(record))
    }

    #[expect(clippy::disallowed_methods, reason = "a span without a start starts now")]
    fn build(&self, mut builder: SpanBuilder, parent: &Context, record: Option<&Arc<OwnRecord>>) -> Span {
        let Some(program) = &self.program else {
            return starting_with(record, || self.own.build_with_context(builder, parent));
        };
        let started_at = *builder.start_time.get_or_insert_with(clock::now);
        // The recorded content is added at the end of the span, when it is exportable.
        let mut bare = SpanBuilder::from_name(builder.name.clone()).with_start_time(started_at);
        // The kind must be set at the start: the API cannot change it at the end, as it can for the name and the status.
        bare.span_kind = builder.span_kind.clone();
        let mirrored = program.build_with_context(bare, &parent.with_value(IsMirrored));
        // Without a provider, a tracer returns the parent, or an invalid span.
        let is_span = mirrored.span_context().is_valid()
            && mirrored.span_context().span_id() != parent.span().span_context().span_id();
        // With a thread-local: between here and `on_start` the SDK calls its id generator, its sampler and its processors
        // (`opentelemetry_sdk` 0.33.1, `src/trace/tracer.rs`, lines 188 to 261), all on this thread, and passes none of our values
        // to them.
        PENDING.set(is_span.then_some(mirrored));
        let span = starting_with(record, || self.own.build_with_context(builder, parent));
        // If a sampler drops the span, no processor is called that would have taken it: it must not be left for the next span of
        // this thread.
        PENDING.take();
        span
    }
}

/// Marks the context in which a mirrored span is started: the mirrored span belongs to no run, because the original span already
/// does.
#[derive(Debug)]
pub(crate) struct IsMirrored;

thread_local! {
    /// The mirrored span of the span that this thread is about to start.
    static PENDING: RefCell<Option<BoxedSpan>> = const { RefCell::new(None) };
}

fn of_pending<T>(take: impl FnOnce(&SpanContext, bool) -> T) -> Option<T> {
    PENDING.with_borrow(|mirrored| {
        mirrored.as_ref().map(|mirrored| take(mirrored.span_context(), mirrored.is_recording()))
    })
}

/// The decision of the program's sampler for the span that is about to start.
pub(crate) fn decided_by_program() -> Option<SamplingResult> {
    of_pending(|context, recording| SamplingResult {
        decision: match (context.is_sampled(), recording) {
            (true, _) => SamplingDecision::RecordAndSample,
            // The program's sampler decided for both. A span that is exported here and not there would leave holes in the program's
            // trace.
            (false, true) => SamplingDecision::RecordOnly,
            (false, false) => SamplingDecision::Drop,
        },
        attributes: Vec::new(),
        trace_state: context.trace_state().clone(),
    })
}

/// Generates random ids, or for a mirrored span, the ids of its original.
#[derive(Debug, Default)]
pub(crate) struct MirrorIds(RandomIdGenerator);

impl IdGenerator for MirrorIds {
    fn new_trace_id(&self) -> TraceId {
        of_pending(|context, _| context.trace_id()).unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        of_pending(|context, _| context.span_id()).unwrap_or_else(|| self.0.new_span_id())
    }
}

/// A span of the program's provider that records until its span in the bridge ends.
pub(crate) struct MirroredSpan(BoxedSpan);

impl MirroredSpan {
    /// The mirrored span of the span that this thread is starting, if it has one that records.
    pub(crate) fn of_starting_span() -> Option<Self> {
        // A span that does not record is dropped here, which ends it.
        PENDING.take().filter(|mirrored| mirrored.is_recording()).map(Self)
    }

    /// Ends it with the final content of the span in the bridge.
    pub(crate) fn end(mut self, span: Exportable<SpanData>) {
        let (mirrored, span) = (&mut self.0, span.into_inner());
        mirrored.update_name(span.name);
        mirrored.set_attributes(span.attributes);
        for event in span.events.events {
            mirrored.add_event_with_timestamp(event.name, event.timestamp, event.attributes);
        }
        for link in span.links.links {
            mirrored.add_link(link.span_context, link.attributes);
        }
        mirrored.set_status(span.status);
        // Last, because an ended span accepts no more changes.
        mirrored.end_with_timestamp(span.end_time);
    }
}
