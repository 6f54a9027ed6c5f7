//! Packing, unpacking, and what must not be unpacked.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use daglight_bundle_archive::{
    Limits, PackError, PackOptions, UnpackError, is_archive, is_named_archive, pack, packed_folder,
    unopened_archive, unpack,
};
use daglight_run_bundle::{ArtifactCatalog, Bundle, Fault, FileEntry, Manifest, SignalFiles};
use daglight_run_identity::RunId;
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tar::{Builder, EntryType, Header};

const PLAN: &str = "plans/orders-0123456789abcdef.json";

/// A header and the start of a node, each with the CRC-32 of its record.
const OUTBOX: &str = r#"{"crc32":"e7c5e62a","record":{"format":"daglight_outbox","version":2}}
{"crc32":"8208fe91","record":{"event":"task_started","node":"marker","time":"2026-01-01T00:00:00.000000Z"}}
"#;

struct Scratch {
    out: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { out: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.out.path().join(name)
    }

    /// A bundle with a secret in every place with SQL.
    fn bundle(&self) -> Bundle {
        let run_id = RunId::new();
        let bundle = Bundle::create(self.out.path(), run_id).unwrap();
        let manifest = json!({
            "format": "daglight_run_bundle", "format_version": 3, "daglight_version": "0.1.0",
            "identity": {"run_id": run_id, "dag_name": "a::b_v1", "tags": {"error": "no function marker(Int64)"}}, "namespace": "daglight", "profile": "dev",
            "status": "failure", "started_at": "2026-11-21T08:00:00Z", "error": "node orders: no function marker(Int64)",
            "nodes": [{"name": "orders", "kind": "transform", "status": "failure", "error": "no function marker(Int64)",
                "earlier_attempts": [{"attempt": 1, "status": "failure", "error": "cannot cast 'marker' to Int32"}],
                "checks": [{"check": "a > 'marker'", "kind": "condition", "severity": "fail", "outcome": "failed",
                    "message": "cannot cast 'marker'"}]}],
            "warnings": [{"code": "check_not_passed", "message": "node orders: data check failed: a > 'marker'"}],
        });
        fs::write(bundle.manifest(), manifest.to_string()).unwrap();
        let attributes = json!([
            {"key": "db.query.text", "value": {"stringValue": "SELECT 'marker'"}},
            {"key": "daglight.node", "value": {"stringValue": "orders"}},
        ]);
        let error =
            json!([{"key": "exception.message", "value": {"stringValue": "no function marker(Int64)"}}]);
        let check = json!([{"key": "daglight.check.text", "value": {"stringValue": "a > 'marker'"}}]);
        let resource = json!({"attributes": [
            {"key": "process.command_line", "value": {"stringValue": "daglight run -c SELECT 'marker'"}}]});
        let metrics = json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": []}]});
        fs::write(bundle.metrics(), format!("{metrics}\n")).unwrap();
        let spans = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [{
            "attributes": attributes, "status": {"code": 2, "message": "no function marker(Int64)"},
            "events": [{"name": "exception", "attributes": error}, {"name": "data_check", "attributes": check}]}]}]}]});
        let record = |severity: u8, body: &str, error: &str| {
            let attributes = json!([{"key": "error", "value": {"stringValue": error}},
                {"key": "warning.code", "value": {"stringValue": "check_not_passed"}}]);
            json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{
                "severityNumber": severity, "body": {"stringValue": body}, "attributes": attributes}]}]}]})
        };
        fs::write(bundle.traces(), format!("{spans}\n{spans}\n")).unwrap();
        let logs = [
            record(17, "node failed", "no function marker(Int64)"),
            record(13, "node orders: data check failed: a > 'marker'", ""),
            record(9, "reads 'marker'", "'marker'"),
        ];
        fs::write(SignalFiles::from(&bundle).open_spans(), format!("{spans}\n")).unwrap();
        fs::write(bundle.logs(), logs.map(|line| format!("{line}\n")).concat()).unwrap();
        let plan = json!({
            "query_id": 1, "sql": "SELECT 'marker'", "logical_plan": "marker", "physical_plan": "marker",
            "preview": {"columns": ["a"], "rows": [["marker"]]},
            "schema": [{"name": "orders.status = Utf8(\"marker\")", "type": "Boolean"}],
            "lineage": {
                "columns": [{"name": "count(*) FILTER (WHERE a = Utf8(\"marker\"))", "sources": [{"table": "orders", "column": "status"}]}],
                "unresolved": ["Utf8(\"marker\") of a window"],
            },
            "metrics": {"operators": [{"id": 0, "name": "FilterExec", "detail": "a = marker", "output_rows": 7}]},
        });
        fs::write(bundle.dir().join(PLAN), plan.to_string()).unwrap();
        fs::write(bundle.tracker_dir().join("outbox.jsonl"), OUTBOX).unwrap();
        fs::write(bundle.report_markdown(), "marker").unwrap();
        fs::write(bundle.dir().join("manifest.lock"), "").unwrap();
        bundle
    }

    /// Unpacks into a new folder.
    fn unpack(&self, archive: &Path, limits: Limits) -> Result<Bundle, UnpackError> {
        let into = self.at("unpacked");
        fs::create_dir_all(&into).unwrap();
        unpack(archive, &into, limits)
    }

    /// An archive of these entries.
    fn archive(&self, entries: &[(EntryType, &str, &[u8])]) -> PathBuf {
        let path = self.at("hostile.tar.gz");
        let mut archive = Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::best()));
        for (kind, name, content) in entries {
            archive.append(&header(*kind, name, content.len() as u64), *content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        path
    }
}

