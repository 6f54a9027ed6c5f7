//! The cost of a report for 1,000,000 spans: time, and peak memory.
//!
//! ```text
//! cargo xtask bench report
//! ```
//!
//! The bundle is written first: 1,000 nodes with one query each, operators with several partitions below it, and log records. The
//! report is made in a separate process, so that the memory is that of the report alone.

mod alone;

use std::{
    error::Error,
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
    time::Duration,
};

use alone::{Made, made_here, make_alone};
use bench_ratios::Ratio;
use chrono::{DateTime, TimeDelta};
use daglight_run_bundle::{Bundle, Manifest, NodeRecord, NodeStatus, RunStatus};
use daglight_run_identity::RunId;

const SPANS: u64 = 1_000_000;
const NODES: u64 = 1_000;
/// The number of spans per line, as in the exporter.
const SPANS_IN_A_LINE: u64 = 512;
const START_NANOSECONDS: u64 = 1_795_237_787_000_000_000;
const TARGET: Duration = Duration::from_secs(5);
const TARGET_BYTES: u64 = 200_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(made) = made_here()? {
        return say(&made);
    }
    let out = tempfile::tempdir()?;
    let bundle = record(out.path())?;
    println!("{SPANS} spans in {} MB", fs::metadata(bundle.traces())?.len() / 1_000_000);
    make_alone(&bundle)
}

fn say(made: &Made) -> Result<(), Box<dyn Error>> {
    let spans = made.report.totals.spans;
    if spans != SPANS {
        return Err(io::Error::other(format!("{spans} of {SPANS} spans")).into());
    }
    println!("{:.2} s, {} MB", made.time.as_secs_f64(), made.peak_bytes / 1_000_000);
    let time = made.time.as_secs_f64() / TARGET.as_secs_f64();
    Ratio::new("report", "time, beside 5 s", time).target(1.0).say()?;
    let memory = made.peak_bytes as f64 / TARGET_BYTES as f64;
    Ratio::new("report", "memory, beside 200 MB", memory).target(1.0).say()?;
    Ok(())
}

fn record(out: &Path) -> Result<Bundle, Box<dyn Error>> {
    let run_id = RunId::new();
    let bundle = Bundle::create(out, run_id)?;
    let started_at = DateTime::from_timestamp_nanos(i64::try_from(START_NANOSECONDS)?);
    let node = |number: u64| NodeRecord {
        status: NodeStatus::Success,
        started_at: Some(started_at),
        duration_ms: Some(50.0),
        dependencies: number.checked_sub(1).map(|before| format!("node_{before}")).into_iter().collect(),
        ..NodeRecord::not_run(format!("node_{number}"))
    };
    let manifest = Manifest {
        status: RunStatus::Success,
        ended_at: Some(started_at + TimeDelta::seconds(60)),
        nodes: (0..NODES).map(node).collect(),
        ..Manifest::of_start(run_id, "bench::pipeline_v1", started_at)
    };
    manifest.write(&bundle)?;
    spans(&bundle)?;
    for file in [bundle.metrics(), bundle.logs()] {
        fs::write(file, "")?;
    }
    Ok(bundle)
}

/// A node has a query, and its other spans are those of operators, in partitions that run in parallel.
fn spans(bundle: &Bundle) -> Result<(), Box<dyn Error>> {
    let mut file = BufWriter::new(File::create(bundle.traces())?);
    let of_node = SPANS / NODES;
    let (mut line, mut in_line) = (String::new(), 0);
    for number in 0..SPANS {
        let (node, position) = (number / of_node, number % of_node);
        let start = START_NANOSECONDS + node * 50_000_000 + (position * 1_000) % 40_000_000;
        let (name, parent, end, attributes) = match position {
            0 => ("hamilton.node", 0, start + 50_000_000, text("daglight.node", &format!("node_{node}"))),
            1 => (
                "datafusion.execute",
                number,
                start + 45_000_000,
                [
                    text("daglight.query_id", &node.to_string()),
                    text("daglight.plan_hash", "9f3a9f3a9f3a9f3a"),
                ]
                .join(","),
            ),
            _ => (
                "datafusion.operator",
                node * of_node + 2,
                start + 1_000_000 + position * 1_000,
                [text("daglight.operator", "FilterExec"), count("daglight.row_count", position)].join(","),
            ),
        };
        let parent = if parent == 0 { String::new() } else { format!("{parent:016x}") };
        let between = if in_line > 0 { "," } else { "" };
        write!(
            line,
            r#"{between}{{"traceId":"c3a07f31abd3815bc05dbc18c64c3890","spanId":"{:016x}","parentSpanId":"{parent}","name":"{name}","kind":1,"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}","attributes":[{attributes}],"status":{{}}}}"#,
            number + 1
        )?;
        in_line += 1;
        if in_line == SPANS_IN_A_LINE || number + 1 == SPANS {
            writeln!(
                file,
                r#"{{"resourceSpans":[{{"resource":{{"attributes":[]}},"scopeSpans":[{{"scope":{{"name":"daglight"}},"spans":[{line}]}}]}}]}}"#
            )?;
            line.clear();
            in_line = 0;
        }
    }
    file.flush()?;
    Ok(())
}

fn text(key: &str, value: &str) -> String {
    format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
}

fn count(key: &str, value: u64) -> String {
    format!(r#"{{"key":"{key}","value":{{"intValue":"{value}"}}}}"#)
}
