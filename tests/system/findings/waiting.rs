//! Time in which nothing of a node ran, in which a query stood still, or in which it was only planned.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use daglight_system_tests::{Checkout, Daglight};

use super::{Planted, Ran};

#[test]
fn nodes_that_could_run_at_once_are_found() {
    let planted = Planted::new("");
    let names = ["a", "b", "c"];
    // They wait, so that the cores are free whatever else the machine does.
    let writers = names.map(|name| {
        pipe(&planted, &format!("{name}.csv"), |mut pipe| {
            thread::sleep(Duration::from_secs(1));
            write_row(&mut pipe, 7);
        })
    });
    let table = |name: &str| {
        format!(
            "CREATE UNBOUNDED EXTERNAL TABLE {name} (id BIGINT) STORED AS CSV LOCATION '{name}.csv';
             CREATE TABLE of_{name} AS SELECT id FROM {name} WHERE id > 3;"
        )
    };
    let sql = names.map(table).concat()
        + "CREATE TABLE all_of AS SELECT of_a.id + of_b.id + of_c.id AS id FROM of_a, of_b, of_c;";
    let ran = planted.ran(&planted.call(&sql).finish());
    writers.into_iter().for_each(|writer| writer.join().expect("the row is written"));
    let found = ran.only("serial-nodes", &[]).says(None, None, &["Nodes ran one after another"]);
    let nodes_ms = names.map(|name| ran.node_ms(&format!("of_{name}")));
    let longest_ms = nodes_ms.into_iter().fold(0.0, f64::max);
    found.has_between("longest chain", longest_ms, ran.run_ms()).costs_at_most(ran.run_ms() - longest_ms);
}

#[test]
fn a_query_that_is_planned_for_longer_than_it_runs_is_found() {
    let planted = Planted::new("planning_ms = 150.0");
    let listed: Vec<String> = (0..400).map(|id| format!("(id = {} AND v <> {id})", id * 2)).collect();
    let ran = planted.run(&format!(
        "CREATE TABLE lines AS SELECT value AS id, value % 10 AS v FROM generate_series(1, 1000);
         CREATE TABLE wanted AS SELECT value * 2 AS id FROM generate_series(0, 399);
         CREATE TABLE by_list AS SELECT count(*) AS n FROM lines WHERE {};
         CREATE TABLE by_join AS SELECT count(*) AS n FROM lines JOIN wanted ON lines.id = wanted.id;",
        listed.join(" OR ")
    ));
    let found = ran.only("planning", &["serial-nodes"]).says(
        Some("by_list"),
        None,
        &["Node by_list planned a query for"],
    );
    let node_ms = ran.node_ms("by_list");
    let found = found.has_between("planning", 150.0, node_ms).costs_at_most(node_ms);
    found.has_between("executing", 0.0, node_ms - found.number("planning"));
}

#[test]
fn statements_of_no_node_that_take_long_are_found() {
    let planted = Planted::new("waiting_ms = 100.0");
    let compute = "SELECT max(md5(md5(CAST(value AS VARCHAR)))) AS most FROM generate_series(1, 60000)";
    let ran = planted.run(&format!("CREATE TABLE most AS {compute};\nEXPLAIN ANALYZE {compute};\n"));
    let found =
        ran.only("setup", &["recomputed-view"]).says(None, None, &["Setup: statements without a node took "]);
    // All that is not of the node, at most.
    found.has_between("setup", 100.0, ran.run_ms() - ran.node_ms("most")).costs_at_most(ran.run_ms());
    planted
        .run(&format!("CREATE TABLE most AS {compute};\nCREATE TABLE again AS {compute};\n"))
        .without("setup");
}

#[test]
fn time_between_two_nodes_is_found() {
    let checkout = Checkout::new();
    let program = Path::new(env!("CARGO_BIN_EXE_idle-run"));
    let run = |pause_ms: &str| {
        let finished = Daglight::program(program, &checkout, [pause_ms])
            .env("HAMILTON_TRACKER_ENABLED", "false")
            .env("DAGLIGHT_OUTPUT_DIR", "out")
            .finish()
            .ended_with(0);
        let mut lines = finished.stdout.lines().map(str::to_owned);
        let (paused_ms, bundle) = (lines.next().expect("a time"), lines.next().expect("a bundle"));
        (paused_ms.parse::<f64>().expect("a number"), Ran::of(checkout.path().join(bundle)))
    };
    let (paused_ms, ran) = run("1500");
    let found = ran.only("idle", &[]);
    let found = found.says(Some("orders"), None, &["no node ran for ", "between orders and risk"]);
    let outside_ms =
        ran.run_ms() - ["orders", "risk", "late"].map(|node| ran.node_ms(node)).iter().sum::<f64>();
    let found = found.has_between("longest gap", paused_ms - 1.0, outside_ms);
    found.has_between("idle", found.number("longest gap"), outside_ms).costs_at_most(outside_ms);
    run("0").1.nothing_but(&[]);
}