/// A header with an unmodified name: the builder's own method rejects hostile ones.
fn header(kind: EntryType, name: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o777);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    header
}

#[test]
fn a_bundle_is_unpacked_as_it_was_packed_and_is_whole() {
    let scratch = Scratch::new();
    let bundle = scratch.bundle();
    // Longer than the field in the header.
    let long = bundle.plan_file(Some(&"n".repeat(300)), "0123456789abcdef");
    fs::write(&long, r#"{"query_id":1}"#).unwrap();
    let archive = scratch.at("run.tar.gz");
    let packed = pack(&bundle, &archive, PackOptions::default()).unwrap();
    assert!(is_archive(&archive) && !is_archive(&bundle.traces()) && !is_archive(bundle.dir()));
    let unpacked = scratch.unpack(&archive, Limits::default()).unwrap();
    let faults: Vec<String> = unpacked.verify().iter().map(Fault::to_string).collect();
    assert_eq!(faults, [""; 0]);
    // Open spans are packed as well, but are not missed when the run is closed.
    let open = SignalFiles::from(&unpacked).open_spans();
    let listed = packed.files.iter().filter(|entry| entry.path != "otel_traces.open.json");
    assert_eq!(Manifest::read(&unpacked).unwrap().files, listed.cloned().collect::<Vec<_>>());
    assert_eq!(fs::read(&open).unwrap(), fs::read(SignalFiles::from(&bundle).open_spans()).unwrap());
    fs::remove_file(open).unwrap();
    assert_eq!(unpacked.verify().len(), 0);
    for file in [PLAN, "otel_traces.json", "tracker/outbox.jsonl", "run_diagnostics_report.md"] {
        assert_eq!(fs::read(unpacked.dir().join(file)).unwrap(), fs::read(bundle.dir().join(file)).unwrap());
    }
    assert!(unpacked.dir().join("plans").join(long.file_name().unwrap()).exists());
    assert!(!unpacked.dir().join("manifest.lock").exists());
    // The same again, and never overwriting an existing file.
    let again = scratch.at("again.tar.gz");
    pack(&bundle, &again, PackOptions::default()).unwrap();
    assert_eq!(fs::read(&archive).unwrap(), fs::read(&again).unwrap());
    assert!(pack(&bundle, &again, PackOptions::default()).is_err());
    assert_eq!(fs::read(&archive).unwrap(), fs::read(&again).unwrap());
}

/// The faults by file.
fn damaged_files(bundle: &Bundle) -> BTreeSet<String> {
    bundle.verify().iter().filter_map(|fault| fault.path().map(str::to_owned)).collect()
}

#[test]
#[cfg(unix)]
fn an_archive_that_cannot_be_opened_is_one_by_its_name() {
    let scratch = Scratch::new();
    // It links to itself, so nobody can open it.
    for (name, is_named) in [("run.tar.gz", true), ("run.tgz", true), ("notes.txt", false)] {
        let path = scratch.at(name);
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let named = unopened_archive(&path).map(|error| error.to_string().contains(name));
        assert_eq!(named, is_named.then_some(true), "{name}");
    }
    assert!(unopened_archive(&scratch.at("gone.tar.gz")).is_none());
    fs::write(scratch.at("open.tar.gz"), "").unwrap();
    assert!(unopened_archive(&scratch.at("open.tar.gz")).is_none());
}

#[test]
fn a_file_with_the_name_of_an_archive_that_is_none_is_refused_as_one() {
    let scratch = Scratch::new();
    for (name, content) in [("fake.tar.gz", "hi"), ("empty.tgz", ""), ("one.tar.gz", "\x1f")] {
        let path = scratch.at(name);
        fs::write(&path, content).unwrap();
        assert!(is_named_archive(&path) && !is_archive(&path), "{name}");
        let error = scratch.unpack(&path, Limits::default()).unwrap_err();
        assert!(matches!(error, UnpackError::NotPacked { .. }), "{error:?}");
        assert!(error.to_string().contains("archive (.tar.gz) of a bundle"), "{error}");
    }
    fs::write(scratch.at("notes.txt"), "hi").unwrap();
    fs::create_dir(scratch.at("folder.tar.gz")).unwrap();
    for name in ["notes.txt", "folder.tar.gz", "gone.tar.gz"] {
        assert!(!is_named_archive(&scratch.at(name)), "{name}");
    }
}

#[test]
fn an_archive_of_a_damaged_bundle_is_damaged() {
    type Damage = fn(&Bundle);
    let damages: [(&str, Damage); 7] = [
        (PLAN, |bundle| fs::write(bundle.dir().join(PLAN), "{}").unwrap()),
        (PLAN, |bundle| fs::remove_file(bundle.dir().join(PLAN)).unwrap()),
        ("plans/b-0123456789abcdef.json", |bundle| {
            fs::write(bundle.plan_file(Some("b"), "0123456789abcdef"), "{}").unwrap();
        }),
        ("otel_traces.json", |bundle| {
            let text = fs::read_to_string(bundle.traces()).unwrap();
            fs::write(bundle.traces(), &text[..text.len() - 9]).unwrap();
        }),
        ("otel_traces.json", |bundle| {
            let text = fs::read_to_string(bundle.traces()).unwrap();
            fs::write(bundle.traces(), text.repeat(2)).unwrap();
        }),
        ("otel_logs.json", |bundle| fs::write(bundle.logs(), "{}\n").unwrap()),
        ("manifest.json", |bundle| {
            let text = fs::read_to_string(bundle.manifest()).unwrap();
            fs::write(bundle.manifest(), text.replace("a::b_v1", "a::b_v2")).unwrap();
        }),
    ];
    for (file, damage) in damages {
        for without_sql in [false, true] {
            let scratch = Scratch::new();
            let bundle = scratch.bundle();
            Manifest::update(&bundle, |manifest| manifest.files = FileEntry::list_with_hashes(&bundle))
                .unwrap();
            assert_eq!(damaged_files(&bundle), BTreeSet::new());
            damage(&bundle);
            let archive = scratch.at("run.tar.gz");
            let packed = pack(&bundle, &archive, PackOptions::default().without_sql(without_sql)).unwrap();
            assert!(packed.faults.iter().any(|fault| fault.path() == Some(file)), "{:?}", packed.faults);
            let unpacked = scratch.unpack(&archive, Limits::default()).unwrap();
            assert_eq!(damaged_files(&unpacked), BTreeSet::from([file.to_owned()]), "{without_sql}");
        }
    }
}

#[test]
fn a_packed_bundle_is_known_by_its_first_file() {
    let scratch = Scratch::new();
    let bundle = scratch.bundle();
    let archive = scratch.at("run.tar.gz");
    pack(&bundle, &archive, PackOptions::default()).unwrap();
    assert_eq!(packed_folder(&archive), bundle.recorded_run().map(|run| run.to_string()));
    assert_eq!(packed_folder(&bundle.manifest()), None);
    assert_eq!(packed_folder(&scratch.at("gone.tar.gz")), None);
    for name in ["../manifest.json", "/manifest.json", "manifest.json", "a/passwd", "a/../manifest.json"] {
        let foreign = scratch.archive(&[(EntryType::Regular, name, b"{}")]);
        assert_eq!(packed_folder(&foreign), None, "{name}");
    }
}

#[test]
fn errors_name_the_archive_and_the_file_in_it() {
    let scratch = Scratch::new();
    let archive = scratch.at("run.tar.gz");
    pack(&scratch.bundle(), &archive, PackOptions::default()).unwrap();
    let unpacked = scratch.unpack(&archive, Limits::default()).unwrap();
    fs::write(unpacked.manifest(), "{").unwrap();
    let error = Manifest::read(&unpacked).unwrap_err().to_string();
    assert_eq!(error, format!("{}/manifest.json is damaged", archive.display()));
    let error = pack(&unpacked, &scratch.at("again.tar.gz"), PackOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("the bundle {} cannot be packed", archive.display()));

    let foreign = scratch.archive(&[(EntryType::Regular, "a/manifest.json", b"{}")]);
    let into = scratch.at("foreign");
    fs::create_dir(&into).unwrap();
    let error = unpack(&foreign, &into, Limits::default()).unwrap_err();
    assert!(matches!(error, UnpackError::NoBundle { .. }), "{error:?}");
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    for said in chain.map(ToString::to_string) {
        assert!(!said.contains(&into.display().to_string()), "{said}");
    }
}

#[test]
fn without_sql_no_file_has_any() {
    let scratch = Scratch::new();
    let archive = scratch.at("run.tar.gz");
    let packed = pack(&scratch.bundle(), &archive, PackOptions::default().without_sql(true)).unwrap();
    assert_eq!(packed.left_out, ["run_diagnostics_report.md", "tracker/outbox.jsonl"]);
    let unpacked = scratch.unpack(&archive, Limits::default()).unwrap();
    assert_eq!(unpacked.verify().len(), 0);
    for file in unpacked.files() {
        let text = fs::read_to_string(unpacked.dir().join(&file)).unwrap();
        assert!(!text.contains("marker"), "{file}: {text}");
    }
    let plan = fs::read_to_string(unpacked.dir().join(PLAN)).unwrap();
    assert!(plan.contains("FilterExec") && plan.contains("output_rows"), "{plan}");
    assert!(plan.contains(r#""orders.status = Utf8(?)""#) && plan.contains(r#""column":"status""#), "{plan}");
    assert_eq!(fs::read_to_string(unpacked.traces()).unwrap().matches("daglight.node").count(), 2);
}

#[test]
fn without_sql_columns_that_are_named_after_an_expression_have_no_literals() {
    let scratch = Scratch::new();
    let bundle = scratch.bundle();
    let run_id = bundle.recorded_run().unwrap();
    let catalog = json!({"format_version": 1, "artifacts": [{
        "name": "orders", "materialization": "table", "run_id": run_id, "written_at": "2026-11-21T08:00:00Z",
        "schema": [{"name": "a LIKE Utf8(\"marker%\")", "type": "Boolean", "nullable": false}],
    }]});
    fs::write(bundle.artifacts(), catalog.to_string()).unwrap();
    let archive = scratch.at("run.tar.gz");
    pack(&bundle, &archive, PackOptions::default().without_sql(true)).unwrap();
    let unpacked = scratch.unpack(&archive, Limits::default()).unwrap();
    let artifact = ArtifactCatalog::read(&unpacked).unwrap().artifacts.remove(0);
    assert_eq!((&*artifact.name, &*artifact.schema[0].name), ("orders", "a LIKE Utf8(?)"));
}

#[test]
fn an_archive_has_the_name_of_what_it_is() {
    let scratch = Scratch::new();
    let bundle = scratch.bundle();
    for name in ["a.zip", "a.tar", "a"] {
        let to = scratch.at(name);
        let error = pack(&bundle, &to, PackOptions::default()).unwrap_err();
        assert!(matches!(&error, PackError::Named { path } if *path == to), "{error:?}");
        assert!(!to.exists());
    }
}

#[test]
#[cfg(unix)]
fn an_archive_belongs_to_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let scratch = Scratch::new();
    let archive = scratch.at("run.tar.gz");
    pack(&scratch.bundle(), &archive, PackOptions::default()).unwrap();
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    let unpacked = scratch.unpack(&archive, Limits::default()).unwrap();
    assert_eq!(fs::metadata(unpacked.traces()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[track_caller]
fn check_refused(entries: &[(EntryType, &str, &[u8])]) {
    let scratch = Scratch::new();
    let archive = scratch.archive(entries);
    let refused = scratch.unpack(&archive, Limits::default()).unwrap_err();
    assert!(matches!(refused, UnpackError::Foreign { .. }), "{refused:?}");
    // Files before it may exist in the folder that is discarded; nothing is outside of it.
    let mut outside: Vec<String> = fs::read_dir(scratch.out.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    outside.sort();
    assert_eq!(outside, ["hostile.tar.gz", "unpacked"]);
}

#[test]
fn a_path_that_leads_elsewhere_is_refused() {
    for name in [
        "run/../../evil.json",
        "../manifest.json",
        "/manifest.json",
        "run//manifest.json",
        "run/./manifest.json",
        "run/plans/../manifest.json",
        "run/plans/../../x-0123456789abcdef.json",
        "run/tracker/../outbox.jsonl",
        "run/evil.sh",
        "manifest.json",
        "run/plans/a/b-0123456789abcdef.json",
        "run\\..\\manifest.json",
        "",
    ] {
        check_refused(&[(EntryType::Regular, name, b"{}")]);
    }
}

#[test]
fn links_devices_and_folders_are_refused() {
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::Directory,
        EntryType::GNUSparse,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
        EntryType::GNULongLink,
    ] {
        check_refused(&[(kind, "run/manifest.json", b"")]);
    }
}

#[test]
fn a_file_twice_two_runs_and_a_long_name_that_is_too_long_are_refused() {
    let file = (EntryType::Regular, "run/otel_logs.json", b"".as_slice());
    check_refused(&[file, file]);
    check_refused(&[file, (EntryType::Regular, "other/otel_traces.json", b"")]);
    let long = "n".repeat(2_000);
    check_refused(&[(EntryType::GNULongName, "././@LongLink", long.as_bytes()), file]);
    check_refused(&[(EntryType::GNULongName, "././@LongLink", b"run/../../evil"), file]);
}

#[test]
fn what_holds_many_times_its_size_is_refused_before_it_is_written() {
    let scratch = Scratch::new();
    let zeros = vec![0; 80 << 20];
    let name = format!("{}/otel_traces.json", RunId::new());
    let archive = scratch.archive(&[(EntryType::Regular, &name, &zeros)]);
    let error = scratch.unpack(&archive, Limits::default()).unwrap_err();
    assert!(matches!(error, UnpackError::Ratio { .. }), "{error}");
    assert_eq!(fs::read_dir(scratch.at("unpacked")).unwrap().count(), 0);
}

#[test]
fn more_than_the_limits_is_refused() {
    let scratch = Scratch::new();
    let zeros = vec![b' '; 4 << 20];
    let archive = scratch.archive(&[(EntryType::Regular, "run/otel_logs.json", &zeros)]);
    assert!(fs::metadata(&archive).unwrap().len() < 100_000);
    let limits = Limits { bytes: 1 << 20, files: 10 };
    let refused = scratch.unpack(&archive, limits).unwrap_err();
    assert!(matches!(refused, UnpackError::TooLarge { .. }), "{refused:?}");
    let names: Vec<String> =
        (0..11).map(|number| format!("run/plans/p{number}-0123456789abcdef.json")).collect();
    let entries: Vec<_> =
        names.iter().map(|name| (EntryType::Regular, name.as_str(), b"{}".as_slice())).collect();
    let refused = Scratch::new();
    let archive = refused.archive(&entries);
    let refused = refused.unpack(&archive, limits).unwrap_err();
    assert!(matches!(refused, UnpackError::TooLarge { .. }), "{refused:?}");
}

#[test]
fn a_size_that_is_not_true_is_an_error_and_takes_no_memory() {
    let scratch = Scratch::new();
    let path = scratch.at("short.tar.gz");
    let mut gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::best());
    gzip.write_all(header(EntryType::Regular, "run/otel_logs.json", 7 << 30).as_bytes()).unwrap();
    gzip.write_all(&[b' '; 1_024]).unwrap();
    gzip.finish().unwrap();
    assert!(scratch.unpack(&path, Limits::default()).is_err());
}

#[test]
fn what_is_not_a_whole_archive_is_an_error() {
    let scratch = Scratch::new();
    let whole = scratch.at("run.tar.gz");
    pack(&scratch.bundle(), &whole, PackOptions::default()).unwrap();
    let whole = fs::read(whole).unwrap();
    let path = scratch.at("part.tar.gz");
    for length in (0..whole.len()).step_by(97) {
        fs::write(&path, &whole[..length]).unwrap();
        let into = tempfile::tempdir().unwrap();
        let error = unpack(&path, into.path(), Limits::default()).unwrap_err();
        assert!(error.to_string().contains("part.tar.gz"), "{length}: {error}");
    }
    // One bit at a time: the result is an error, or a bundle whose faults are detected, and never a panic.
    for position in (0..whole.len()).step_by(13) {
        let mut changed = whole.clone();
        changed[position] ^= 1 << (position % 8);
        fs::write(&path, &changed).unwrap();
        let into = tempfile::tempdir().unwrap();
        if let Ok(bundle) = unpack(&path, into.path(), Limits::default()) {
            let _faults = bundle.verify();
        }
    }
}
