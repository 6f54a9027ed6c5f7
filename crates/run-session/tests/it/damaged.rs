//! Bundles with any damage: no reader panics, hangs or gives up, and what is damaged can still be deleted.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use daglight_bundle_report::{Report, ReportError};
use daglight_capture_policy::Profile;
use daglight_materializers::Table;
use daglight_run_bundle::{
    Bundle, DeleteError, Manifest, WarningCode, outbox::outbox_status, retention::Kept,
};
use daglight_run_identity::RunId;
use daglight_run_session::{BundleStatus, RunOptions, close_dead_run, sync_run};
use datafusion::execution::SessionStateBuilder;
use fastrand::Rng;
use serde_json::Value;

use crate::{dag, telemetry};

/// A bundle in memory: its run, the paths below its folder, and what is in the files.
#[derive(Clone)]
struct Files {
    run_id: RunId,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// What a run leaves whose process died before it ended.
async fn left_behind() -> Files {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let ctx = telemetry.session(SessionStateBuilder::new_with_default_features());
    let run = telemetry.start_run(&dag(), RunOptions::default());
    run.node("orders", async |node| {
        let frame = ctx.sql("SELECT value AS id FROM generate_series(1, 10)").await?;
        node.materialize(&ctx, frame, Table::named("orders")).await
    })
    .await
    .unwrap();
    let report = run.finish().await;
    let (run_id, bundle) = (report.run_id, report.bundle.unwrap());
    let mut files = Vec::new();
    for folder in ["", "plans", "tracker"] {
        for entry in
            fs::read_dir(bundle.join(folder)).unwrap().flatten().filter(|entry| entry.path().is_file())
        {
            files.push((Path::new(folder).join(entry.file_name()), fs::read(entry.path()).unwrap()));
        }
    }
    let changed = |name: &str, key: &str, value: Value| {
        let mut json: Value = serde_json::from_slice(&fs::read(bundle.join(name)).unwrap()).unwrap();
        json[key] = value;
        // That of the file before.
        json.as_object_mut().unwrap().remove("checksum");
        (PathBuf::from(name), json.to_string().into_bytes())
    };
    files.retain(|(path, _)| path != Path::new("manifest.json") && path != Path::new("heartbeat.json"));
    files.push(changed("manifest.json", "status", "running".into()));
    files.push(changed("heartbeat.json", "start_ticks", 1.into()));
    files.push(("otel_traces.open.json".into(), fs::read(bundle.join("otel_traces.json")).unwrap()));
    files.sort();
    Files { run_id, files }
}

/// Writes the files as the bundle of a run.
fn written(out: &Path, files: &Files) -> Bundle {
    let bundle = Bundle::create(out, files.run_id).unwrap();
    for (path, content) in &files.files {
        fs::write(bundle.dir().join(path), content).unwrap();
    }
    bundle
}

#[track_caller]
fn check_readers(bundle: &Bundle, what: &str) {
    assert_eq!(Bundle::open(bundle.dir()).as_ref().ok(), Some(bundle), "{what}");
    for _ in 0..2 {
        let status = BundleStatus::of(bundle);
        assert!(status.started_at.is_some(), "{what}: {status:?}");
        match Report::from_bundle(bundle) {
            Ok(report) => report.write(bundle).unwrap(),
            Err(ReportError::Newer { .. }) => {}
            Err(error) => panic!("{what}: {error}"),
        }
        let _ = outbox_status(&bundle.tracker_dir());
        let _ = close_dead_run(bundle);
    }
    match bundle.delete() {
        Ok(deleted) => assert_eq!(bundle.dir().exists(), !deleted.kept.is_empty(), "{what}: {deleted:?}"),
        Err(DeleteError::OtherRun { .. }) => {}
        Err(error) => panic!("{what}: {error}"),
    }
    let _ = fs::remove_dir_all(bundle.dir());
}

fn damage(bytes: &mut Vec<u8>, random: &mut Rng) {
    let at = random.usize(..bytes.len().max(1));
    match random.usize(..9) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.usize(..8),
        1 => bytes.truncate(at),
        2 => bytes.insert(at, b'\n'),
        3 => drop(bytes.drain(at..bytes.len().min(at + random.usize(..200)))),
        4 => drop(bytes.splice(at..at, std::iter::repeat_n(0, 1_000))),
        5 => drop(bytes.splice(at..at, *b"99999999999999999999999999999999")),
        6 => drop(bytes.splice(at..at, std::iter::repeat_n(b'[', 100_000))),
        7 => {
            let copied = bytes[at..bytes.len().min(at + 500)].to_vec();
            let to = random.usize(..bytes.len().max(1));
            drop(bytes.splice(to..to, copied));
        }
        _ => *bytes = (0..random.usize(..3_000)).map(|_| random.u8(..)).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_any_kind_is_survived_by_every_reader() {
    let whole = left_behind().await;
    let out = tempfile::tempdir().unwrap();
    check_readers(&written(out.path(), &whole), "nothing");
    for seed in 0..300 {
        // From a seed, so that a failure can be repeated.
        let mut random = Rng::with_seed(seed);
        let mut files = whole.clone();
        for _ in 0..=random.usize(..3) {
            let file = random.usize(..files.files.len());
            damage(&mut files.files[file].1, &mut random);
        }
        check_readers(&written(out.path(), &files), &format!("seed {seed}"));
    }
}

/// What the manifest notes of files that were damaged or missing when the run was closed.
fn noted(bundle: &Bundle) -> Vec<String> {
    let warnings = Manifest::read(bundle).unwrap().warnings.into_iter();
    let of_files = [WarningCode::FilesDamaged, WarningCode::SpansIncomplete];
    warnings.filter(|warning| of_files.contains(&warning.code)).map(|warning| warning.message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_several_close_at_the_same_time_is_closed_once() {
    let whole = left_behind().await;
    for _ in 0..5 {
        let out = tempfile::tempdir().unwrap();
        let bundle = written(out.path(), &whole);
        let closed: Vec<bool> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| close_dead_run(&bundle).unwrap())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(closed.iter().filter(|closed| **closed).count(), 1);
        assert_eq!(noted(&bundle), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_of_a_killed_run_is_known_after_it_is_closed() {
    let whole = left_behind().await;
    let check = |change: fn(&Bundle), expected: &str| {
        let out = tempfile::tempdir().unwrap();
        let bundle = written(out.path(), &whole);
        change(&bundle);
        assert!(close_dead_run(&bundle).unwrap(), "{expected}");
        let noted = noted(&bundle);
        assert!(noted.len() == 1 && noted[0].contains(expected), "{noted:?}");
        let faults: Vec<String> = bundle.verify().iter().map(ToString::to_string).collect();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{faults:#?}");
    };
    check(|bundle| fs::remove_file(bundle.heartbeat()).unwrap(), "heartbeat.json: is missing");
    check(|bundle| fs::write(bundle.nodes(), "garbage\n").unwrap(), "nodes.jsonl: line 1 is damaged");
    check(|bundle| fs::create_dir(bundle.nodes()).unwrap(), "nodes.jsonl: cannot be opened");
}

/// What `report`, `status`, `sync`, `replay` and `prune` do with a bundle: whether each goes on, with what status says.
#[derive(Debug, PartialEq)]
struct Judged {
    report: bool,
    named_by_status: bool,
    sync: bool,
    replay: bool,
    kept: Option<Kept>,
}

/// Something of the run is still to be delivered.
const WAITS: Option<Kept> = Some(Kept::Waiting { records: 1 });

/// Every reader goes on.
const FINE: Judged = Judged { report: true, named_by_status: false, sync: true, replay: true, kept: WAITS };
/// No reader goes on, and status says why.
const REFUSED: Judged =
    Judged { report: false, named_by_status: true, sync: false, replay: false, kept: Some(Kept::Newer) };
/// What waits for the server is not known; everything else is read.
const NO_OUTBOX: Judged = Judged { named_by_status: true, sync: false, kept: Some(Kept::Unreadable), ..FINE };

fn judge(bundle: &Bundle) -> Judged {
    let status = BundleStatus::of(bundle);
    Judged {
        report: Report::from_bundle(bundle).is_ok(),
        named_by_status: !status.problems.is_empty(),
        kept: status.candidate(true).kept_because(false).map(|kept| match kept {
            // How much of the run is left in its outbox differs from damage to damage.
            Kept::Waiting { .. } | Kept::Unclosed => Kept::Waiting { records: 1 },
            kept => kept,
        }),
        replay: Manifest::refuse_newer(bundle).is_ok(),
        // It comes last, for it closes the run.
        sync: sync_run(bundle, None, Duration::ZERO).is_ok(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_readers_judge_a_damage_alike() {
    const OUTBOX: &str = "tracker/outbox.jsonl";
    const CURSOR: &str = "tracker/delivery.json";
    const MANIFEST: &str = "manifest.json";
    let whole = left_behind().await;
    let newer = |content: &[u8]| -> Vec<u8> {
        let mut json: Value = serde_json::from_slice(content).unwrap();
        json["format_version"] = 99.into();
        json.to_string().into_bytes()
    };
    let torn = |content: &[u8]| content[..content.len() / 2].to_vec();
    let zeros = |content: &[u8]| vec![0; content.len()];
    let latin = |content: &[u8]| [b"\xff\xfe".to_vec(), content.to_vec()].concat();
    let empty = |_: &[u8]| Vec::new();
    let long = |content: &[u8]| [vec![b'x'; 70 << 20], b"\n".to_vec(), content.to_vec()].concat();
    let newer_outbox = |content: &[u8]| {
        let body = r#"{"format":"daglight_outbox","version":99}"#;
        let header =
            format!("{{\"crc32\":\"{:08x}\",\"record\":{body}}}\n", crc32fast::hash(body.as_bytes()));
        [header.into_bytes(), content.to_vec()].concat()
    };
    let newer_cursor = |_: &[u8]| br#"{"version":99}"#.to_vec();
    let named = Judged { named_by_status: true, kept: WAITS, ..FINE };
    type Damage<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let table: [(&str, Damage<'_>, Option<&Judged>); 22] = [
        (MANIFEST, &newer, Some(&REFUSED)),
        (MANIFEST, &torn, Some(&named)),
        (MANIFEST, &zeros, Some(&named)),
        (MANIFEST, &latin, Some(&named)),
        (MANIFEST, &empty, Some(&named)),
        (MANIFEST, &long, Some(&named)),
        (OUTBOX, &newer_outbox, Some(&NO_OUTBOX)),
        (OUTBOX, &zeros, Some(&NO_OUTBOX)),
        (OUTBOX, &torn, Some(&named)),
        (OUTBOX, &latin, Some(&named)),
        (OUTBOX, &long, Some(&named)),
        (CURSOR, &newer_cursor, Some(&NO_OUTBOX)),
        (CURSOR, &torn, Some(&named)),
        (CURSOR, &zeros, Some(&named)),
        ("artifacts.json", &newer, Some(&FINE)),
        ("artifacts.json", &torn, Some(&FINE)),
        ("heartbeat.json", &torn, None),
        ("otel_traces.json", &torn, Some(&FINE)),
        ("otel_traces.json", &zeros, Some(&FINE)),
        ("otel_traces.json", &latin, Some(&FINE)),
        ("otel_traces.json", &empty, Some(&FINE)),
        ("otel_traces.json", &long, Some(&FINE)),
    ];
    for (number, (file, damage, expected)) in table.into_iter().enumerate() {
        let out = tempfile::tempdir().unwrap();
        let bundle = written(out.path(), &whole);
        let path = bundle.dir().join(file);
        fs::write(&path, damage(&fs::read(&path).unwrap_or_default())).unwrap();
        let judged = judge(&bundle);
        assert!(expected.is_none_or(|expected| *expected == judged), "{number} {file}: {judged:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_may_be_missing_cut_or_without_end() {
    let whole = left_behind().await;
    let out = tempfile::tempdir().unwrap();
    for (index, (path, content)) in whole.files.iter().enumerate() {
        let name = path.display();
        let mut missing = whole.clone();
        missing.files.remove(index);
        check_readers(&written(out.path(), &missing), &format!("no {name}"));
        for part in 1..8 {
            let mut files = whole.clone();
            files.files[index].1.truncate(content.len() * part / 8);
            check_readers(&written(out.path(), &files), &format!("{part}/8 of {name}"));
        }
        let bundle = written(out.path(), &whole);
        File::options().write(true).open(bundle.dir().join(path)).unwrap().set_len(3 << 30).unwrap();
        check_readers(&bundle, &format!("3 GiB of {name}"));
    }
}
