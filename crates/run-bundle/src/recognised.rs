//! Recognising the folder of a bundle.

use std::{io::Read as _, path::Path};

use daglight_guarded_files::{EntryKind, FileBelow, entries_below};
use daglight_run_identity::RunId;
use serde::Deserialize;
use serde_json::Value;

use crate::layout::{
    LOGS, MANIFEST, MANIFEST_FORMAT, MAX_FILE_BYTES, METRICS, RUN_BUNDLE, TRACES, TRACKER, is_known,
};

/// Whether a folder is a bundle: its manifest has the marker, or it is named after a run and contains what a run leaves that was
/// killed before its manifest was complete.
pub(crate) fn is_bundle(dir: &Path) -> bool {
    run_of_bundle(dir).is_some()
}

/// The run of a folder, if that is a bundle.
pub(crate) fn run_of_bundle(dir: &Path) -> Option<RunId> {
    if let Some(claimed) = claimed_run(dir) {
        return Some(claimed);
    }
    let absolute = std::path::absolute(dir).ok()?;
    let named = absolute.file_name()?.to_str()?.parse().ok()?;
    // Its manifest is missing or damaged. A name alone is not enough to delete a folder.
    (holds_recording(dir) || (is_in_run_bundle(&absolute) && holds_known(dir))).then_some(named)
}

/// The run that the manifest in a folder names, if it is one of ours.
pub(crate) fn claimed_run(dir: &Path) -> Option<RunId> {
    #[derive(Deserialize)]
    struct Claim {
        format: Option<String>,
        daglight_version: Option<Value>,
        namespace: Option<Value>,
        status: Option<Value>,
        identity: ClaimedIdentity,
    }
    #[derive(Deserialize)]
    struct ClaimedIdentity {
        run_id: RunId,
    }
    let text = FileBelow::new(dir, MANIFEST).read(MAX_FILE_BYTES).ok()?;
    let claim: Claim = serde_json::from_slice(&text).ok()?;
    let is_ours = match &claim.format {
        Some(format) => format == MANIFEST_FORMAT,
        // The first manifests had no marker. Three keys are required together, because web pages and packages of other tools also
        // have a `manifest.json`.
        None => claim.daglight_version.is_some() && claim.namespace.is_some() && claim.status.is_some(),
    };
    is_ours.then_some(claim.identity.run_id)
}

/// Whether the folder has the beginning of an outbox or of a signal file.
fn holds_recording(dir: &Path) -> bool {
    const BEGINNINGS: [(&str, &str); 4] = [
        ("tracker/outbox.jsonl", r#""record":{"format":"daglight_outbox""#),
        (TRACES, r#"{"resourceSpans":"#),
        (METRICS, r#"{"resourceMetrics":"#),
        (LOGS, r#"{"resourceLogs":"#),
    ];
    BEGINNINGS.iter().any(|(below, mark)| {
        let mut beginning = Vec::new();
        let read =
            FileBelow::new(dir, *below).open().and_then(|file| file.take(256).read_to_end(&mut beginning));
        // Only the first bytes: the file may have gigabytes, and every entry of a listing is checked.
        read.is_ok() && String::from_utf8_lossy(&beginning).contains(mark)
    })
}

/// Whether the folder is in a place for runs, and has a file or subfolder of a run.
fn holds_known(dir: &Path) -> bool {
    entries_below(dir, "").is_ok_and(|entries| {
        entries.iter().any(|entry| match entry.kind {
            EntryKind::File { .. } => entry.name.to_str().is_some_and(is_known),
            EntryKind::Folder => entry.name == TRACKER,
            EntryKind::Other => false,
        })
    })
}

fn is_in_run_bundle(dir: &Path) -> bool {
    dir.parent().and_then(Path::file_name).is_some_and(|name| name == RUN_BUNDLE)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fixture;

    #[track_caller]
    fn check_bundle(folder: &str, files: &[(&str, &str)], expected: bool) {
        let out = tempfile::tempdir().unwrap();
        let dir = out.path().join(folder);
        fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            fs::write(dir.join(name), text).unwrap();
        }
        assert_eq!(is_bundle(&dir), expected, "{folder} {files:?}");
    }

    #[test]
    fn a_bundle_is_what_a_run_has_written() {
        let run = "019abcde-0000-7000-8000-000000000000";
        let ours = serde_json::to_string(&fixture::manifest()).unwrap();
        let mut before = serde_json::to_value(fixture::manifest()).unwrap();
        before.as_object_mut().unwrap().remove("format");
        check_bundle("renamed", &[(MANIFEST, &ours)], true);
        check_bundle("renamed", &[(MANIFEST, &before.to_string())], true);
        check_bundle(
            run,
            &[(MANIFEST, &ours[..ours.len() / 2]), ("otel_traces.json", "{\"resourceSpans\":[")],
            true,
        );
        check_bundle(
            run,
            &[("tracker/outbox.jsonl", "{\"crc32\":\"1\",\"record\":{\"format\":\"daglight_outbox\"")],
            true,
        );
        check_bundle(&format!("run_bundle/{run}"), &[("otel_traces.json", "\0\0")], true);
        check_bundle(&format!("run_bundle/{run}"), &[("tracker/x", "")], true);
        check_bundle(&format!("run_bundle/{run}"), &[("main.rs", "")], false);

        let web = r#"{"name": "shop", "short_name": "shop", "start_url": "/"}"#;
        check_bundle("project", &[(MANIFEST, web)], false);
        check_bundle("project", &[(MANIFEST, &ours.replace(MANIFEST_FORMAT, "other_format"))], false);
        check_bundle("project", &[(MANIFEST, r#"{"format_version":1,"identity":{"run_id":"7"}}"#)], false);
        check_bundle("project", &[("otel_traces.json", "{\"resourceSpans\":[")], false);
        check_bundle(run, &[(MANIFEST, web), ("src/main.js", "")], false);
        check_bundle(run, &[("tracker/notes", "")], false);
    }
}
