//! What reaches the tracking server when the way to it, or the server itself, fails.
//!
//! Each case spoils requests of every kind, and ends with the same check: each node, status and attribute is on the
//! server once, and the ledger says so.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    panic::resume_unwind,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use daglight_run_bundle::{DeliveryCounts, Durability};
use daglight_run_identity::RunId;
use daglight_system_tests::{Fault, Proxy, Sample, TrackingServer};
use daglight_tracker_client::{Connection, ProjectRef, Sighting, SyncError, Tracker, sync_bundle};
use dev_services::USER;
use tempfile::TempDir;

use crate::late::let_time_pass;

/// Every kind of request that a delivery makes.
const REQUESTS: [&str; 9] = [
    "GET /api/v1/projects/",
    "GET /api/v1/dag_templates/exists/",
    "POST /api/v1/dag_templates?",
    "GET /api/v1/dag_runs/latest/",
    "POST /api/v1/dag_runs?",
    "PUT /api/v1/dag_runs_bulk?",
    "GET /api/v1/dag_runs/",
    "GET /api/v1/node_runs/",
    "PUT /api/v1/dag_runs/",
];

/// More than the longest case takes on a busy machine.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

const NODES: usize = 40;

/// Runs of one case after the other, all in one project.
pub(crate) struct Matrix<'a> {
    pub(crate) server: &'a TrackingServer,
    pub(crate) project: i64,
}

/// A run of a case, on its way through a proxy.
struct Case {
    name: &'static str,
    sample: Sample,
    bundle: TempDir,
    proxy: Proxy,
    request_timeout: Duration,
}

impl<'a> Matrix<'a> {
    pub(crate) fn new(server: &'a TrackingServer) -> Self {
        Self { server, project: server.project("faults") }
    }

    fn case(&self, name: &'static str) -> Case {
        let sample = Sample::new(&format!("faults::{name}_v1"), NODES, RunId::new());
        let (bundle, proxy) = (tempfile::tempdir().expect("a folder"), Proxy::start(self.server.url()));
        Case { name, sample, bundle, proxy, request_timeout: Duration::from_secs(5) }
    }

    /// The first so many requests of each kind are spoilt.
    pub(crate) fn check(&self, name: &'static str, times: u32, fault: Fault) {
        let mut case = self.case(name);
        for start in REQUESTS {
            case.proxy.spoil(start, times, fault);
        }
        if matches!(fault, Fault::Hang | Fault::HangAfter) {
            case.request_timeout = Duration::from_secs(1);
        }
        let started = Instant::now();
        let tracker = case.start(self.project);
        case.record_slowly(&tracker);
        self.check_delivered(&case, &case.deliver(tracker));
        println!("{name}: {:.1} s, {} requests", started.elapsed().as_secs_f64(), case.proxy.seen().len());
    }

    fn check_delivered(&self, case: &Case, ledger: &DeliveryCounts) {
        assert_eq!((ledger.waiting, &ledger.last_error), (0, &None), "{}", case.story(ledger));
        case.sample.check(self.server, self.project, case.sample.whole(), ledger);
        case.proxy.heal();
        if ledger.unverified_until.is_some() {
            let_time_pass(case.bundle.path());
            let verified = case.sync(self.project).expect("a delivered run can be verified").ledger;
            assert_eq!((verified.waiting, verified.unverified_until), (0, None), "{}", case.story(ledger));
        }
        let asked = case.proxy.seen().len();
        let again = case.sync(self.project).expect("a delivered run can be synchronised again");
        assert_eq!((again.delivered, case.proxy.seen().len()), (0, asked), "{}", case.story(ledger));
    }
}

impl Case {
    fn connection(&self, project: i64) -> Connection {
        let connection = Connection::new(&self.proxy.url(), USER, ProjectRef::Id(project));
        connection.expect("an address").with_timeouts(Duration::from_secs(1), self.request_timeout)
    }

    fn start(&self, project: i64) -> Tracker {
        Tracker::start(self.bundle.path(), Durability::Process, Some(self.connection(project)))
    }

    /// Records the run while it is being delivered, so that most nodes are seen running first.
    fn record_slowly(&self, tracker: &Tracker) {
        self.sample.begin(tracker);
        (0..NODES).for_each(|node| self.sample.start(tracker, node));
        wait_until(Duration::from_secs(2), || tracker.ledger().delivered_by_kind.task_updates > 0);
        (0..NODES).for_each(|node| self.sample.finish(tracker, node));
        self.sample.end(tracker);
    }