/// A pipe at this path, into which a thread of the test writes what `write` says, when somebody reads it.
fn pipe(planted: &Planted, name: &str, write: impl FnOnce(File) + Send + 'static) -> JoinHandle<()> {
    let path: PathBuf = planted.path(name);
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()), "a named pipe cannot be made");
    thread::spawn(move || write(File::options().write(true).open(path).expect("a reader")))
}

fn write_row(pipe: &mut File, row: u32) {
    pipe.write_all(format!("{row}\n").as_bytes()).expect("a reader");
}

#[test]
fn a_query_without_progress_is_found_beside_one_that_is_slow() {
    let planted = Planted::new("");
    let silence = Duration::from_secs(5);
    let silent = pipe(&planted, "silent.csv", move |mut pipe| {
        thread::sleep(silence);
        write_row(&mut pipe, 7);
    });
    let slow = pipe(&planted, "slow.csv", |mut pipe| {
        for row in 0..40 {
            write_row(&mut pipe, row);
            thread::sleep(Duration::from_millis(100));
        }
    });
    let table = |name: &str| {
        format!(
            "CREATE UNBOUNDED EXTERNAL TABLE {name} (id BIGINT) STORED AS CSV LOCATION '{name}.csv';
             CREATE TABLE of_{name} AS SELECT id FROM {name} WHERE id > 3;"
        )
    };
    let call = planted.call(&(table("slow") + &table("silent"))).args(["--jobs", "2"]);
    let call = call.env("DAGLIGHT_HEARTBEAT_SECONDS", "0.2").env("DAGLIGHT_STALL_SECONDS", "2");
    let ran = planted.ran(&call.env("DAGLIGHT_ON_STALL", "warn").finish());
    silent.join().expect("the row is written");
    slow.join().expect("the rows are written");
    let found = ran.only("stall", &[]);
    let found = found.says(
        Some("of_silent"),
        Some("StreamingTableExec"),
        &["Node of_silent made no progress", "(a pipe)"],
    );
    // The silence begins before the reader is there, and its end is seen by the next beat.
    let silent_ms = silence.as_secs_f64() * 1e3;
    found
        .has_between("without progress", silent_ms / 2.0, ran.node_ms("of_silent"))
        .costs_at_most(ran.run_ms());
    assert_eq!(found.level(), "warning", "it ended");
}

#[test]
fn a_process_that_was_stopped_is_found() {
    let planted = Planted::new("");
    let run = |stopped: Option<Duration>| {
        let _ = std::fs::remove_file(planted.path("events.csv"));
        let (opened, is_open) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let rows = pipe(&planted, "events.csv", move |mut pipe| {
            write_row(&mut pipe, 1);
            opened.send(()).expect("the test waits");
            may_go_on.recv().expect("the test says when");
            write_row(&mut pipe, 7);
        });
        let call = planted.call(
            "CREATE UNBOUNDED EXTERNAL TABLE events (id BIGINT) STORED AS CSV LOCATION 'events.csv';
             CREATE TABLE seen AS SELECT id FROM events WHERE id > 3;",
        );
        let running = call.env("DAGLIGHT_HEARTBEAT_SECONDS", "0.2").start();
        running.wait_until("the query", || is_open.try_recv().is_ok());
        thread::sleep(Duration::from_secs(1));
        let begun = Instant::now();
        if let Some(time) = stopped {
            running.signal("STOP");
            thread::sleep(time);
            running.signal("CONT");
        }
        let stopped_ms = begun.elapsed().as_secs_f64() * 1e3;
        thread::sleep(Duration::from_millis(500));
        go_on.send(()).expect("the writer waits");
        rows.join().expect("the rows are written");
        (planted.ran(&running.finish()), stopped_ms)
    };
    let stopped = Duration::from_secs(6);
    let (ran, stopped_ms) = run(Some(stopped));
    let found = ran.only("heartbeat-pause", &[]).says(None, None, &["The heartbeat paused for "]);
    assert_eq!(found.level(), "warning");
    found.has("between two beats", 200.0);
    // From the beat before it to the one behind it. The signal reaches the process a moment after it is sent.
    found.has_between("pause", stopped.as_secs_f64() * 1e3 - 200.0, stopped_ms + 3_000.0);
    let (ran, _) = run(None);
    ran.nothing_but(&[]);
    let gap = ran.json("heartbeat.json")["longest_gap_seconds"].as_f64().expect("a time");
    assert!(gap < stopped.as_secs_f64(), "{gap}");
}
