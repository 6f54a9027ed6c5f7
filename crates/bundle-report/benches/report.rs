//! What a report of 1,000,000 spans takes: time, and memory at its peak.
//!
//! ```text
//! cargo xtask bench report
//! ```
//!
//! The bundle is written first: 1,000 nodes with a query each, operators of several partitions below it, and log records. The
//! report is made in a process of its own, so that the memory is that of the report alone.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bench_ratios::Ratio;
use chrono::{DateTime, TimeDelta};
use daglight_bundle_report::Report;
use daglight_run_bundle::{Bundle, Manifest, NodeRecord, NodeStatus, RunStatus};
use daglight_run_identity::RunId;

const SPANS: u64 = 1_000_000;
const NODES: u64 = 1_000;
/// Spans on a line, as the exporter writes them.
const SPANS_IN_A_LINE: u64 = 512;
const START_NANOSECONDS: u64 = 1_795_237_787_000_000_000;
const TARGET: Duration = Duration::from_secs(5);
const TARGET_BYTES: u64 = 200_000_000;
/// By what the process that makes the report knows that it is the one.
const BUNDLE: &str = "DAGLIGHT_BENCH_BUNDLE";

fn main() -> Result<(), Box<dyn Error>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of a bench: its own process says what is to be done"
    )]
    let bundle = env::var_os(BUNDLE);
    if let Some(bundle) = bundle {
        return make(&Bundle::open(bundle)?);
    }
    let out = tempfile::tempdir()?;
    let bundle = record(out.path())?;
    println!("{SPANS} spans in {} MB", fs::metadata(bundle.traces())?.len() / 1_000_000);
    let made = Command::new(env::current_exe()?).env(BUNDLE, bundle.dir()).status()?;
    made.success().then_some(()).ok_or_else(|| io::Error::other("the report was not made").into())
}

/// Makes the report of a bundle as `daglight report` does, and says what that took.
fn make(bundle: &Bundle) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let report = Report::from_bundle(bundle)?;
    report.write(bundle)?;
    let took = begun.elapsed();
    if report.totals.spans != SPANS {
        return Err(io::Error::other(format!("{} of {SPANS} spans", report.totals.spans)).into());
    }
    let peak = peak_bytes()?;
    println!("{:.2} s, {} MB", took.as_secs_f64(), peak / 1_000_000);
    let time = took.as_secs_f64() / TARGET.as_secs_f64();
    Ratio::new("report", "time, beside 5 s", time).target(1.0).say()?;
    Ratio::new("report", "memory, beside 200 MB", peak as f64 / TARGET_BYTES as f64).target(1.0).say()?;
    Ok(())
}

/// The most memory that this process has had.
fn peak_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kibibytes.ok_or("no VmHWM in /proc/self/status")?.trim().parse::<u64>()? * 1_024)
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

/// A node has a query, and the rest of its spans are those of operators, in partitions that run side by side.
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
