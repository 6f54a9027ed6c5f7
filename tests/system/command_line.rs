//! What the commands say about folders, settings and bundles that are not as they should be.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::Command,
    thread,
};

use daglight_system_tests::{Checkout, Daglight, Finished};
use serde_json::Value;

fn call(checkout: &Checkout, arguments: &[&str]) -> Finished {
    Daglight::new(checkout, arguments).finish()
}

#[track_caller]
fn says(finished: &Finished, code: i32, texts: &[&str]) {
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.code, Some(code), "{said}");
    for text in texts {
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).expect("JSON")
}

/// The bundles in `out`, the oldest first.
fn bundles(checkout: &Checkout) -> Vec<PathBuf> {
    let entries = fs::read_dir(checkout.path().join("out/run_bundle")).expect("runs");
    let mut bundles: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    bundles.sort();
    bundles
}

#[test]
fn without_the_catalog_the_rows_of_a_run_are_unknown() {
    let checkout = Checkout::new();
    let sql = "CREATE TABLE a AS SELECT value AS x FROM generate_series(1, 7) AS t(value);";
    says(&call(&checkout, &["run", "-c", sql]), 0, &[]);
    let runs = |listed: &Finished| json(listed)[0]["runs"][0]["rows_in_tables"].clone();
    assert_eq!(runs(&call(&checkout, &["history", "--json"])), 7);
    fs::remove_file(bundles(&checkout)[0].join("artifacts.json")).expect("the catalog");
    let listed = call(&checkout, &["history", "--json"]);
    assert_eq!(runs(&listed), Value::Null, "{}", listed.stdout);
    let history = call(&checkout, &["history"]);
    let row = history.stdout.lines().find(|line| line.contains(" success ")).expect("the run");
    assert!(row.trim_end().ends_with(" -"), "{row:?}");
    let report = json(&call(&checkout, &["report", "out", "--json"]));
    assert_eq!(report["totals"]["rows_written"], Value::Null, "{}", report["totals"]);
}

#[test]
fn a_copy_says_which_files_its_folder_held_before() {
    let checkout = Checkout::new();
    fs::create_dir_all(checkout.path().join("sales")).expect("a folder");
    fs::write(checkout.path().join("sales/README.txt"), "of another kind").expect("a file");
    fs::create_dir_all(checkout.path().join("sales/old")).expect("a folder");
    fs::write(checkout.path().join("sales/old/a.parquet"), "that no reader of sales/ opens").expect("a file");
    checkout.pipeline("copy.sql", "COPY (SELECT 1 AS x) TO 'sales/' STORED AS PARQUET;");
    let run = |beyond: &[&str]| call(&checkout, &[&["run", "copy.sql"], beyond].concat());
    let first = run(&[]);
    says(&first, 0, &[]);
    assert!(!first.stderr.contains("WARN"), "{}", first.stderr);
    says(&run(&[]), 0, &["node sales_parquet: sales/ held 1 file (", "reads old and new rows"]);
    let third = run(&["--json"]).report(0);
    let warning = &third["warnings"][0];
    assert_eq!(warning["code"], "files_before", "{third:#}");
    let report = call(&checkout, &["report", "out"]);
    says(
        &report,
        0,
        &["Beside what this run has written, their folders hold files of before: `sales` (2 files)."],
    );
    let sql = "SELECT files_before FROM artifacts ORDER BY run_id";
    let asked = call(&checkout, &["query", "out", sql, "--format", "csv"]);
    assert_eq!(asked.stdout, "files_before\n0\n1\n2\n", "{}", asked.stderr);
}

#[test]
fn a_missing_file_of_a_parameter_table_is_an_error_of_the_settings() {
    let checkout = Checkout::new();
    let settings = "[param_tables.rates]\nfile = \"rates.csv\"\n";
    fs::write(checkout.path().join("daglight.toml"), settings).expect("a file");
    let expected = ["setting param_tables.rates.file (", "daglight.toml:2)", "rates.csv", "No such file"];
    let read = ["-c", "SELECT * FROM rates"];
    says(&call(&checkout, &[&["run"], &read[..]].concat()), 2, &expected);
    says(&call(&checkout, &[&["plan"], &read[..]].concat()), 2, &expected);
    says(&call(&checkout, &["doctor"]), 1, &["FAIL outputs"]);
    says(&call(&checkout, &["doctor"]), 1, &expected);
    fs::write(checkout.path().join("rates.csv"), "rate\n3\n").expect("a file");
    says(&call(&checkout, &[&["run"], &read[..]].concat()), 0, &["| 3"]);
}