    /// A flush gives up on a server that has never answered, the delivery does not.
    fn deliver(&self, tracker: Tracker) -> DeliveryCounts {
        let start = Instant::now();
        loop {
            let ledger = tracker.flush(WAIT_LIMIT);
            if ledger.waiting == 0 || start.elapsed() > WAIT_LIMIT {
                return ledger;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn sync(&self, project: i64) -> Result<daglight_tracker_client::SyncOutcome, SyncError> {
        let start = Instant::now();
        loop {
            match sync_bundle(self.bundle.path(), &self.connection(project), Sighting::UNKNOWN, WAIT_LIMIT) {
                // A tracker that is dropped waits for its delivery for half a second, and the delivery holds the outbox until it ends.
                Err(SyncError::Busy { .. }) if start.elapsed() < WAIT_LIMIT => {
                    thread::sleep(Duration::from_millis(20));
                }
                ended => return ended,
            }
        }
    }

    fn story(&self, ledger: &DeliveryCounts) -> String {
        format!("{}: {ledger:?}\n{}", self.name, self.proxy.seen().join("\n"))
    }
}

fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// How many cases are under way at the same time, as most of the time they wait.
const WORKERS: usize = 3;

/// The faults that any server can have, whatever its database. The longest ones come first.
const CASES: [(&str, u32, Fault); 15] = [
    ("timeout_before_commit", 1, Fault::Hang),
    ("failure_for_a_while", 2, Fault::Answer(503, "")),
    ("timeout_after_commit", 1, Fault::HangAfter),
    ("reset_before_commit", 1, Fault::ResetBefore),
    ("reset_halfway", 1, Fault::ResetHalfway),
    ("reset_after_commit", 2, Fault::ResetAfter),
    ("reset_during_commit", 1, Fault::ResetDuring(Duration::ZERO)),
    ("reset_long_before_commit", 1, Fault::ResetDuring(Duration::from_millis(500))),
    ("failure_once", 1, Fault::Answer(500, "Traceback\nOperationalError: no")),
    ("failure_after_commit", 1, Fault::AnswerAfter(502, "<html>bad gateway</html>")),
    ("slow_answers", 20, Fault::Slow(Duration::from_millis(150))),
    ("truncated_answers", 1, Fault::Truncate),
    ("wrong_json", 1, Fault::Garbage(r#"{"hello":"world"}"#)),
    ("no_json", 1, Fault::Garbage("<!doctype html><h1>Sign in")),
    ("nothing", 0, Fault::ResetBefore),
];

pub(crate) fn spoil_requests(server: &TrackingServer) {
    let matrix = Matrix::new(server);
    let cases = Mutex::new(CASES.iter());
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        let worker = || {
            while let Some((name, times, fault)) = next() {
                matrix.check(name, *times, *fault);
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        // With its own message: the scope would only say that a thread has panicked.
        workers.into_iter().for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
    });
}

/// A server that is so late with a request that was cut off, that the node has ended in the meantime.
pub(crate) fn commit_late(server: &TrackingServer) {
    let matrix = Matrix::new(server);
    let case = matrix.case("late_commit");
    let late = Fault::ResetDuring(Duration::from_millis(1_500));
    case.proxy.spoil("PUT /api/v1/dag_runs_bulk?", 1, late);
    case.proxy.spoil("PUT /api/v1/dag_runs/", 1, late);
    let tracker = case.start(matrix.project);
    case.record_slowly(&tracker);
    let ledger = case.deliver(tracker);
    // As late as it gets.
    thread::sleep(Duration::from_secs(2));
    matrix.check_delivered(&case, &ledger);
}

/// The server is away when the run starts, and comes while it goes on.
pub(crate) fn start_without_server(server: &TrackingServer) {
    let matrix = Matrix::new(server);
    let mut case = matrix.case("absent_at_start");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    case.proxy = Proxy::unreachable(address);
    let tracker = case.start(matrix.project);
    case.record_slowly(&tracker);
    let ledger = tracker.flush(WAIT_LIMIT);
    assert_eq!((ledger.delivered, ledger.waiting), (0, ledger.produced));
    assert!(ledger.last_error.is_some_and(|error| error.contains("no connection")));
    case.proxy = Proxy::start_at(TcpListener::bind(address).expect("the port is free"), server.url());
    matrix.check_delivered(&case, &case.deliver(tracker));
}

/// The server stops in the middle of a run, and another one continues with its database.
pub(crate) fn restart_in_the_middle(server: &mut TrackingServer) {
    let case = Matrix::new(server).case("restarted");
    let project = server.project("faults");
    let tracker = case.start(project);
    case.sample.begin(&tracker);
    (0..NODES / 2).for_each(|node| case.sample.start(&tracker, node));
    (0..NODES / 4).for_each(|node| case.sample.finish(&tracker, node));
    assert!(wait_until(WAIT_LIMIT, || tracker.ledger().delivered_by_kind.task_updates > 0));
    server.stop();
    (NODES / 4..NODES / 2).for_each(|node| case.sample.finish(&tracker, node));
    assert!(wait_until(WAIT_LIMIT, || tracker.ledger().last_error.is_some()));
    (NODES / 2..NODES).for_each(|node| case.sample.start(&tracker, node));
    server.restart();
    case.proxy.set_upstream(server.url());
    (NODES / 2..NODES).for_each(|node| case.sample.finish(&tracker, node));
    case.sample.end(&tracker);
    Matrix::new(server).check_delivered(&case, &case.deliver(tracker));
}

/// A refusal ends the delivery of this process with a remedy; once the cause is gone, another one delivers.
pub(crate) fn refuse_the_user(server: &TrackingServer) {
    let matrix = Matrix::new(server);
    for (name, status, start) in [
        ("auth_refused", 401, "GET /api/v1/projects/"),
        ("auth_withdrawn", 403, "PUT /api/v1/dag_runs_bulk?"),
    ] {
        let case = matrix.case(name);
        case.proxy.spoil(start, 1, Fault::Answer(status, r#"{"detail": "Unauthorized"}"#));
        let tracker = case.start(matrix.project);
        case.record_slowly(&tracker);
        let ledger = tracker.flush(WAIT_LIMIT);
        assert!(ledger.waiting >= NODES as u64, "{}", case.story(&ledger));
        let error = ledger.last_error.clone().unwrap_or_default();
        assert!(error.contains("HAMILTON_API_KEY") && error.contains("Unauthorized"), "{error}");
        drop(tracker);
        let synced = case.sync(matrix.project).expect("the server takes it now");
        matrix.check_delivered(&case, &synced.ledger);
    }
}

/// Another program holds the database for longer than the server waits for it.
fn lock_the_database(server: &TrackingServer) {
    let matrix = Matrix::new(server);
    let mut case = matrix.case("database_is_locked");
    // The server waits for five seconds before it says so.
    case.request_timeout = Duration::from_secs(20);
    let tracker = case.start(matrix.project);
    case.sample.begin(&tracker);
    assert!(wait_until(WAIT_LIMIT, || tracker.link().is_some()));
    let mut lock = DatabaseLock::take(server);
    (0..NODES).for_each(|node| case.sample.start(&tracker, node));
    let error = || tracker.ledger().last_error.unwrap_or_default();
    assert!(wait_until(WAIT_LIMIT, || !error().is_empty()), "the lock has no effect");
    assert!(error().contains("database is locked"), "{}", error());
    lock.release();
    (0..NODES).for_each(|node| case.sample.finish(&tracker, node));
    case.sample.end(&tracker);
    matrix.check_delivered(&case, &case.deliver(tracker));
}

/// A write transaction on the server's database.
struct DatabaseLock {
    holder: Child,
}

impl DatabaseLock {
    const HOLD: &str = "import sqlite3, sys\n\
        database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n\
        database.execute('BEGIN EXCLUSIVE')\n\
        print('locked', flush=True)\n\
        sys.stdin.read()\n\
        database.execute('ROLLBACK')\n";

    fn take(server: &TrackingServer) -> Self {
        let mut holder = Command::new("python3")
            .args(["-c", Self::HOLD])
            .arg(server.database())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut line = String::new();
        let output = holder.stdout.as_mut().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("it says that it has the lock");
        assert_eq!(line, "locked\n");
        Self { holder }
    }

    fn release(&mut self) {
        drop(self.holder.stdin.take());
        self.holder.wait().expect("it ends");
    }
}

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        self.release();
    }
}

#[test]
fn everything_is_on_the_server_once_whatever_happens_to_requests() {
    spoil_requests(&TrackingServer::on_sqlite());
}

#[test]
fn everything_is_on_the_server_once_whatever_happens_to_the_server() {
    let mut server = TrackingServer::on_sqlite();
    commit_late(&server);
    start_without_server(&server);
    refuse_the_user(&server);
    lock_the_database(&server);
    restart_in_the_middle(&mut server);
}
