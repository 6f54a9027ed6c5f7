//! Nothing that a bundle, a script, a setting or a server's name holds acts on the terminal of whoever looks at it.

use std::{fs, path::Path};

use daglight_system_tests::{Checkout, Daglight, Finished};
use serde_json::Value;

/// C0, C1, marks that reorder text, what nobody sees, and a line that looks like one of ours.
const EVIL: &str = "q\u{1b}[31m\u{9b}2J\u{7}\u{202e}\u{2066}\u{200b}\u{85}\r\n  ok   forged";

/// Whether a terminal acts on a character, or reorders or hides text. Line feeds are ours.
fn acts(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[track_caller]
fn check(finished: &Finished, what: &str, is_shown: bool) {
    let Finished { stdout, stderr, .. } = finished;
    for text in [stdout, stderr] {
        let found = text.find(acts).map(|at| text[..at].chars().rev().take(60).collect::<Vec<_>>());
        let found = found.map(|before| before.into_iter().rev().collect::<String>());
        assert_eq!(found, None, "{what}: a character that acts stands behind this");
        assert!(!text.lines().any(|line| line.starts_with("  ok   forged")), "{what}: {text}");
    }
    if is_shown {
        assert!(stdout.contains("\\u009b") || stderr.contains("\\u009b"), "{what}: {stdout}\n{stderr}");
    }
}

/// Plants the text behind every text of a document that is not an id, a time, or a name of the format.
fn plant(key: &str, value: &mut Value) {
    const NAMES_OF_THE_FORMAT: [&str; 26] = [
        "format",
        "run_id",
        "daglight_version",
        "status",
        "kind",
        "namespace",
        "profile",
        "signal",
        "destination",
        "key",
        "traceId",
        "spanId",
        "parentSpanId",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "timeUnixNano",
        "observedTimeUnixNano",
        "intValue",
        "path",
        "sha256",
        "code",
        "crc32",
        "event",
        "schemaUrl",
        "tracking",
        "time",
    ];
    match value {
        // A number or a time of OTLP/JSON, or of a manifest, is a text as well.
        Value::String(text)
            if text.parse::<f64>().is_err() && !is_time(text) && !NAMES_OF_THE_FORMAT.contains(&key) =>
        {
            text.push_str(EVIL);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| plant(key, item)),
        Value::Object(fields) => {
            // The value of an attribute has the key beside it.
            let attribute = fields.get("key").and_then(Value::as_str).map(str::to_owned);
            for (name, field) in fields.iter_mut() {
                let name = attribute.as_deref().filter(|_| name == "value").unwrap_or(name);
                if !name.ends_with("run_id") && !name.ends_with("hash") && !name.ends_with("_at") {
                    plant(name, field);
                }
            }
        }
        _ => {}
    }
}

fn is_time(text: &str) -> bool {
    text.len() > 18 && text.as_bytes()[4] == b'-' && text.as_bytes()[10] == b'T'
}

/// Every JSON file of a bundle with the text in it. The outbox has a checksum in each line, and is left as it is.
fn plant_in(bundle: &Path) {
    for entry in fs::read_dir(bundle).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && name == "plans" {
            plant_in(&path);
        }
        if !name.ends_with(".json") && !name.ends_with(".jsonl") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a file");
        let planted = if name.starts_with("otel_") || name.ends_with(".jsonl") {
            let lines = text.lines().map(|line| {
                let mut value = serde_json::from_str(line).expect("JSON");
                plant("", &mut value);
                // As other programs write JSON: escaped is only what must be.
                value.to_string() + "\n"
            });
            lines.collect()
        } else {
            let mut value = serde_json::from_str(&text).expect("JSON");
            plant("", &mut value);
            value.to_string()
        };
        fs::write(&path, planted).expect("a file");
    }
}

const PIPELINE: &str = "-- node: orders
CREATE TABLE orders AS SELECT value AS id FROM generate_series(1, 100);
-- node: total
COPY (SELECT sum(id) AS total FROM orders) TO 'out/total.parquet';
";

#[test]
fn no_command_prints_what_acts_on_a_terminal() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("shop.sql", PIPELINE);
    let run = || {
        let run = Daglight::run(&checkout, &pipeline).finish().report(0);
        checkout.path().join(run["bundle"].as_str().expect("a bundle"))
    };
    let (first, second) = (run(), run());
    plant_in(&first);
    plant_in(&second);
    // Foreign files, whose names may be anything but what ends a path.
    fs::write(second.join(EVIL), "").expect("a file");
    let (one, two) = (first.to_string_lossy().into_owned(), second.to_string_lossy().into_owned());
    let archive = format!("{EVIL}.tar.gz");
    let commands: [(&[&str], bool); 22] = [
        (&["report", &two], true),
        (&["report", &two, "--json"], true),
        // Equal runs: nothing is said of what they have in common.
        (&["compare", &one, &two], false),
        (&["compare", &one, &two, "--json"], true),
        (&["history", "out"], true),
        (&["history", "out", "--json"], true),
        (&["status", "out"], true),
        (&["status", "out", "--json"], true),
        (&["bundle", "verify", &two], true),
        (&["bundle", "pack", &two, "--to", &archive], true),
        (&["report", &archive], true),
        (&["bundle", "verify", &archive], false),
        (&["export", &two, "--format", "otlp"], true),
        (&["export", &two, "--format", "otlp", "--signal", "logs"], true),
        (&["export", &two, "--format", "perfetto"], true),
        (&["export", &two, "--format", "speedscope"], true),
        (&["sync", "out"], false),
        (&["replay", &two], false),
        (&["prune", "out", "--keep", "0", "--even-waiting", "--dry-run"], true),
        (&["report", EVIL], true),
        (&["serve", EVIL], true),
        (&[EVIL], true),
    ];
    for (arguments, is_shown) in commands {
        check(&Daglight::new(&checkout, arguments).finish(), &format!("{arguments:?}"), is_shown);
    }
    let pruned =
        Daglight::new(&checkout, ["prune", "out", "--keep", "0", "--even-waiting", "--yes"]).finish();
    check(&pruned, "prune", true);
}