#[test]
fn all_runs_of_a_folder_are_verified() {
    let checkout = Checkout::new();
    for _ in 0..3 {
        says(&call(&checkout, &["run", "-c", "SELECT 1 AS x"]), 0, &[]);
    }
    let bundles = bundles(&checkout);
    says(&call(&checkout, &["bundle", "verify", "out"]), 0, &["0 of 3 runs have faults"]);
    fs::remove_file(bundles[0].join("otel_traces.json")).expect("the traces");
    let name = |bundle: &PathBuf| bundle.file_name().expect("a name").to_string_lossy().into_owned();
    let fault = format!("out/run_bundle/{}: otel_traces.json: ", name(&bundles[0]));
    says(&call(&checkout, &["bundle", "verify", "out"]), 1, &[&fault, "1 of 3 runs have faults"]);
    says(&call(&checkout, &["bundle", "verify", &name(&bundles[2])]), 0, &["no fault"]);
}

#[test]
fn commands_for_runs_have_one_default_and_take_ids() {
    let checkout = Checkout::new();
    says(&call(&checkout, &["run", "-c", "SELECT 1 AS x"]), 0, &[]);
    says(&call(&checkout, &["run", "-c", "SELECT 1 AS x"]), 0, &[]);
    let bundles = bundles(&checkout);
    let id = bundles[0].file_name().and_then(|name| name.to_str()).expect("an id");
    let last = bundles[1].file_name().and_then(|name| name.to_str()).expect("an id");
    let endpoint = "http://127.0.0.1:1";
    // How each command that has no other argument ends, and what it says of the first run where that is named.
    for (command, code, said) in [
        (&["status"][..], 0, id),
        (&["history"], 0, id),
        (&["report", "--json"], 0, id),
        (&["sync"], 0, id),
        (&["replay", "--endpoint", endpoint], 1, ""),
        (&["prune", "--keep", "1", "--even-waiting", "--dry-run"], 0, ""),
        (&["bundle", "verify"], 0, "no fault"),
        (&["bundle", "pack", "--to", "FILE"], 0, "packed"),
        (&["export", "--format", "otlp", "--to", "FILE"], 0, "written"),
        (&["query"], 0, "runs"),
    ] {
        for (position, named) in [None, Some(id)].into_iter().enumerate() {
            let file = format!("{}-{position}.tar.gz", command[0]);
            let arguments =
                command.iter().map(|argument| if *argument == "FILE" { &*file } else { argument });
            let arguments: Vec<&str> = arguments.chain(named).collect();
            let said: &[&str] = if named.is_some() { &[said] } else { &[] };
            says(&call(&checkout, &arguments), code, said);
        }
    }
    says(&call(&checkout, &["compare"]), 0, &[last]);
    let listed = call(&checkout, &["query", "SELECT run_id FROM runs ORDER BY run_id", "--format", "csv"]);
    assert_eq!(listed.stdout, format!("run_id\n{id}\n{last}\n"), "{}", listed.stderr);
    let misspelled = call(&checkout, &["query", "SELECT * FROM node"]);
    says(&misspelled, 2, &["there is no table \"node\", did you mean \"nodes\"?"]);
    // A name that is not a query is that of a folder.
    says(&call(&checkout, &["query", "nowhere"]), 2, &["there is no folder nowhere"]);
}

#[test]
fn a_folder_with_the_name_of_the_settings_is_refused() {
    let checkout = Checkout::new();
    fs::create_dir(checkout.path().join("daglight.toml")).expect("a folder");
    let expected = ["daglight.toml does not count: it is a folder, expected a file"];
    says(&call(&checkout, &["run", "-c", "SELECT 1 AS x"]), 0, &expected);
    says(&call(&checkout, &["doctor"]), 1, &expected);
}

#[test]
fn a_misspelled_variable_of_opentelemetry_is_named() {
    let checkout = Checkout::new();
    let run = Daglight::new(&checkout, ["run", "-c", "SELECT 1 AS x"]);
    let run = run.env("OTEL_EXPORTER_OTLP_ENDPONT", "http://127.0.0.1:1").finish();
    says(&run, 0, &["OTEL_EXPORTER_OTLP_ENDPONT", "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?"]);
}

