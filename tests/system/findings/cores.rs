//! Work that one core did, partitions without rows, and a machine that was idle.

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Planted, Ran};

const ROWS: usize = 300_000;

/// The same rows as a file that cannot be divided, and as one that can.
fn rows_in_two_files(planted: &Planted) {
    let mut rows = "id,text\n".to_owned();
    for id in 0..ROWS {
        writeln!(rows, "{id},x{}-{}", id * 7_919 % 1_000_003, id * 104_729 % 1_000_003).expect("a text");
    }
    planted.write("data/one.csv", &rows);
    planted.write("data/plain.csv", &rows);
    let packed = Command::new("gzip").arg(planted.path("data/one.csv")).status();
    assert!(packed.is_ok_and(|status| status.success()), "the file is not compressed");
}

const READ_TWO_FILES: &str = "
    SET datafusion.execution.target_partitions = 4;
    SET datafusion.optimizer.repartition_file_min_size = 1;
    CREATE EXTERNAL TABLE one (id BIGINT, text VARCHAR) STORED AS CSV LOCATION 'data/one.csv.gz'
        OPTIONS ('format.compression' 'gzip', 'format.has_header' 'true');
    CREATE EXTERNAL TABLE plain (id BIGINT, text VARCHAR) STORED AS CSV LOCATION 'data/plain.csv'
        OPTIONS ('format.has_header' 'true');
    CREATE TABLE of_one AS SELECT max(text) AS text FROM one;
    CREATE TABLE of_plain AS SELECT max(text) AS text FROM plain;
";

#[test]
fn a_scan_that_one_core_did_is_found() {
    let planted = Planted::new("waiting_ms = 80.0\nmin_ms = 5.0\nmin_share = 0.0");
    rows_in_two_files(&planted);
    let ran = planted.run(READ_TWO_FILES);
    let found = ran.only("single-threaded", &["serial-nodes"]);
    let found = found.says(Some("of_one"), Some("DataSourceExec (one)"), &["in one partition, on one core"]);
    let found = found.has("rows", ROWS as f64).costs_at_most(ran.node_ms("of_one"));
    found.has_between("computed", 80.0, ran.node_ms("of_one"));
}

#[test]
fn a_large_file_that_cannot_be_divided_is_found() {
    let planted = Planted::new("huge_bytes = 1_000_000\nmin_ms = 5.0\nmin_share = 0.0");
    rows_in_two_files(&planted);
    let ran = planted.run(READ_TWO_FILES);
    let found = ran.only("few-huge-files", &["serial-nodes"]);
    found
        .says(Some("of_one"), Some("DataSourceExec (one)"), &["from 1 file in one partition"])
        .has("bytes read", planted.bytes("data/one.csv.gz"))
        .has("files", 1.0)
        .costs_at_most(ran.node_ms("of_one"));
}

#[test]
fn partitions_with_hardly_any_rows_are_found() {
    let cores = thread::available_parallelism().expect("cores").get();
    let (groups, partitions) = (100, cores * 4 + 36);
    let planted = Planted::new("min_ms = 0.0\nmin_share = 0.0");
    let ran = planted.run(&format!(
        "CREATE TABLE lines AS SELECT value AS id, value % {groups} AS k FROM generate_series(1, 5000);
         SET datafusion.execution.target_partitions = {partitions};
         CREATE TABLE spread AS SELECT k, count(*) AS n FROM lines GROUP BY k;
         SET datafusion.execution.target_partitions = 2;
         CREATE TABLE together AS SELECT k, count(*) AS n FROM lines GROUP BY k;"
    ));
    let found = ran.only("too-many-partitions", &[]);
    found
        .says(Some("spread"), Some("RepartitionExec"), &[&format!("over {partitions} partitions")])
        .has("partitions", partitions as f64)
        .costs_at_most(ran.node_ms("spread"));
    // The groups of each partition of the input are spread.
    assert_eq!(found.number("rows") % f64::from(groups), 0.0, "{}", found.summary());
}

/// What a machine says of its processors, in front of the truth: the other tests are busy on this one.
struct Machine {
    file: PathBuf,
    stop: Arc<AtomicBool>,
    counts: Option<JoinHandle<()>>,
}

