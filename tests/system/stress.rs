//! Many small queries at once, with everything on: whatever comes together, the run ends.

use std::{path::Path, thread, time::Duration};

use daglight_system_tests::{Checkout, Daglight, Running};
use serde_json::Value;

/// How long a run may take that does something for a second or two.
const LIMIT: Duration = Duration::from_secs(60);

/// With a fast heart that judges fast, everything recorded, and servers that are not there.
fn with_everything(daglight: Daglight) -> Daglight {
    daglight
        .env("DAGLIGHT_OUTPUT_DIR", "out")
        .env("DAGLIGHT_HEARTBEAT_SECONDS", "0.01")
        .env("DAGLIGHT_STALL_SECONDS", "30")
        .env("DAGLIGHT_FLUSH_SECONDS", "1")
        .env("HAMILTON_API_URL", "http://127.0.0.1:9")
        .env("HAMILTON_PROJECT_ID", "1")
        .env("HAMILTON_USERNAME", "me")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
}

/// Interrupts it after a second or a part of one, which is another one in each call, and says which.
fn interrupted(running: &Running) -> String {
    let after = Duration::from_millis(fastrand::u64(100..1_500));
    thread::sleep(after);
    running.signal_if_it_runs("INT");
    format!("interrupted after {after:?}")
}

fn script() -> String {
    let mut sql = String::from("SET datafusion.execution.target_partitions = 2;\n");
    for number in 0..30 {
        let node = format!("n{number}");
        sql += &format!(
            "-- node: {node}\nCREATE TABLE {node} AS SELECT value AS id, 'password=hunter{number}' AS password \
             FROM generate_series(1, 200) WHERE value > {number};\n\
             COPY (SELECT id FROM {node}) TO 'out/{node}.parquet';\n\
             SELECT count(*) FROM {node} WHERE password <> 'token=hunter{number}';\n"
        );
    }
    sql
}

#[test]
fn a_program_whose_own_code_calls_back_ends_whenever_it_is_asked_to() {
    let start = |checkout: &Checkout| {
        let program = Path::new(env!("CARGO_BIN_EXE_stress-run"));
        with_everything(Daglight::program(program, checkout, ["2"])).start()
    };
    let checkout = Checkout::new();
    let finished = start(&checkout).finish_within(LIMIT);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for _ in 0..2 {
        let checkout = Checkout::new();
        let running = start(&checkout);
        let when = interrupted(&running);
        let finished = running.finish_within(LIMIT);
        // Before it listens to signals, the system ends it; and it may be done.
        assert!(
            matches!(finished.code, None | Some(0 | 130)),
            "{when}: {:?}\n{}",
            finished.code,
            finished.stderr
        );
    }
}

#[test]
fn a_script_of_many_statements_at_once_ends_whenever_it_is_asked_to() {
    for number in 0..2 {
        let checkout = Checkout::new();
        let run = Daglight::run(&checkout, &checkout.pipeline("many.sql", &script()));
        let running = with_everything(run.args(["--jobs", "8"])).start();
        let when = if number == 0 { String::new() } else { interrupted(&running) };
        let finished = running.finish_within(LIMIT);
        let code = finished.code;
        if code.is_none() && finished.stdout.is_empty() {
            continue;
        }
        let report: Value = serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{when}: {error}\n{}\n{}", finished.stdout, finished.stderr));
        let status = report["status"].as_str();
        let expected = match status {
            Some("success") => 0,
            // Also where it came before the run.
            Some("interrupted") | None => 130,
            _ => -1,
        };
        assert_eq!(code, Some(expected), "{when}: {status:?}\n{}", finished.stderr);
    }
}
