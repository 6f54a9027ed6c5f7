//! Runs that may have little memory, and places that cannot take a run.

use std::fs;

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