impl Machine {
    /// All of its cores are idle, or none is.
    fn start(folder: &Path, is_idle: bool) -> Self {
        let (path, stop) = (folder.join("stat"), Arc::new(AtomicBool::new(false)));
        let (file, stopped, begun) =
            (File::create(&path).expect("a file"), Arc::clone(&stop), Instant::now());
        let write = move || {
            let ticks = begun.elapsed().as_millis();
            let (busy, idle) = if is_idle { (0, ticks) } else { (ticks, 0) };
            // In one piece and of the same length, since it is read at any moment.
            let line = format!("cpu  {busy:012} 0 0 {idle:012} 0 0 0 0 0 0\n");
            file.write_all_at(line.as_bytes(), 0).expect("a file");
        };
        write();
        let counts = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                write();
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { file: path, stop, counts: Some(counts) }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(counts) = self.counts.take() {
            let _ = counts.join();
        }
    }
}

/// The shell says the processor time of what it ran, as the kernel has counted it for the process.
const TIMED: &str = r#""$@"; code=$?; times >&2; exit $code"#;

/// Shows a program this file in the place of what the kernel says of the machine.
const SHOWN: &str = r#"mount --bind "$1" /proc/stat || exit 99; shift; exec "$@""#;

/// A node that waits for rows, which come one by one, for about as many seconds.
fn waiting(planted: &Planted, machine: &Machine, seconds: u32) -> (Ran, f64) {
    let pipe = planted.path("events.csv");
    let _ = fs::remove_file(&pipe);
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()), "a named pipe cannot be made");
    let writer = thread::spawn(move || {
        let file = fs::File::options().write(true).open(pipe).expect("a reader");
        for row in 0..seconds * 10 {
            let line = format!("{row}\n");
            std::io::Write::write_all(&mut &file, line.as_bytes()).expect("a reader");
            thread::sleep(Duration::from_millis(100));
        }
    });
    let call = planted.call(
        "CREATE UNBOUNDED EXTERNAL TABLE events (id BIGINT) STORED AS CSV LOCATION 'events.csv';
         CREATE TABLE seen AS SELECT id FROM events WHERE id > 5;",
    );
    let call = call.through("bash", &["-c", TIMED, "bash"]);
    let file = machine.file.to_string_lossy();
    let call = call.through("unshare", &["--map-root-user", "--mount", "sh", "-c", SHOWN, "sh", &file]);
    let finished = call.finish();
    writer.join().expect("all rows are written");
    let times = finished.stderr.lines().last().expect("the times of what the shell ran");
    let cpu_ms = times.split_whitespace().map(|time| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').expect("minutes and seconds");
        let number = |text: &str| text.parse::<f64>().expect("a number");
        (number(minutes) * 60.0 + number(seconds)) * 1e3
    });
    (planted.ran(&finished), cpu_ms.sum())
}

#[test]
fn a_run_that_waits_on_an_idle_machine_wastes_its_cores() {
    let planted = Planted::new("cpu_run_ms = 1_000.0");
    let (ran, cpu_ms) = waiting(&planted, &Machine::start(planted.checkout().path(), true), 6);
    let found = ran.only("wasted-cores", &[]).says(None, None, &["The run used "]);
    let cores = thread::available_parallelism().expect("cores").get() as f64;
    found.has("cores", cores).has_between("processor time", 1.0, cpu_ms + 20.0);
    found.costs_at_most(ran.run_ms());
    // It waits as long where others have the cores, which the run could not have had.
    let (ran, _) = waiting(&planted, &Machine::start(planted.checkout().path(), false), 2);
    ran.nothing_but(&[]);
}

#[test]
fn a_run_that_computes_on_all_cores_wastes_none() {
    let ran = Planted::new("cpu_run_ms = 500.0").run(
        "SET datafusion.execution.batch_size = 512;
         CREATE TABLE most AS SELECT max(md5(md5(CAST(value AS VARCHAR)))) AS most FROM generate_series(1, 200000);",
    );
    ran.nothing_but(&[]);
}
