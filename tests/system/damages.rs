//! Every damage of every file of a bundle, as the commands see it: none hangs, panics or is silent about it, and the table in
//! `docs/bundle.md` says what each does.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use daglight_system_tests::{Checkout, Daglight, Finished, Hamilton, LineageReceiver, OtlpReceiver, Project};
use serde_json::Value;

const PIPELINE: &str = "\
-- node: numbers
CREATE TABLE numbers AS SELECT value AS x FROM generate_series(1, 100);
-- node: total
SELECT sum(x) AS total FROM numbers;
COPY (SELECT * FROM numbers) TO 'out/numbers.parquet' STORED AS PARQUET;
";

/// The page with the table, and the lines between which it stands.
const PAGE: &str = "docs/bundle.md";
const BEGIN: &str = "<!-- The table of tests/system/damages.rs, which checks it. -->";
const END: &str = "<!-- End of the table. -->";

/// The commands, in the order of the columns.
const COMMANDS: [(&str, &[&str]); 9] = [
    ("report", &["report", BUNDLE]),
    ("compare", &["compare", BASELINE, BUNDLE]),
    ("history", &["history", BUNDLE]),
    ("status", &["status", BUNDLE]),
    ("sync", &["sync", BUNDLE]),
    ("replay", &["replay", BUNDLE]),
    ("prune --dry-run", &["prune", "--dry-run", "--keep", "0", "--even-waiting", BUNDLE]),
    ("bundle verify", &["bundle", "verify", BUNDLE]),
    ("bundle pack", &["bundle", "pack", BUNDLE, "--to", ARCHIVE]),
];
const BUNDLE: &str = "BUNDLE";
const BASELINE: &str = "BASELINE";
const ARCHIVE: &str = "ARCHIVE";

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Torn,
    GarbageLine,
    Empty,
    Missing,
    Newer,
    HugeLine,
    Pipe,
    Link,
    Folder,
}

impl Damage {
    fn name(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::GarbageLine => "a garbage line",
            Self::Empty => "empty",
            Self::Missing => "missing",
            Self::Newer => "of a newer version",
            Self::HugeLine => "a line of 70 MB",
            Self::Pipe => "a pipe",
            Self::Link => "a link",
            Self::Folder => "a folder",
        }
    }

    fn does(self, file: &Path) {
        let before = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        fs::remove_file(file).expect("a file");
        match self {
            Self::Torn => fs::write(file, &before[..before.len().saturating_sub(before.len().min(80) / 2)]),
            Self::GarbageLine => {
                let middle = before.iter().position(|byte| *byte == b'\n').expect("lines") + 1;
                fs::write(file, [&before[..middle], b"\x00garbage{\n", &before[middle..]].concat())
            }
            Self::Empty => fs::write(file, b""),
            Self::Missing => Ok(()),
            Self::Newer => fs::write(file, newer(file, &before)),
            Self::HugeLine => fs::write(file, [&vec![b'x'; 70 << 20], &b"\n"[..], &before].concat()),
            Self::Pipe => {
                assert!(Command::new("mkfifo").arg(file).status().expect("mkfifo").success());
                Ok(())
            }
            Self::Link => {
                let elsewhere = file.ancestors().nth(5).expect("the folder of the call").join("elsewhere");
                fs::write(&elsewhere, before).expect("a file");
                symlink(&elsewhere, file)
            }
            Self::Folder => fs::create_dir(file),
        }
        .expect("the file can be damaged");
    }
}

/// The same file as a later version would write it.
fn newer(file: &Path, before: &[u8]) -> Vec<u8> {
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
    if name == "outbox.jsonl" {
        let body = r#"{"format":"daglight_outbox","version":99}"#;
        let header =
            format!("{{\"crc32\":\"{:08x}\",\"record\":{body}}}\n", crc32fast::hash(body.as_bytes()));
        return [header.as_bytes(), before].concat();
    }
    if name == "data_summaries.jsonl" {
        let text = String::from_utf8_lossy(before);
        return text.replacen("\"format_version\":1", "\"format_version\":99", 1).into_bytes();
    }
    let mut json: Value = serde_json::from_slice(before).expect("JSON");
    match name {
        "delivery.json" => json["version"] = 99.into(),
        _ if json["format"].as_str().is_some_and(|format| format.starts_with("datafusion_plan_bundle")) => {
            json["format"] = "datafusion_plan_bundle_v99".into();
        }
        _ => json["format_version"] = 99.into(),
    }
    json.to_string().into_bytes()
}

