//! `daglight serve`: runs in a browser, also one that goes on.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use daglight_system_tests::{Checkout, Daglight, Page, Running};
use serde_json::Value;

/// Long enough that no machine comes to its end.
const HEAVY: &str = "CREATE TABLE n AS SELECT value AS x FROM generate_series(1, 3000);
CREATE TABLE heavy AS SELECT count(*) AS c FROM n a CROSS JOIN n b CROSS JOIN n c WHERE a.x + b.x + c.x > 5;
";

struct Served {
    running: Running,
    address: String,
}

impl Served {
    fn start(checkout: &Checkout, folder: &str, arguments: &[&str]) -> Self {
        let running = Daglight::new(checkout, ["serve", folder, "--port", "0"]).args(arguments).start();
        running.wait_until("its address", || running.output().ends_with('\n'));
        let address = running.output().trim().trim_end_matches("?token=TOKEN").to_owned();
        Self { running, address }
    }

    /// The status, the headers and the body of an answer to a request with these headers.
    fn ask(&self, path: &str, headers: &[&str]) -> (u16, String, String) {
        let host = self.address.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(host).expect("a connection");
        let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            request.push_str(&format!("Host: {host}\r\n"));
        }
        headers.iter().for_each(|header| request.push_str(&format!("{header}\r\n")));
        stream.write_all(format!("{request}\r\n").as_bytes()).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_lowercase(), body.to_owned())
    }

    fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.ask(path, &[]);
        assert_eq!(status, 200, "{path}: {body}");
        // The body may come in chunks.
        let text: String = if body.starts_with(['[', '{']) { body } else { unchunked(&body) };
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn unchunked(body: &str) -> String {
    let (mut rest, mut text) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        text.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    text
}

fn run_id(checkout: &Checkout) -> Option<String> {
    let mut runs = fs::read_dir(checkout.path().join("out/run_bundle")).ok()?;
    runs.next()?.ok()?.file_name().into_string().ok()
}

fn size_of_tree(folder: &Path) -> Vec<(String, u64)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.metadata().expect("a file") {
            metadata if metadata.is_dir() => files.extend(size_of_tree(&entry.path())),
            metadata => files.push((entry.path().to_string_lossy().into_owned(), metadata.len())),
        }
    }
    files.sort();
    files
}

#[test]
fn a_run_that_goes_on_is_watched_until_it_is_killed_and_then_reported() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("heavy.sql", HEAVY);
    let running = Daglight::run(&checkout, &pipeline).env("DAGLIGHT_HEARTBEAT_SECONDS", "0.2").start();
    running.wait_until("a bundle", || run_id(&checkout).is_some());
    let served = Served::start(&checkout, "out", &[]);
    let run = format!("/runs/{}/", run_id(&checkout).expect("a run"));
    let live = || served.json(&format!("{run}live.json"));
    let rows_per_second = |run: &Value| -> f64 {
        let operators = run["queries"][0]["operators"].as_array().cloned().unwrap_or_default();
        operators.iter().filter_map(|operator| operator["rows_per_second"].as_f64()).fold(0.0, f64::max)
    };
    running.wait_until("rows of the query", || rows_per_second(&live()) > 0.0);
    let now = live();
    assert_eq!((&now["status"], &now["nodes"]), (&"running".into(), &2.into()), "{now:#}");
    assert_eq!(now["active"][0]["name"], "heavy", "{now:#}");
    assert_eq!(now["nodes_succeeded"], 1, "{now:#}");
    assert_eq!(served.json("/runs.json")[0]["nodes_succeeded"], 1);
    assert_eq!(now["shown_nodes"][0]["status"], "running", "{now:#}");

    let page = Page::new();
    page.open(&served.address);
    page.shows(&["heavy", "running", "1 of 1 run"]);
    page.screenshot("serve-list");
    page.open(&format!("{}{}", served.address, run.trim_start_matches('/')));
    page.shows(&["Queries that run", "CrossJoinExec", "/s", "1 of 2 nodes"]);
    page.screenshot("serve-live");
    let first = live();
    running.wait_until("more rows", || live()["queries"] != first["queries"]);

    running.signal("KILL");
    assert_eq!(running.finish().code, None);
    // The page has found out by itself, and shows the report.
    page.shows(&["process ended", "Plans of the slowest queries"]);
    page.screenshot("serve-report");
    let killed = &served.json("/runs.json")[0];
    assert_eq!((&killed["status"], &killed["nodes_succeeded"]), (&"process_ended".into(), &1.into()));
    let bundle = checkout.path().join("out");
    let before = size_of_tree(&bundle);
    served.json(&format!("{run}report.json"));
    assert_eq!(size_of_tree(&bundle), before, "nothing is written");

    served.running.signal("INT");
    assert_eq!(served.running.finish().code, Some(0));
}

#[test]
fn two_runs_are_compared_and_a_packed_one_is_served() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("small.sql", "CREATE TABLE a AS SELECT 1 AS x; SELECT * FROM a;");
    for _ in 0..2 {
        Daglight::run(&checkout, &pipeline).finish().report(0);
    }
    let served = Served::start(&checkout, "out", &[]);
    let runs = served.json("/runs.json");
    let ids: Vec<&str> = runs.as_array().expect("runs").iter().filter_map(|run| run["id"].as_str()).collect();
    let [after, before] = ids[..] else { panic!("{runs:#}") };
    let page = Page::new();
    page.open(&format!("{}compare?before={before}&run={after}", served.address));
    page.shows(&["Runs", before, after, "Nodes"]);
    page.screenshot("serve-compare");
    page.click("all runs");
    page.shows(&["2 of 2 runs"]);
    page.open(&format!("{}runs/{after}/", served.address));
    page.shows(&["success", "small"]);
    page.click("all runs");
    page.shows(&["2 of 2 runs"]);
    page.open(&format!("{}runs/{after}/", served.address));
    let plan = page.links().into_iter().find(|link| link.contains("/plans/")).expect("a link to a plan");
    page.open(&plan);
    page.shows(&["datafusion_plan_bundle_v2"]);

    let call = Daglight::new(&checkout, ["bundle", "pack", "out", "--to", "run.tar.gz"]);
    call.finish().ended_with(0);
    let packed = Served::start(&checkout, "run.tar.gz", &[]);
    assert_eq!(packed.json("/runs.json")[0]["id"], after);
}

