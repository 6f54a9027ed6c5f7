//! How long the page of a large run takes to open in Chromium, how smoothly it scrolls and zooms, and whether its timeline is empty
//! at times when something ran.
//!
//! ```text
//! cargo xtask bench page
//! ```
//!
//! The run has 10,000 nodes and 100,000 spans. The page is served locally with an additional script for the measurements, and
//! without its policy, which would block that script. `chromium` must be on the `PATH`; an argument can give another name or path.
//! With `DAGLIGHT_BENCH_PAGE` the page is saved at that path.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use bench_ratios::Ratio;
use chrono::{DateTime, TimeDelta};
use daglight_bundle_report::Report;
use daglight_run_bundle::{Bundle, Manifest, NodeRecord, NodeStatus, RunStatus};
use daglight_run_identity::RunId;
use serde_json::Value;

const NODES: u64 = 10_000;
/// The number of spans of a node: a stage, a query and eight operators.
const SPANS_OF_A_NODE: u64 = 10;
/// The number of nodes that run at the same time.
const AT_ONCE: u64 = 8;
const NODE_NANOSECONDS: u64 = 50_000_000;
const START_NANOSECONDS: u64 = 1_795_237_787_000_000_000;
const TARGET_MS: f64 = 3_000.0;
const SCRIPT: &str = include_str!("measure.js");

fn main() -> Result<(), Box<dyn Error>> {
    let out = tempfile::tempdir()?;
    let bundle = record(out.path())?;
    let report = Report::from_bundle(&bundle)?;
    report.write(&bundle)?;
    let page = fs::read_to_string(bundle.report_html())?;
    #[expect(clippy::disallowed_methods, reason = "the edge of a bench: its caller says what is to be kept")]
    let kept = env::var_os("DAGLIGHT_BENCH_PAGE");
    if let Some(kept) = kept {
        fs::write(kept, &page)?;
    }
    println!("{} nodes, {} spans, {} MB", NODES, report.totals.spans, page.len() / 1_000_000);

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}/", listener.local_addr()?);
    let _browser = Browser::open(&address, &out.path().join("profile"))?;
    let measured = serve(&listener, &measuring(&page)?)?;
    say(&measured)
}

fn say(measured: &Value) -> Result<(), Box<dyn Error>> {
    let number = |value: &Value| value.as_f64().ok_or("the page measured no number");
    let opened_ms = number(&measured["opened"])?;
    println!("{} bars and {} bands in {} lanes", measured["bars"], measured["bands"], measured["lanes"]);
    println!("scripts done after {:.0} ms, drawn after {opened_ms:.0} ms", number(&measured["loaded"])?);
    Ratio::new("page", format!("drawn, beside {TARGET_MS} ms"), opened_ms / TARGET_MS).target(1.0).say()?;
    for act in ["page", "timeline", "zoom"] {
        let times = &measured[act];
        println!(
            "frames, {act}: median {:.1} ms, 95 % up to {:.1} ms, longest {:.1} ms",
            number(&times["median"])?,
            number(&times["p95"])?,
            number(&times["longest"])?
        );
    }
    println!("{} of {} pixels in which something ran are empty", measured["empty"], measured["ran"]);
    if measured["empty"] != 0 || measured["ran"] == 0 {
        return Err(io::Error::other("the timeline is empty where something ran").into());
    }
    Ok(())
}

/// The page with the script for the measurements.
fn measuring(page: &str) -> Result<String, Box<dyn Error>> {
    let policy = page.find("<meta http-equiv").ok_or("the page has no policy")?;
    let end = policy + page[policy..].find('>').ok_or("the policy does not end")? + 1;
    let body = page.rfind("</body>").ok_or("the page does not end")?;
    Ok([&page[..policy], &page[end..body], "<script>", SCRIPT, "</script>", &page[body..]].concat())
}

/// Serves the page until it sends its measurements.
fn serve(listener: &TcpListener, page: &str) -> Result<Value, Box<dyn Error>> {
    loop {
        let (mut stream, _) = listener.accept()?;
        let Some((method, body)) = request(&stream)? else { continue };
        if method == "POST" {
            answer(&mut stream, "")?;
            return Ok(serde_json::from_slice(&body)?);
        }
        answer(&mut stream, page)?;
    }
}