/// The files of a bundle by the name that the table has for them, and what can be done to each.
fn files(plan: &str) -> Vec<(&'static str, String, Vec<Damage>)> {
    use Damage::{Empty, Folder, GarbageLine, HugeLine, Link, Missing, Newer, Pipe, Torn};
    let whole = |damages: &[Damage]| [damages, &[Empty, Missing, Pipe, Link, Folder, HugeLine]].concat();
    vec![
        ("`manifest.json`", "manifest.json".to_owned(), whole(&[Newer, Torn])),
        ("`artifacts.json`", "artifacts.json".to_owned(), whole(&[Newer, Torn])),
        ("`data_summaries.jsonl`", "data_summaries.jsonl".to_owned(), whole(&[Newer, Torn, GarbageLine])),
        ("`heartbeat.json`", "heartbeat.json".to_owned(), whole(&[Newer, Torn])),
        ("a plan", plan.to_owned(), whole(&[Newer, Torn])),
        ("`otel_traces.json`", "otel_traces.json".to_owned(), whole(&[Torn, GarbageLine])),
        ("`tracker/outbox.jsonl`", "tracker/outbox.jsonl".to_owned(), whole(&[Newer, Torn, GarbageLine])),
        ("`tracker/delivery.json`", "tracker/delivery.json".to_owned(), whole(&[Newer, Torn])),
        ("`openlineage.jsonl`", "openlineage.jsonl".to_owned(), whole(&[Torn, GarbageLine])),
        ("`openlineage.delivery.json`", "openlineage.delivery.json".to_owned(), whole(&[Newer, Torn])),
        ("the report", "run_diagnostics_report.json".to_owned(), whole(&[Torn])),
    ]
}

/// What a command made of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// It does its work, and says nothing of the file.
    Works,
    /// It does what can be done, and names the file.
    WorksAndNames,
    /// It fails, and names the file.
    Fails,
}

impl Judgement {
    #[track_caller]
    fn of(finished: &Finished, file: &str, what: &str) -> Self {
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(!said.contains("panicked"), "{what}: {said}");
        let name = Path::new(file).file_name().and_then(|name| name.to_str()).expect("a name");
        let is_named = said.contains(name);
        match finished.code {
            Some(0) if is_named => Self::WorksAndNames,
            Some(0) => Self::Works,
            Some(1) if is_named => Self::Fails,
            code => panic!("{what}: ends with {code:?}, and {name} is named: {is_named}\n{said}"),
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::WorksAndNames => "names it",
            Self::Fails => "**fails**",
        }
    }
}

/// A run that was delivered, and what the commands are called with.
struct Whole {
    checkout: Checkout,
    bundle: PathBuf,
    baseline: PathBuf,
    project: Project,
    receiver: OtlpReceiver,
    lineage: LineageReceiver,
}

impl Whole {
    fn record(hamilton: &Hamilton) -> Self {
        let (checkout, project) = (Checkout::new(), hamilton.project("damages"));
        let pipeline = checkout.pipeline("numbers.sql", PIPELINE);
        let lineage = LineageReceiver::start(201);
        let run = || {
            let run = Daglight::run(&checkout, &pipeline).tracked_in(&project);
            let run = run.env("OPENLINEAGE_URL", lineage.url());
            // Whatever the machine does meanwhile: the files of the deliveries are among what is damaged.
            let run =
                run.env("DAGLIGHT_FLUSH_SECONDS", "120").env("DAGLIGHT_OPENLINEAGE_FLUSH_SECONDS", "120");
            let report = run.finish().report(0);
            checkout.path().join(report["bundle"].as_str().expect("a bundle"))
        };
        let (baseline, bundle) = (run(), run());
        Self { checkout, bundle, baseline, project, receiver: OtlpReceiver::start(), lineage }
    }