#[test]
fn no_command_prints_what_acts_on_a_terminal_from_scripts_and_settings() {
    let checkout = Checkout::new();
    let sql = format!(
        "-- node: \"n{EVIL_LINE}\"\n-- tag: t{EVIL_LINE}={EVIL_LINE}\n-- nod: {EVIL_LINE}\n\
         CREATE TABLE \"a{EVIL}\" AS SELECT '{EVIL}' AS \"c{EVIL}\";\nSELECT * FROM \"a{EVIL}\";\n",
        EVIL_LINE = EVIL.replace(['\r', '\n'], " "),
    );
    checkout.pipeline("evil.sql", &sql);
    checkout.pipeline(&format!("{EVIL}.sql"), "SELECT 1 AS x");
    let evil_name = format!("{EVIL}.sql");
    for arguments in [
        &["plan", "evil.sql"][..],
        &["plan", "evil.sql", "--format", "mermaid"],
        &["plan", "evil.sql", "--format", "dot"],
        &["plan", "evil.sql", "--format", "json"],
        &["plan", &evil_name],
        &["run", "evil.sql"],
        &["run", "evil.sql", "--json"],
        &["run", "evil.sql", "--format", "json"],
        &["run", "evil.sql", "--format", "ndjson"],
        &["run", &evil_name],
        &["run", "evil.sql", "--param", EVIL],
        &["run", "evil.sql", "--profile", EVIL],
        &["run", "evil.sql", "--select", EVIL],
        &["run", EVIL],
    ] {
        let finished = Daglight::new(&checkout, arguments).env("HAMILTON_TRACKER_ENABLED", "false").finish();
        check(&finished, &format!("{arguments:?}"), false);
    }
    for (name, value) in [
        ("HAMILTON_API_URL", format!("http://127.0.0.1:1/{EVIL}")),
        ("HAMILTON_USERNAME", EVIL.to_owned()),
        ("HAMILTON_DAG_NAME", EVIL.to_owned()),
        ("OTEL_SERVICE_NAME", EVIL.to_owned()),
        ("OTEL_RESOURCE_ATTRIBUTES", format!("a={EVIL}")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:1/{EVIL}")),
        ("DAGLIGHT_OUTPUT_DIR", format!("out{EVIL}")),
        ("DAGLIGHT_ON_STALL", EVIL.to_owned()),
        ("RUST_LOG", EVIL.to_owned()),
    ] {
        for arguments in [&["config"][..], &["config", "--json"], &["doctor"], &["run", "evil.sql"]] {
            let finished = Daglight::new(&checkout, arguments).env(name, &value).finish();
            check(&finished, &format!("{arguments:?} with {name}"), false);
        }
    }
    let table = format!("[capture]\n\"k{EVIL}\" = \"{EVIL}\"\n");
    let table = table
        .replace('\u{1b}', "\\u001b")
        .replace('\u{7}', "\\u0007")
        .replace('\r', "\\r")
        .replace("\n  ok", "\\n  ok");
    fs::write(checkout.path().join("daglight.toml"), table).expect("a file");
    for arguments in [&["config"][..], &["doctor"], &["status"]] {
        check(&Daglight::new(&checkout, arguments).finish(), &format!("{arguments:?} with a file"), false);
    }
}

/// For bash: runs its arguments as a command on a terminal.
const ON_TERMINAL: &str = r#"script -qec "$(printf '%q ' "$@")" /dev/null"#;

#[test]
fn warnings_are_coloured_on_a_terminal_unless_no_color_is_set() {
    let checkout = Checkout::new();
    checkout.pipeline("warns.sql", "-- node: a\n-- expect(warn): rows > 5\nCREATE TABLE a AS SELECT 1 AS x;");
    for (no_color, is_coloured) in [("", true), ("1", false)] {
        let call = Daglight::new(&checkout, ["run", "warns.sql"]);
        let finished = call
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .env("NO_COLOR", no_color)
            .through("bash", &["-c", ON_TERMINAL, "bash"])
            .finish()
            .ended_with(0);
        let warning = finished.stdout.lines().find(|line| line.contains("WARN"));
        let warning = warning.unwrap_or_else(|| panic!("no warning: {}", finished.stdout));
        assert_eq!(warning.contains("\u{1b}[33m"), is_coloured, "NO_COLOR={no_color:?}: {warning:?}");
    }
}

#[test]
fn rows_on_a_terminal_act_on_nothing_in_any_format() {
    let checkout = Checkout::new();
    // More than one piece of what a writer of CSV keeps, with characters of several bytes at every position.
    let sql =
        format!("SELECT '{EVIL}日' || repeat('é日', 9000) AS \"c{EVIL}\", value FROM generate_series(1, 3)");
    checkout.pipeline("rows.sql", &sql);
    for format in ["csv", "json", "ndjson", "table"] {
        let call = Daglight::new(&checkout, ["run", "rows.sql", "--format", format]);
        let finished = call
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .through("bash", &["-c", ON_TERMINAL, "bash"])
            .finish()
            .ended_with(0);
        let text = finished.stdout;
        assert!(text.contains("\\u009b"), "{format}: {text}");
        assert!(!text.contains(['\u{9b}', '\u{202e}']), "{format}");
        assert!(!text.contains('\u{fffd}'), "{format}: a character was cut in two");
    }
}