#[test]
fn only_this_machine_is_answered_and_only_with_the_token() {
    let checkout = Checkout::new();
    let pipeline = checkout.pipeline("small.sql", "SELECT 1 AS x;");
    Daglight::run(&checkout, &pipeline).finish().report(0);
    let served = Served::start(&checkout, "out", &[]);
    let status = |served: &Served, path: &str, headers: &[&str]| served.ask(path, headers).0;
    assert_eq!(status(&served, "/", &[]), 200);
    assert_eq!(status(&served, "/runs.json", &["Host: evil.example"]), 403);
    assert_eq!(status(&served, "/runs.json", &["Origin: http://evil.example"]), 403);
    assert_eq!(status(&served, "/runs.json", &["Sec-Fetch-Site: cross-site"]), 403);
    assert_eq!(status(&served, "/runs/../../../etc/passwd", &[]), 404);
    assert_eq!(status(&served, "/runs/%2e%2e%2f%2e%2e/", &[]), 404);
    assert_eq!(status(&served, "http://evil.example/runs.json", &[]), 403);
    let (code, _, said) = served.ask("/nope", &[]);
    assert!(code == 404 && said.contains("/runs/RUN/report.json"), "{code} {said}");
    let (code, _, said) = served.ask("/compare?before=x", &[]);
    assert!(
        code == 400 && said.contains("two runs are compared by /compare?before=RUN&run=RUN"),
        "{code} {said}"
    );
    let id = run_id(&checkout).expect("a run");
    assert_eq!(status(&served, &format!("/runs/{id}/plans/..%2fmanifest.json"), &[]), 404);
    let (_, head, _) = served.ask("/", &[]);
    for expected in
        ["content-security-policy: default-src 'none'", "x-frame-options: deny", "cache-control: no-store"]
    {
        assert!(head.contains(expected), "{expected:?} is not in {head}");
    }
    assert!(!head.contains("access-control"), "{head}");

    // As it was read from a file.
    let locked = Served::start(&checkout, "out", &["--token", "open-sesame\n"]);
    let (refused, _, why) = locked.ask("/runs.json", &[]);
    assert!(refused == 401 && why.contains("a token is wanted"), "{refused} {why}");
    assert_eq!(status(&locked, "/runs.json", &["Authorization: Bearer open-sesame"]), 200);
    let page = Page::new();
    page.open(&format!("{}?token=open-sesame", locked.address));
    page.shows(&["1 of 1 run"]);
    assert_eq!(page.evaluate("return location.search"), "");
}

#[test]
fn the_list_is_searched_and_filtered_and_two_of_it_are_compared() {
    let checkout = Checkout::new();
    let good = checkout.pipeline("good.sql", "CREATE TABLE a AS SELECT 1 AS x; SELECT * FROM a;");
    let bad = checkout.pipeline(
        "bad.sql",
        "CREATE TABLE a AS SELECT 1 AS x; SELECT a_rather_long_name_of_a_column FROM a;",
    );
    for _ in 0..2 {
        Daglight::run(&checkout, &good).finish().report(0);
    }
    Daglight::run(&checkout, &bad).finish();
    let served = Served::start(&checkout, "out", &[]);
    let runs = served.json("/runs.json");
    let history = Daglight::new(&checkout, ["history", "out", "--json"]).finish().stdout;
    let history: Value = serde_json::from_str(&history).expect("JSON");
    let of_good = history.as_array().expect("pipelines").iter().find(|of| of["dag_name"] == "good");
    let listed = runs.as_array().expect("runs").iter().find(|run| run["dag_name"] == "good").expect("a run");
    assert_eq!(listed["rows"], of_good.expect("its history")["runs"][0]["rows_in_tables"], "{history:#}");

    let page = Page::new();
    page.open(&served.address);
    page.shows(&["3 of 3 runs"]);
    page.type_into("#search", "rather_long");
    page.shows(&["1 of 3 runs"]);
    let chosen = |id: &str, value: &str| {
        page.evaluate(&format!(
            "const field = document.getElementById('{id}'); field.value = '{value}'; field.dispatchEvent(new Event('input'))"
        ));
    };
    chosen("search", "");
    chosen("status", "failure");
    page.shows(&["1 of 3 runs"]);
    chosen("status", "");
    chosen("pipeline", "good");
    page.shows(&["2 of 3 runs"]);
    page.evaluate("document.querySelectorAll('#runs input').forEach((box) => box.click())");
    page.click("compare the two");
    page.shows(&["Nodes", "all runs"]);

    page.emulate_width(390);
    page.open(&served.address);
    page.shows(&["3 of 3 runs"]);
    let narrowest = "return Math.min(...[...document.querySelectorAll('#runs .message')].filter((text) => text.textContent)
        .map((text) => text.parentElement.clientWidth))";
    let width = page.evaluate(narrowest).as_u64().expect("a width");
    assert!(width >= 200, "{width}");
    page.screenshot("serve-narrow");
}
