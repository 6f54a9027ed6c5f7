//! Requests that a server or proxy carries out long after it has cut them off, or answered them with an error.
//!
//! What a run leaves behind then cannot be right before the last of them has come. It must say so, and a later
//! synchronisation must put it right.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use daglight_run_bundle::{DeliveryCounts, Durability};
use daglight_run_identity::RunId;
use daglight_system_tests::{Fault, Proxy, Sample, TrackingServer};
use daglight_tracker_client::{Connection, ProjectRef, Sighting, SyncOutcome, Tracker, sync_bundle};
use dev_services::USER;
use serde_json::{Value, json};
use tempfile::TempDir;

const NODES: usize = 4;

/// Of requests that wait for the most part.
const WORKERS: usize = 12;

const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// How late the server is, in milliseconds.
const DELAYS_MS: [u64; 4] = [700, 5_000, 15_000, 40_000];

/// The requests that change something on the server.
const REQUESTS: [&str; 4] = [
    "POST /api/v1/dag_templates?",
    "POST /api/v1/dag_runs?",
    "PUT /api/v1/dag_runs_bulk?",
    "PUT /api/v1/dag_runs/",
];

/// What the client sees of a request that is carried out later.
fn faults(delay: Duration) -> [(&'static str, Fault); 5] {
    [
        ("cut off", Fault::ResetDuring(delay)),
        ("500", Fault::AnswerEarly(500, "oh", delay)),
        ("503", Fault::AnswerEarly(503, "", delay)),
        ("504", Fault::AnswerEarly(504, "<html>gateway timeout</html>", delay)),
        ("200 with a page", Fault::AnswerEarly(200, "<html>welcome</html>", delay)),
    ]
}

struct Case {
    name: String,
    sample: Sample,
    folder: TempDir,
    proxy: Proxy,
    ledger: DeliveryCounts,
}

impl Case {
    /// A run whose first request of a kind is spoilt, to its end.
    fn run(
        number: usize,
        name: String,
        server: &TrackingServer,
        project: i64,
        request: &str,
        fault: Fault,
    ) -> Self {
        let sample = Sample::new(&format!("late::number_{number}_v1"), NODES, RunId::new());
        let (folder, proxy) = (tempfile::tempdir().expect("a folder"), Proxy::start(server.url()));
        proxy.spoil(request, 1, fault);
        let tracker = Tracker::start(folder.path(), Durability::Process, Some(connection(&proxy, project)));
        sample.begin(&tracker);
        (0..NODES).for_each(|node| sample.start(&tracker, node));
        let begun = Instant::now();
        while tracker.ledger().delivered_by_kind.task_updates == 0 && begun.elapsed() < Duration::from_secs(6)
        {
            thread::sleep(Duration::from_millis(10));
        }
        (0..NODES).for_each(|node| sample.finish(&tracker, node));
        sample.end(&tracker);
        let ledger = tracker.flush(WAIT_LIMIT);
        Self { name, sample, folder, proxy, ledger }
    }

    fn sync(&self, project: i64) -> SyncOutcome {
        sync_bundle(self.folder.path(), &connection(&self.proxy, project), Sighting::UNKNOWN, WAIT_LIMIT)
            .expect("the server takes it")
    }
}

fn connection(proxy: &Proxy, project: i64) -> Connection {
    Connection::new(&proxy.url(), USER, ProjectRef::Id(project)).expect("an address")
}

/// As if the time had passed in which the server may be late.
pub(crate) fn let_time_pass(tracker_dir: &Path) {
    let path = tracker_dir.join("delivery.json");
    let mut cursor: Value = serde_json::from_slice(&fs::read(&path).expect("a cursor")).expect("JSON");
    if cursor["unverified_until"].is_string() {
        cursor["unverified_until"] = json!("2026-01-01T00:00:00Z");
        // It is that of the file before, and a file without one is of an earlier version.
        cursor.as_object_mut().expect("an object").remove("checksum");
        fs::write(&path, cursor.to_string()).expect("the cursor can be written");
    }
}

#[test]
fn what_is_carried_out_late_is_put_right_by_a_later_synchronisation() {
    let server = TrackingServer::on_sqlite();
    let project = server.project("late");
    let mut all = Vec::new();
    // The latest ones first.
    for delay in DELAYS_MS.into_iter().rev().map(Duration::from_millis) {
        for request in REQUESTS {
            for (what, fault) in faults(delay) {
                all.push((format!("{request:<28} {what:<15} late by {delay:?}"), request, fault));
            }
        }
    }
    let begun = Instant::now();
    let number_of_cases = all.len();
    let queue = Mutex::new(all.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let cases = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((number, (name, request, fault))) = next() {
                    let case = Case::run(number, name, &server, project, request, fault);
                    cases.lock().unwrap_or_else(PoisonError::into_inner).push(case);
                }
            });
        }
    });
    let cases = cases.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(cases.len(), number_of_cases);
    // As late as it gets.
    thread::sleep(Duration::from_secs(42));
    println!("{:.0} s", begun.elapsed().as_secs_f64());
    for case in &cases {
        let statuses = case.sample.statuses(&server, project);
        let unverified = case.ledger.unverified_until.is_some();
        println!("{}: {statuses:?}, unverified {unverified}, waiting {}", case.name, case.ledger.waiting);
        let was_right = statuses == ["SUCCESS"];
        assert!(was_right || unverified || case.ledger.waiting > 0, "{}: {:?}", case.name, case.ledger);
        let_time_pass(case.folder.path());
        let synced = case.sync(project);
        assert_eq!(synced.ledger.unverified_until, None, "{}", case.name);
        case.sample.check_run(&server, project, case.sample.whole(), &synced.ledger);
        let asked = case.proxy.seen().len();
        assert_eq!((case.sync(project).delivered, case.proxy.seen().len()), (0, asked), "{}", case.name);
    }
}

