//! The time for a data summary: one million rows with seven columns on one core and on two.
//!
//! If `PYTHON` is the path of a Python with `apache-hamilton-sdk` and `polars`, the SDK summarises the same rows, and the ratio is
//! printed: `PYTHON=venv/bin/python cargo bench -p daglight-data-summary`.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench is an edge: cargo xtask bench names its servers and its Python in variables"
)]

use std::{
    error::Error,
    fs::File,
    hint::black_box,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::SchemaRef,
};
use bench_ratios::Ratio;
use daglight_data_summary::{DataSummary, Summarizer, SummaryOptions};
use parquet::arrow::ArrowWriter;

const ROWS: usize = 1_000_000;
const BATCH_ROWS: usize = 8192;
const RUNS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let table = table()?;
    let batches: Vec<RecordBatch> =
        (0..ROWS).step_by(BATCH_ROWS).map(|start| table.slice(start, BATCH_ROWS.min(ROWS - start))).collect();
    let schema = table.schema();
    let one = median(|| {
        black_box(summarize(&schema, &batches).finish());
    });
    println!("{ROWS} rows x {} columns, one core: {:.1} ms", table.num_columns(), milliseconds(one));
    let two = median(|| {
        black_box(summarize_on_two_cores(&schema, &batches));
    });
    println!("{ROWS} rows x {} columns, two cores: {:.1} ms", table.num_columns(), milliseconds(two));
    match std::env::var_os("PYTHON") {
        None => println!("the Python SDK: set PYTHON to compare"),
        Some(python) => {
            let sdk_ms = run_sdk(Path::new(&python), &table)?;
            println!("the Python SDK on polars: {sdk_ms:.1} ms");
            let ratio = milliseconds(two) / sdk_ms;
            let target = 1.0 / 8.0;
            Ratio::new("summary", "1,000,000 rows, beside the Python SDK on polars", ratio)
                .target(target)
                .say()?;
        }
    }
    Ok(())
}

fn summarize(schema: &SchemaRef, batches: &[RecordBatch]) -> Summarizer {
    let mut summarizer = Summarizer::new(schema, SummaryOptions::default());
    batches.iter().for_each(|batch| summarizer.update(batch));
    summarizer
}

fn summarize_on_two_cores(schema: &SchemaRef, batches: &[RecordBatch]) -> DataSummary {
    let (first, second) = batches.split_at(batches.len() / 2);
    let (mut merged, other) = thread::scope(|scope| {
        let other = scope.spawn(|| summarize(schema, second));
        (summarize(schema, first), other.join().expect("a summarizer does not panic"))
    });
    merged.merge(other);
    merged.finish()
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// An integer, floats with and without nulls, texts of low and of high cardinality, a truth value and a timestamp.
fn table() -> Result<RecordBatch, Box<dyn Error>> {
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let integers = Int64Array::from_iter_values((0..ROWS).map(|_| random(1_000_000) as i64));
    let sparse: Float64Array =
        (0..ROWS).map(|_| (random(20) > 0).then(|| random(1 << 30) as f64 / 1e6)).collect();
    let dense = Float64Array::from_iter_values((0..ROWS).map(|_| random(1 << 30) as f64 / 1e3));
    let categories = StringArray::from_iter_values((0..ROWS).map(|_| format!("category-{:02}", random(20))));
    let customers =
        StringArray::from_iter_values((0..ROWS).map(|_| format!("customer#{:09}", random(100_000))));
    let flags: BooleanArray = (0..ROWS).map(|_| Some(random(3) == 0)).collect();
    let instants = TimestampMicrosecondArray::from_iter_values(
        (0..ROWS).map(|row| 1_700_000_000_000_000 + 1_000 * row as i64 + random(1_000) as i64),
    );
    let columns: [(&str, ArrayRef); 7] = [
        ("integer", Arc::new(integers)),
        ("sparse", Arc::new(sparse)),
        ("dense", Arc::new(dense)),
        ("category", Arc::new(categories)),
        ("customer", Arc::new(customers)),
        ("flag", Arc::new(flags)),
        ("instant", Arc::new(instants)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Milliseconds that the Python SDK takes for the same rows.
fn run_sdk(python: &Path, table: &RecordBatch) -> Result<f64, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("table.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&file)?, table.schema(), None)?;
    writer.write(table)?;
    writer.close()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/summary_polars.py");
    let output = Command::new(python).arg(script).arg(&file).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
