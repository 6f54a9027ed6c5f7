//! Runs that may have little memory, and places that cannot take a run.

use std::{fs, path::Path};

use daglight_system_tests::{Checkout, Daglight};
use serde_json::Value;

const SQL: &str = "\
-- node: orders
CREATE TABLE orders AS SELECT value AS id FROM generate_series(1, 1000);
-- node: late
COPY (SELECT count(*) AS n FROM orders) TO 'late.parquet';
";

/// With a limit on the address space, in KiB, from one that nothing fits into to one that all of it does.
#[test]
fn a_run_with_little_memory_ends_well_or_says_what_it_needs() {
    let mut codes = Vec::new();
    for limit in [400_000, 900_000, 1_300_000, 2_000_000, 4_000_000, 8_000_000] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("small.sql", SQL);
        let limited = format!(r#"ulimit -v {limit}; exec "$@""#);
        let finished = Daglight::run(&checkout, &pipeline).through("sh", &["-c", &limited, "sh"]).finish();
        assert!(!finished.stderr.contains("panicked"), "with {limit} KiB: {}", finished.stderr);
        match finished.code {
            Some(0) => assert_eq!(finished.report(0)["status"], "success"),
            _ => {
                let report = finished.report(2);
                let message = report["error"]["message"].as_str().unwrap_or_default();
                assert!(message.contains("raise the limit"), "{report:#}");
                assert_eq!(finished.stderr.matches("error:").count(), 1, "{}", finished.stderr);
            }
        }
        codes.push(finished.code);
    }
    assert!(codes.contains(&Some(0)) && codes.contains(&Some(2)), "{codes:?}");
}

/// With a limit on open files, from one that the runtime finds no place in.
#[test]
fn a_run_with_few_files_ends_well_or_says_what_it_needs() {
    for limit in [6, 7, 8, 9, 10, 11, 12, 16, 24] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("small.sql", SQL);
        let limited = format!(r#"ulimit -n {limit}; exec "$@""#);
        let finished = Daglight::run(&checkout, &pipeline).through("sh", &["-c", &limited, "sh"]).finish();
        assert!(!finished.stderr.contains("panicked"), "with {limit} files: {}", finished.stderr);
        if limit < 12 {
            assert!(finished.code == Some(2), "with {limit} files: {} {}", finished.stdout, finished.stderr);
            assert!(finished.report(2)["error"]["message"].is_string());
        }
    }
}

/// Nothing is written through a link, nor over a file.
#[test]
fn an_output_directory_whose_bundles_have_no_folder_is_refused() {
    for link in [false, true] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("small.sql", SQL);
        let out = checkout.path().join("out");
        fs::create_dir_all(&out).expect("a folder");
        let bundles = out.join("run_bundle");
        let what = match link {
            false => fs::write(&bundles, "mine").map(|()| "a file"),
            true => std::os::unix::fs::symlink(checkout.path(), &bundles).map(|()| "a symbolic link"),
        };
        let what = what.expect("it can be made");
        let finished = Daglight::run(&checkout, &pipeline).finish();
        let report: Value = finished.report(2);
        let message = report["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("run_bundle is ") && message.contains(what), "{report:#}");
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
        assert!(!checkout.path().join("late.parquet").exists());
    }
}

/// With a limit on the threads of the user, from one that no thread of ours fits into to one that all do; with a server and
/// a backend that threads are needed for, and that are not there.
#[test]
fn a_run_with_few_threads_ends_well_or_says_what_it_needs() {
    let mut codes = Vec::new();
    for limit in [1, 6, 16, 20, 22, 24, 26, 30, 40] {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("small.sql", SQL);
        let run = with_servers_away(Daglight::run(&checkout, &pipeline));
        let finished = run.with_threads_up_to(limit, &checkout).finish();
        assert!(!finished.stderr.contains("panicked"), "with {limit} threads: {}", finished.stderr);
        match finished.code {
            Some(0) => assert_eq!(finished.report(0)["status"], "success"),
            _ => {
                let report = finished.report(2);
                let message = report["error"]["message"].as_str().unwrap_or_default();
                assert!(message.contains("raise the limit on processes"), "{report:#}");
            }
        }
        codes.push(finished.code);
    }
    assert!(codes.contains(&Some(0)) && codes.contains(&Some(2)), "{codes:?}");
}

/// A program that uses the library has nobody who finds out before: each thread of ours that cannot be started is a warning.
#[test]
fn a_program_with_few_threads_runs_without_ours() {
    let program = Path::new(env!("CARGO_BIN_EXE_ending-run"));
    for limit in [2, 3, 4, 5, 6, 8, 12] {
        let checkout = Checkout::new();
        let run = with_servers_away(Daglight::program(program, &checkout, ["finish"]));
        // One worker is a thread of the program itself.
        let run = run.env("TOKIO_WORKER_THREADS", "1").with_threads_up_to(limit, &checkout);
        let finished = run.finish().ended_with(0);
        assert!(!finished.stderr.contains("panicked"), "with {limit} threads: {}", finished.stderr);
        let bundles = fs::read_dir(checkout.path().join("out/run_bundle")).expect("bundles");
        let manifest = bundles.flatten().next().expect("a bundle").path().join("manifest.json");
        let manifest: Value = serde_json::from_slice(&fs::read(manifest).expect("a manifest")).expect("JSON");
        assert_eq!(manifest["status"], "success", "with {limit} threads: {manifest:#}");
    }
}

fn with_servers_away(run: Daglight) -> Daglight {
    run.env("HAMILTON_API_URL", "http://127.0.0.1:1")
        .env("HAMILTON_PROJECT_ID", "1")
        .env("HAMILTON_USERNAME", "me@example.com")
        .env("DAGLIGHT_FLUSH_SECONDS", "1")
        .env("DAGLIGHT_SHUTDOWN_SECONDS", "1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
}
