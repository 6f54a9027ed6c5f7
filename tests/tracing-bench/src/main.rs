//! What `datafusion-tracing` costs the queries of TPC-H: in a session that is set up as its documentation does it, with spans
//! that leave by an OTLP exporter in batches, and in the same session without it, in turns.
//!
//! `cargo xtask bench overhead` runs it, with the folder of tables and queries that the bench of Daglight has left, the scale
//! factor and the number of rounds. The receiver of the spans is this program as a separate process, so that the work of
//! receiving counts on neither side.

#[path = "../../benches/side_by_side/mod.rs"]
mod side_by_side;

use std::{
    env,
    error::Error,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use datafusion::{arrow::array::RecordBatch, execution::SessionStateBuilder, prelude::SessionContext};
use datafusion_tracing::{
    InstrumentationOptions, RuleInstrumentationOptions, instrument_rules_with_info_spans,
    instrument_with_info_spans, pretty_format_compact_batch,
};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use side_by_side::{Cost, WARM_UP, execute, read_queries, say_ratios, with_tables};
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

const RECEIVE: &str = "receive";
const COLUMNS: [(&str, Option<f64>); 2] = [("bare", None), ("datafusion-tracing with OTLP", None)];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [RECEIVE] => receive(),
        [folder, scale_factor, rounds] => measure(Path::new(folder), scale_factor, rounds.parse()?),
        _ => Err("expected a folder of tables and queries, the scale factor and the number of rounds".into()),
    }
}

fn measure(folder: &Path, scale_factor: &str, rounds: usize) -> Result<()> {
    let receiver = Receiver::start()?;
    // Before the runtime: the client of the exporter has its own.
    let exporter = SpanExporter::builder().with_http().with_endpoint(receiver.endpoint()).build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("tracing-bench"));
    tracing_subscriber::registry().with(LevelFilter::INFO).with(layer).try_init()?;

    let costs = tokio::runtime::Runtime::new()?.block_on(in_turns(folder, rounds))?;
    provider.shutdown()?;
    let received = receiver.stop()?;
    if received == 0 {
        return Err("no span has left".into());
    }
    println!("{:.1} MB of spans were exported", received as f64 / 1e6);
    say_ratios("overhead", &costs, COLUMNS, scale_factor)?;
    Ok(())
}

async fn in_turns(folder: &Path, rounds: usize) -> Result<Vec<[Cost; 2]>> {
    let queries = read_queries(folder)?;
    let bare = with_tables(SessionContext::new(), folder).await?;
    let traced = with_tables(traced_session(), folder).await?;
    let mut costs = Vec::new();
    for round in 0..WARM_UP + rounds {
        let mut cost = [Cost::default(); 2];
        for (at, sql) in queries.iter().enumerate() {
            // In turns, so that neither always finds warm caches.
            let traced_first = (round + at).is_multiple_of(2);
            for is_traced in [traced_first, !traced_first] {
                let session = if is_traced { &traced } else { &bare };
                cost[usize::from(is_traced)].add(execute(session, sql).await?);
            }
        }
        costs.push(cost);
    }
    Ok(costs)
}

/// As the quick start of `datafusion-tracing` 55.0.1 has it (`src/lib.rs`), without the fields that name an environment.
fn traced_session() -> SessionContext {
    let options = InstrumentationOptions::builder()
        .record_metrics(true)
        .preview_limit(5)
        .preview_fn(Arc::new(|batch: &RecordBatch| {
            pretty_format_compact_batch(batch, 64, 3, 10).map(|text| text.to_string())
        }))
        .build();
    let rule = instrument_with_info_spans!(options: options);
    let state = SessionStateBuilder::new().with_default_features().with_physical_optimizer_rule(rule).build();
    let rules = RuleInstrumentationOptions::full().with_plan_diff();
    SessionContext::new_with_state(instrument_rules_with_info_spans!(options: rules, state: state))
}

/// The process that takes the spans.
struct Receiver {
    child: Child,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Receiver {
    fn start() -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg(RECEIVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("the receiver has no output")?);
        let mut port = String::new();
        output.read_line(&mut port)?;
        Ok(Self { child, output, port: port.trim().parse()? })
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/v1/traces", self.port)
    }

    /// Ends it. Returns how many bytes it was sent.
    fn stop(mut self) -> Result<u64> {
        drop(self.child.stdin.take());
        let mut bytes = String::new();
        self.output.read_line(&mut bytes)?;
        self.child.wait()?;
        Ok(bytes.trim().parse()?)
    }
}

/// Takes what is sent until the standard input ends, and prints the port and then how many bytes there were.
fn receive() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || answer(connection, &counted));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", received.load(Ordering::Relaxed));
    Ok(())
}

/// Answers every request of a connection with the empty message, which has taken all spans.
fn answer(connection: TcpStream, received: &AtomicU64) -> std::io::Result<()> {
    let mut answers = connection.try_clone()?;
    let mut requests = BufReader::new(connection);
    loop {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let read = std::io::copy(&mut requests.by_ref().take(length), &mut std::io::sink())?;
        received.fetch_add(read, Ordering::Relaxed);
        answers.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )?;
    }
}