/// The method and the body of a request. `None` for a connection that was only opened.
fn request(stream: &TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(method) = line.split(' ').next().filter(|method| !method.is_empty()).map(str::to_owned) else {
        return Ok(None);
    };
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((method, body)))
}

fn answer(stream: &mut TcpStream, body: &str) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A headless Chromium, which is stopped when this is dropped.
struct Browser(Child);

impl Browser {
    fn open(address: &str, profile: &Path) -> Result<Self, Box<dyn Error>> {
        let given = env::args().skip(1).find(|argument| !argument.starts_with("--"));
        let program = given.as_deref().unwrap_or("chromium");
        let mut command = Command::new(program);
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .args(["--no-proxy-server", "--window-size=1400,1000"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{program} does not start: {error}"))?;
        Ok(Self(child))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may already have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn record(out: &Path) -> Result<Bundle, Box<dyn Error>> {
    let run_id = RunId::new();
    let bundle = Bundle::create(out, run_id)?;
    let started_at = DateTime::from_timestamp_nanos(i64::try_from(START_NANOSECONDS)?);
    let node = |number: u64| -> Result<NodeRecord, Box<dyn Error>> {
        Ok(NodeRecord {
            status: if number % 1_000 == 999 { NodeStatus::Failure } else { NodeStatus::Success },
            started_at: Some(started_at + TimeDelta::nanoseconds(i64::try_from(begins(number))?)),
            duration_ms: Some(NODE_NANOSECONDS as f64 / 1e6),
            dependencies: number
                .checked_sub(AT_ONCE)
                .map(|before| format!("node_{before}"))
                .into_iter()
                .collect(),
            ..NodeRecord::not_run(format!("node_{number}"))
        })
    };
    let manifest = Manifest {
        status: RunStatus::Success,
        ended_at: Some(started_at + TimeDelta::nanoseconds(i64::try_from(begins(NODES))?)),
        nodes: (0..NODES).map(node).collect::<Result<_, _>>()?,
        ..Manifest::of_start(run_id, "bench::page_v1", started_at)
    };
    manifest.write(&bundle)?;
    fs::write(bundle.traces(), (0..NODES).map(spans).collect::<String>())?;
    for file in [bundle.metrics(), bundle.logs()] {
        fs::write(file, "")?;
    }
    Ok(bundle)
}

/// Nanoseconds from the start of the run. There is a pause after every thousandth node.
fn begins(node: u64) -> u64 {
    node / AT_ONCE * NODE_NANOSECONDS + node / 1_000 * 20 * NODE_NANOSECONDS
}

/// The spans of a node, on one line.
fn spans(node: u64) -> String {
    let start = START_NANOSECONDS + begins(node);
    let first = node * SPANS_OF_A_NODE + 1;
    let mut spans = String::new();
    for position in 0..SPANS_OF_A_NODE {
        let (name, parent, key, value, from, until) = match position {
            0 => ("hamilton.stage", 0, "stage", "write".to_owned(), 0, NODE_NANOSECONDS),
            1 => ("datafusion.execute", first, "query_id", node.to_string(), 1_000_000, NODE_NANOSECONDS / 2),
            _ => {
                let from = 2_000_000 + position * 2_000_000;
                // With very different lengths, like those of joins and projections.
                (
                    "datafusion.operator",
                    first + 1,
                    "operator",
                    format!("Operator{position}Exec"),
                    from,
                    from + (node * 7 + position) % 1_000 * 1_000 + 100,
                )
            }
        };
        let parent = if parent == 0 { String::new() } else { format!("{parent:016x}") };
        let between = if position > 0 { "," } else { "" };
        write!(
            spans,
            r#"{between}{{"traceId":"c3a07f31abd3815bc05dbc18c64c3890","spanId":"{:016x}","parentSpanId":"{parent}","name":"{name}","kind":1,"startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{{"key":"daglight.{key}","value":{{"stringValue":"{value}"}}}},{{"key":"daglight.node","value":{{"stringValue":"node_{node}"}}}}],"status":{{}}}}"#,
            first + position,
            start + from,
            start + until,
        )
        .expect("a text takes what is written into it");
    }
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[]}},"scopeSpans":[{{"scope":{{"name":"daglight"}},"spans":[{spans}]}}]}}]}}"#
    ) + "\n"
}