    /// What all commands make of a copy of the bundle with this damage.
    fn judge(&self, file: &str, damage: Damage) -> Vec<Judgement> {
        let run = self.bundle.file_name().expect("a run id");
        COMMANDS
            .iter()
            .map(|(name, arguments)| {
                let place = tempfile::tempdir().expect("a folder");
                let copy = place.path().join("out/run_bundle").join(run);
                fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
                let copied = Command::new("cp").arg("-a").args([&self.bundle, &copy]).status();
                assert!(copied.expect("cp").success());
                damage.does(&copy.join(file));
                let arguments = arguments.iter().map(|argument| match *argument {
                    BUNDLE => copy.clone().into_os_string(),
                    BASELINE => self.baseline.clone().into_os_string(),
                    ARCHIVE => place.path().join("run.tar.gz").into_os_string(),
                    other => other.into(),
                });
                let finished = Daglight::new(&self.checkout, arguments)
                    .tracked_in(&self.project)
                    .observed_by(&self.receiver, "http/protobuf")
                    .env("OPENLINEAGE_URL", self.lineage.url())
                    .finish();
                Judgement::of(&finished, file, &format!("{name}: {file} is {}", damage.name()))
            })
            .collect()
    }
}

/// The rows of the table: damages of one file that all commands judge alike are one.
fn table(judged: &[(&str, Damage, Vec<Judgement>)]) -> String {
    let commands = COMMANDS.map(|(name, _)| format!("`{name}`"));
    let mut lines = vec![
        format!("| file | damage | {} |", commands.join(" | ")),
        format!("|---|---|{}", "---|".repeat(COMMANDS.len())),
    ];
    let mut rows: Vec<(&str, Vec<&str>, &[Judgement])> = Vec::new();
    for (file, damage, judgements) in judged {
        let same = rows.iter_mut().find(|(known, _, row)| known == file && row == judgements);
        match same {
            Some((_, damages, _)) => damages.push(damage.name()),
            None => rows.push((*file, vec![damage.name()], judgements)),
        }
    }
    for (file, damages, judgements) in rows {
        let cells: Vec<&str> = judgements.iter().map(|judgement| judgement.in_words()).collect();
        lines.push(format!("| {file} | {} | {} |", damages.join(", "), cells.join(" | ")));
    }
    lines.join("\n")
}

#[test]
fn all_commands_judge_a_damage_alike_and_name_the_file() {
    let hamilton = Hamilton::take();
    let whole = Whole::record(&hamilton);
    let plans = fs::read_dir(whole.bundle.join("plans")).expect("plans").flatten();
    let plan = plans.map(|entry| entry.file_name().into_string().expect("a name")).min().expect("a plan");
    let cases: Vec<(&str, String, Damage)> = files(&format!("plans/{plan}"))
        .into_iter()
        .flat_map(|(name, file, damages)| damages.into_iter().map(move |damage| (name, file.clone(), damage)))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut judged = Vec::new();
        while let Some((name, file, damage)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            judged.push((*name, *damage, whole.judge(file, *damage)));
        }
        judged
    };
    let judged: Vec<_> = thread::scope(|scope| {
        let threads = [work, work, work, work].map(|work| scope.spawn(work));
        threads.into_iter().flat_map(|thread| thread.join().expect("the calls")).collect()
    });
    let in_order: Vec<_> = cases
        .iter()
        .map(|(name, _, damage)| {
            let found = judged.iter().find(|(known, done, _)| known == name && done == damage);
            found.cloned().expect("every case was judged")
        })
        .collect();
    let expected = table(&in_order);
    let different: Vec<String> = in_order
        .iter()
        .flat_map(|(file, damage, judgements)| {
            let names = |command: &str| {
                let column = COMMANDS.iter().position(|(name, _)| *name == command).expect("a command");
                judgements[column] != Judgement::Works
            };
            let is_found = COMMANDS.iter().any(|(name, _)| names(name));
            // They read the same files, but for the report, which `report` and `sync` make anew.
            let alike = [
                ("compare", *file == "the report" || names("report") == names("compare")),
                ("history", *file == "the report" || names("report") == names("history")),
                ("sync", *file == "the report" || names("status") == names("sync")),
                // Whoever asks whether a bundle is whole is told all that any other command finds.
                ("bundle verify", !is_found || names("bundle verify")),
            ];
            let different = alike.into_iter().filter(|(_, is_alike)| !is_alike);
            different
                .map(|(command, _)| format!("{file} is {}: {command}", damage.name()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(different.is_empty(), "{different:#?}\n{expected}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join(PAGE);
    let text = fs::read_to_string(&page).expect("the page");
    let shown = text.split_once(BEGIN).and_then(|(_, rest)| Some(rest.split_once(END)?.0.trim()));
    assert_eq!(shown, Some(&*expected), "the table in {PAGE} must be\n{expected}\n");
}