#[test]
fn an_error_of_a_connection_names_the_proxy_without_its_credentials() {
    let checkout = Checkout::new();
    let proxy = "http://me:hunter2@127.0.0.1:1";
    let doctor = Daglight::new(&checkout, ["doctor"])
        .env("HTTP_PROXY", proxy)
        .env("HAMILTON_API_URL", "http://backend.invalid:8241")
        .env("HAMILTON_PROJECT_ID", "1")
        .env("HAMILTON_USERNAME", "me@example.com")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://backend.invalid:4318")
        .env("OPENLINEAGE_URL", "http://backend.invalid:5000")
        .finish();
    says(&doctor, 1, &[]);
    let named =
        doctor.stdout.matches("through the proxy http://127.0.0.1:1 (HTTP_PROXY or ALL_PROXY)").count();
    assert_eq!(named, 5, "the server, the receiver and three signals: {}", doctor.stdout);
    assert!(!doctor.stdout.contains("hunter2"), "{}", doctor.stdout);
}

#[test]
fn fields_of_one_name_are_named_before_json_loses_one() {
    let checkout = Checkout::new();
    let run = |format: &str| {
        let sql = "SELECT named_struct('a', 1, 'b', 2, 'a', 3) AS s";
        call(&checkout, &["run", "-c", sql, "--format", format])
    };
    for format in ["json", "ndjson"] {
        says(&run(format), 0, &["warning: \"s.a\" is there twice", r#"{"a":1,"b":2,"a":3}"#]);
    }
    assert!(!run("csv").stderr.contains("twice"));
}

#[test]
fn a_server_of_another_kind_is_named_at_once() {
    let checkout = Checkout::new();
    for _ in 0..2 {
        says(&call(&checkout, &["run", "-c", "SELECT 1 AS x"]), 0, &[]);
    }
    for answer in ["HTTP/1.1 404 Not Found", "HTTP/1.1 200 OK"] {
        let url = answering(answer);
        let with_server = |arguments: &[&str]| {
            Daglight::new(&checkout, arguments)
                .env("HAMILTON_API_URL", &url)
                .env("HAMILTON_PROJECT_ID", "1")
                .env("HAMILTON_USERNAME", "me@example.com")
                .finish()
        };
        let expected =
            format!("{url} is not a Hamilton server: its answer to GET {url}/api/v1/phone_home is ");
        says(&with_server(&["doctor"]), 1, &[&expected]);
        let sync = with_server(&["sync"]);
        says(&sync, 1, &["not tried: it would go to the same server"]);
        assert_eq!(sync.stdout.matches(&expected).count(), 1, "{}", sync.stdout);
    }
    let partly = Daglight::new(&checkout, ["run", "-c", "SELECT 1 AS x"]);
    let partly = partly.env("HAMILTON_API_URL", "http://127.0.0.1:1").finish();
    says(
        &partly,
        0,
        &["not configured as a whole", "tracker.username (HAMILTON_USERNAME", "(HAMILTON_PROJECT_ID"],
    );
    assert!(!partly.stderr.contains("to see runs there, set"), "{}", partly.stderr);
}

/// The URL of a server that gives each request the same answer, until the test ends.
fn answering(status: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = format!("{status}\r\ncontent-length: 15\r\nconnection: close\r\n\r\n<!doctype html>");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 8_192]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn an_archive_without_sql_has_no_command_line_and_says_what_is_left_out() {
    let checkout = Checkout::new();
    fs::write(checkout.path().join("daglight.toml"), "[capture]\ncommand_line = true\n").expect("a file");
    let run = ["run", "-c", "SELECT 'zqmark' AS x", "--tag", "owner=zqtag"];
    says(&call(&checkout, &run), 0, &[]);
    let packed = call(&checkout, &["bundle", "pack", "--without-sql", "--to", "run.tar.gz"]);
    says(
        &packed,
        0,
        &["left out: data_summaries.jsonl", "values of parameters, the command line; names and tags stay"],
    );
    let output =
        Command::new("tar").args(["--to-stdout", "-xzf", "run.tar.gz"]).current_dir(checkout.path()).output();
    let text = String::from_utf8_lossy(&output.expect("tar").stdout).into_owned();
    assert!(text.contains("\"process.pid\"") && !text.contains("zqmark"), "{text}");
}

#[test]
fn rows_that_cannot_be_printed_are_one_error_and_the_last_line_says_so() {
    let checkout = Checkout::new();
    for more in [&[][..], &["--format", "csv"], &["--format", "json"]] {
        let run = Daglight::new(&checkout, ["run", "-c", "SELECT 1 AS a; SELECT 2 AS b"]).args(more);
        let run = run.through("sh", &["-c", r#"exec "$0" "$@" > /dev/full"#]).finish().ended_with(1);
        assert_eq!(run.stderr.matches("cannot write to standard output").count(), 1, "{}", run.stderr);
        let last = run.stderr.lines().find(|line| line.contains(" succeeded in ")).expect("the last line");
        assert!(last.ends_with("its output was NOT written as a whole: see the error above"), "{last}");
    }
    let status = call(&checkout, &["status"]);
    assert_eq!(status.stdout.matches(" success ").count(), 3, "{}", status.stdout);
}

#[test]
fn an_address_that_cannot_be_listened_at_is_a_wrong_option() {
    let checkout = Checkout::new();
    fs::create_dir(checkout.path().join("out")).expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it listens");
    let port = address.port().to_string();
    says(&call(&checkout, &["serve", "--port", &port]), 2, &["cannot listen at", &port, "--port"]);
    let said = call(&checkout, &["worker", "--listen", &address.to_string()]);
    says(&said, 2, &["cannot listen at", &port, "--listen"]);
    let expected = "cannot listen at nohost: expected a host and a port, such as 127.0.0.1:9400";
    says(&call(&checkout, &["worker", "--listen", "nohost"]), 2, &[expected]);
}

#[test]
fn a_link_to_a_bundle_is_named_and_an_archive_has_the_name_of_what_it_is() {
    let checkout = Checkout::new();
    let run =
        |folder: &str| says(&call(&checkout, &["run", "-c", "SELECT 1", "--output-dir", folder]), 0, &[]);
    ["out", "elsewhere"].iter().for_each(|folder| run(folder));
    let other = fs::read_dir(checkout.path().join("elsewhere/run_bundle")).expect("a folder").next();
    let link = checkout.path().join("out/run_bundle/link");
    std::os::unix::fs::symlink(other.expect("a run").expect("an entry").path(), &link).expect("a link");
    for command in [&["status", "out"][..], &["history", "out"], &["bundle", "verify", "out"]] {
        says(
            &call(&checkout, command),
            0,
            &["out/run_bundle/link is a link to a bundle, and is not followed"],
        );
    }
    fs::remove_file(link).expect("the link");
    let packed = call(&checkout, &["bundle", "pack", "out", "--to", "y.zip"]);
    says(&packed, 2, &["expected a name that ends in .tar.gz or .tgz, not y.zip"]);
    assert!(!checkout.path().join("y.zip").exists());
}

#[test]
fn what_a_killed_run_has_spilled_is_removed_by_the_next() {
    let checkout = Checkout::new();
    let spill = checkout.path().join("spill");
    let of_others = spill.join("daglight-spill-notes");
    fs::create_dir_all(&of_others).expect("a folder");
    let run = |sql: &str| {
        Daglight::new(&checkout, ["run", "--spill-dir", "spill", "--output-dir", "out", "-c", sql])
    };
    let left = || {
        let entries = fs::read_dir(&spill).expect("a folder").flatten().map(|entry| entry.path());
        entries.filter(|path| *path != of_others).count()
    };
    let killed = run("SELECT count(*) FROM generate_series(1, 100000000000)").start();
    killed.wait_until("it has a folder", || left() == 1);
    let lives = run("SELECT count(*) FROM generate_series(1, 100000000000)").start();
    lives.wait_until("it has a folder", || left() == 2);
    killed.signal("KILL");
    killed.finish();
    assert_eq!(left(), 2);
    run("SELECT count(*) FROM generate_series(1, 10000000)").finish().ended_with(0);
    assert_eq!(left(), 1, "that of the run that goes on");
    lives.signal("TERM");
    lives.finish().ended_with(143);
    assert_eq!(left(), 0);
    assert!(of_others.exists());
}