/// A server whose database was replaced has another run under the id of ours.
#[test]
fn a_run_of_somebody_else_is_left_alone() {
    let (mut first, second) = (TrackingServer::on_sqlite(), TrackingServer::on_sqlite());
    let (project, other_project) = (first.project("ours"), second.project("theirs"));
    assert_eq!(project, other_project, "both databases are new");
    let proxy = Proxy::start(first.url());
    let folder = tempfile::tempdir().expect("a folder");
    let sample = Sample::new("replaced::ours_v1", NODES, RunId::new());
    let tracker = Tracker::start(folder.path(), Durability::Process, Some(connection(&proxy, project)));
    sample.begin(&tracker);
    sample.start(&tracker, 0);
    assert_eq!(tracker.flush(WAIT_LIMIT).waiting, 0);

    // Somebody else's run gets the same id in the other database.
    let theirs = Sample::new("replaced::theirs_v1", NODES, RunId::new());
    let their_folder = tempfile::tempdir().expect("a folder");
    let their_proxy = Proxy::start(second.url());
    let their =
        Tracker::start(their_folder.path(), Durability::Process, Some(connection(&their_proxy, project)));
    theirs.begin(&their);
    (0..NODES).for_each(|node| theirs.start(&their, node));
    (0..NODES).for_each(|node| theirs.finish(&their, node));
    theirs.end(&their);
    let their_ledger = their.flush(WAIT_LIMIT);
    let id = |tracker: &Tracker| tracker.link().expect("the server has it").dag_run_id;
    assert_eq!(id(&tracker), id(&their));

    drop(tracker);
    let tracker = Tracker::start(folder.path(), Durability::Process, None);
    (1..NODES).for_each(|node| sample.start(&tracker, node));
    (0..NODES).for_each(|node| sample.finish(&tracker, node));
    sample.end(&tracker);
    drop(tracker);
    proxy.set_upstream(second.url());
    first.stop();
    let synced = sync_bundle(folder.path(), &connection(&proxy, project), Sighting::UNKNOWN, WAIT_LIMIT);
    let ledger = synced.expect("the server takes it").ledger;
    assert_eq!((ledger.waiting, ledger.redelivered), (0, 3), "{ledger:?}");
    sample.check(&second, project, sample.whole(), &ledger);
    theirs.check(&second, project, theirs.whole(), &their_ledger);
}
