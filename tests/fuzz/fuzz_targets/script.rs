//! Whatever is in a script, it is read, or rejected with an error that names a place inside it.
//!
//! An input is the text of the script.

#![no_main]

use daglight_capture_policy::Redactor;
use daglight_sql_pipeline::{Pipeline, PipelineOptions, Script};
use libfuzzer_sys::fuzz_target;

/// Bytes of a script that are read: longer ones reach nothing that shorter ones do not, and take longer.
const LONGEST: usize = 4 << 10;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(&input[..input.len().min(LONGEST)]);
    let lines = text.split('\n').count();
    let script = match Script::parse("a.sql", &text) {
        Ok(script) => script,
        Err(error) => {
            assert!((1..=lines).contains(&error.place.line), "{error}");
            assert!(error.shown_by(&Redactor::default()).starts_with("a.sql:"), "{error}");
            return;
        }
    };
    for statement in script.statements() {
        assert!(text.contains(&statement.text), "{:?}", statement.text);
        assert!(statement.first_line <= statement.last_line && statement.last_line <= lines);
        assert!(statement.parse().is_ok(), "{:?}", statement.text);
    }
    let statements = script.statements().len();
    match Pipeline::new(script, PipelineOptions::default()) {
        Ok(pipeline) => {
            assert_eq!(pipeline.steps().len(), statements);
            for (position, step) in pipeline.steps().iter().enumerate() {
                assert!(step.after.iter().all(|before| *before < position));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
