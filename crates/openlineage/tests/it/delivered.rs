//! What a receiver gets, whatever happens to it.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use daglight_openlineage::{Ending, LineageRun, SyncLineageError, Target, check_receiver, sync_lineage};
use daglight_run_bundle::outbox::DeliveryLock;
use serde_json::Value;

use crate::{
    FLUSH, at, at_url, bundle, counts, events_of, node_facts, receiver::Receiver, receiver::Reply, run_facts,
    run_of_one_node, target, types,
};

const ALL: [&str; 4] = ["START", "START", "COMPLETE", "COMPLETE"];

/// Runs against a receiver that answers so, and waits so long.
fn run_against(reply: impl Fn(usize) -> Reply + Send + Sync + 'static, flush: Duration) -> Case {
    let (out, bundle) = bundle();
    let receiver = Receiver::start(reply);
    let run = LineageRun::start(&bundle, run_facts(), at_url(&receiver.url)).unwrap();
    run_of_one_node(&run);
    run.flush(flush);
    // Whatever the receiver does: the bundle has the events.
    assert_eq!(types(&events_of(&bundle)), ALL);
    let ledger = counts(&run);
    Case { _out: out, bundle, receiver, ledger, _run: run }
}

struct Case {
    _out: tempfile::TempDir,
    bundle: daglight_run_bundle::Bundle,
    receiver: Receiver,
    ledger: daglight_run_bundle::DeliveryCounts,
    _run: LineageRun,
}

#[test]
fn every_event_is_sent_once_and_in_order() {
    let case = run_against(|_| Reply::Status(201), FLUSH);
    assert_eq!((case.ledger.produced, case.ledger.delivered, case.ledger.waiting), (4, 4, 0));
    assert_eq!(case.receiver.events(), events_of(&case.bundle));
    let request = &case.receiver.requests()[0];
    assert_eq!(request.line, "POST /api/v1/lineage HTTP/1.1");
    assert!(request.headers.contains(&"authorization: bearer sesame-17".to_owned()), "{request:?}");
    assert!(request.headers.contains(&"content-type: application/json".to_owned()), "{request:?}");
}

#[test]
fn what_a_flush_delivered_is_recorded_when_it_returns() {
    // Often, because the record is written by another thread. Without it, the events would be sent again after the process ends.
    for _ in 0..20 {
        let case = run_against(|_| Reply::Status(201), FLUSH);
        let progress = fs::read(case.bundle.dir().join("openlineage.delivery.json")).unwrap();
        let progress: Value = serde_json::from_slice(&progress).unwrap();
        assert_eq!(progress["destinations"][0]["delivered"], 4, "{progress}");
    }
}

/// A run of many nodes, whose events nobody takes for now.
fn waiting_run_of(nodes: i64) -> (tempfile::TempDir, daglight_run_bundle::Bundle) {
    let (out, bundle) = bundle();
    let refusing = Receiver::start(|_| Reply::Status(401));
    let run = LineageRun::start(&bundle, run_facts(), at_url(&refusing.url)).unwrap();
    run.run_started(at(0)).unwrap();
    for number in 0..nodes {
        let node = node_facts(&format!("node_{number}"));
        run.node_started(&node, at(number)).unwrap();
        run.node_ended(&node, at(number), &Ending::Complete, Vec::new(), Vec::new()).unwrap();
    }
    run.run_ended(at(nodes), &Ending::Complete).unwrap();
    run.flush(FLUSH);
    (out, bundle)
}

/// The events of each run in their order, the run of the DAG around all others, and each once.
#[track_caller]
fn check_order(received: &[Value], written: &[Value]) {
    assert_eq!(received.len(), written.len());
    assert_eq!((received.first(), received.last()), (written.first(), written.last()));
    let by_run = |events: &[Value]| {
        let mut runs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for event in events {
            runs.entry(event["run"]["runId"].to_string()).or_default().push(event.clone());
        }
        runs
    };
    assert_eq!(by_run(received), by_run(written));
}

#[test]
fn nodes_are_sent_at_once_and_the_events_of_each_in_order() {
    let (_out, bundle) = waiting_run_of(100);
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, highest) = (Arc::clone(&open), Arc::clone(&most));
    let receiver = Receiver::start(move |_| {
        highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(20));
        now.fetch_sub(1, Ordering::SeqCst);
        Reply::Status(200)
    });
    let synced = sync_lineage(&bundle, &at_url(&receiver.url), FLUSH).unwrap().unwrap();
    assert_eq!((synced.delivered, synced.ledger.waiting), (202, 0));
    check_order(&receiver.events(), &events_of(&bundle));
    let most = most.load(Ordering::SeqCst);
    assert!((2..=16).contains(&most), "{most}");
}

#[test]
fn what_a_busy_server_did_not_take_comes_later_and_is_counted_once() {
    let (_out, bundle) = waiting_run_of(60);
    let receiver = Receiver::start(|number| {
        Reply::Status(match number % 7 {
            3 => 503,
            5 => 422,
            _ => 200,
        })
    });
    let synced = sync_lineage(&bundle, &at_url(&receiver.url), FLUSH).unwrap().unwrap();
    let (delivered, dropped) = (synced.delivered, synced.ledger.dropped_total());
    assert_eq!((delivered + dropped, synced.ledger.waiting), (122, 0), "{:?}", synced.ledger);
    assert!(dropped > 0 && synced.ledger.is_balanced());
    // No event that was taken is sent again: the requests are the events, and those that were told to come later.
    let requests = receiver.requests().len();
    let later = (0..requests).filter(|number| number % 7 == 3).count();
    assert_eq!(requests, 122 + later);
}

#[test]
fn a_receiver_is_asked_whether_it_is_one_without_an_event() {
    let asked = |reply: Reply| {
        let receiver = Receiver::start(move |_| reply);
        let found = check_receiver(&at_url(&receiver.url)).map_err(|error| error.to_string());
        assert!(receiver.requests().iter().all(|request| request.body.is_empty()));
        found
    };
    for status in [200, 201, 400, 422, 500] {
        assert_eq!(asked(Reply::Status(status)), Ok(()), "{status}");
    }
    for status in [301, 401, 403, 404, 405, 502, 503] {
        let error = asked(Reply::Status(status)).unwrap_err();
        assert!(error.contains(&status.to_string()) && !error.contains("sesame-17"), "{error}");
    }
    assert!(asked(Reply::Page).unwrap_err().contains("this is not a receiver of OpenLineage"));
    assert!(asked(Reply::Close).unwrap_err().contains("cannot be reached"));
}

#[test]
fn a_file_is_asked_whether_events_can_be_written_to_it() {
    let folder = tempfile::tempdir().unwrap();
    for append in [true, false] {
        let at = |path: &str| check_receiver(&Target::File { path: folder.path().join(path), append });
        at("events.jsonl").unwrap();
        let error = at("missing/events.jsonl").unwrap_err().to_string();
        assert!(error.contains("missing/events.jsonl") && error.contains("No such file"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    let there = folder.path().join("there.jsonl");
    fs::write(&there, "{}\n").unwrap();
    check_receiver(&Target::File { path: there.clone(), append: true }).unwrap();
    assert_eq!(fs::read_to_string(there).unwrap(), "{}\n");
}

#[test]
fn a_server_that_fails_is_asked_again() {
    let case = run_against(
        |number| match number {
            0 => Reply::Status(500),
            1 => Reply::Status(503),
            2 => Reply::Status(429),
            3 => Reply::Close,
            4 => Reply::Hang,
            _ => Reply::Status(200),
        },
        FLUSH,
    );
    assert_eq!((case.ledger.delivered, case.ledger.waiting), (4, 0), "{:?}", case.ledger);
    assert_eq!(case.ledger.last_error, None);
}

#[test]
fn a_page_that_answers_has_taken_nothing() {
    let case = run_against(|_| Reply::Page, FLUSH);
    assert_eq!((case.ledger.delivered, case.ledger.waiting), (0, 4), "{:?}", case.ledger);
    let error = case.ledger.last_error.clone().unwrap();
    assert!(error.contains("with a page: this is not a receiver of OpenLineage"), "{error}");
    let receiver = Receiver::start(|_| Reply::Status(201));
    let synced = sync_lineage(&case.bundle, &at_url(&receiver.url), FLUSH).unwrap().unwrap();
    assert_eq!((synced.delivered, &*types(&receiver.events())), (4, &ALL[..]));
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    let case = run_against(|number| if number == 0 { Reply::CutOff } else { Reply::Status(200) }, FLUSH);
    assert_eq!((case.ledger.delivered, case.ledger.waiting), (4, 0), "{:?}", case.ledger);
    assert_eq!(case.receiver.requests().len(), 5);
}

#[test]
fn an_event_that_is_refused_is_dropped_with_its_reason() {
    let case = run_against(|number| Reply::Status(if number == 1 { 422 } else { 200 }), FLUSH);
    assert_eq!((case.ledger.delivered, case.ledger.waiting), (3, 0));
    let reason = "refused by the receiver with 422 Unprocessable Entity: key sesame-1".to_owned();
    assert_eq!(case.ledger.dropped, BTreeMap::from([(reason, 1)]));
}

#[test]
fn a_wrong_key_drops_nothing_and_shows_no_key() {
    let case = run_against(|_| Reply::Status(401), FLUSH);
    assert_eq!((case.ledger.delivered, case.ledger.waiting, case.ledger.dropped_total()), (0, 4, 0));
    // It is not tried once more with each event.
    assert_eq!(case.receiver.requests().len(), 1);
    let error = case.ledger.last_error.clone().unwrap();
    assert!(error.contains("401") && !error.contains("sesame-17"), "{error}");
    // With the right one all of it is delivered, once.
    let repaired = Receiver::start(|_| Reply::Status(200));
    let synced = sync_lineage(&case.bundle, &at_url(&repaired.url), FLUSH).unwrap().unwrap();
    assert_eq!((synced.delivered, synced.ledger.waiting), (4, 0));
    let again = sync_lineage(&case.bundle, &at_url(&repaired.url), FLUSH).unwrap().unwrap();
    assert_eq!((again.delivered, again.ledger.delivered), (0, 4));
    assert_eq!(types(&repaired.events()), ALL);
}

#[test]
fn a_server_that_is_away_or_hangs_ends_no_later_than_it_may() {
    for reply in [Reply::Hang, Reply::Close, Reply::Status(502)] {
        let case = run_against(move |_| reply, Duration::from_millis(300));
        assert_eq!((case.ledger.delivered, case.ledger.waiting), (0, 4), "{reply:?}");
    }
    // Nobody listens there.
    let (_out, bundle) = bundle();
    let run = LineageRun::start(&bundle, run_facts(), at_url("http://me:sesame9@127.0.0.1:9")).unwrap();
    run_of_one_node(&run);
    run.flush(Duration::from_millis(300));
    let ledger = counts(&run);
    assert_eq!(ledger.waiting, 4);
    let error = ledger.last_error.unwrap();
    assert!(
        error.starts_with("http://127.0.0.1:9/") && error.contains(": the receiver cannot be reached: "),
        "{error}"
    );
    assert!(!error.contains("sesame9"), "{error}");
    drop(run);
    let receiver = Receiver::start(|_| Reply::Status(200));
    let synced = loop {
        // The thread of the run may still hold the lock for the length of a request.
        match sync_lineage(&bundle, &at_url(&receiver.url), FLUSH) {
            Err(SyncLineageError::Busy { .. }) => std::thread::sleep(Duration::from_millis(20)),
            other => break other.unwrap().unwrap(),
        }
    };
    assert_eq!((synced.delivered, synced.ledger.waiting), (4, 0));
    assert_eq!(receiver.events(), events_of(&bundle));
}

#[test]
fn a_limit_that_is_over_is_not_the_fault_of_the_receiver() {
    let case = run_against(|_| Reply::Status(401), FLUSH);
    let receiver = Receiver::start(|_| Reply::Hang);
    let synced =
        sync_lineage(&case.bundle, &at_url(&receiver.url), Duration::from_millis(200)).unwrap().unwrap();
    let error = synced.ledger.last_error.unwrap();
    assert!(error.starts_with(&receiver.url), "{error}");
    assert!(error.contains("time was over") && !error.contains("cannot be reached"), "{error}");
}

#[test]
fn damaged_lines_are_counted_and_the_others_delivered() {
    let case = run_against(|_| Reply::Status(401), FLUSH);
    let mut lines = fs::read(case.bundle.lineage_events()).unwrap();
    let first = lines.iter().position(|byte| *byte == b'\n').unwrap();
    lines[first / 2] = b'\xff';
    lines.extend(b"{\"torn");
    fs::write(case.bundle.lineage_events(), lines).unwrap();
    let receiver = Receiver::start(|_| Reply::Status(200));
    let synced = sync_lineage(&case.bundle, &at_url(&receiver.url), FLUSH).unwrap().unwrap();
    assert_eq!((synced.delivered, synced.ledger.waiting, synced.ledger.dropped_total()), (3, 0, 1));
    assert!(synced.ledger.is_balanced());
}

#[test]
fn two_do_not_deliver_at_once() {
    let case = run_against(|_| Reply::Status(401), FLUSH);
    let lock = DeliveryLock::of_lineage(case.bundle.dir()).unwrap();
    let error = sync_lineage(&case.bundle, &at_url(&case.receiver.url), FLUSH).unwrap_err();
    assert!(matches!(error, SyncLineageError::Busy { .. }), "{error}");
    drop(lock);
}

#[test]
fn files_take_events_as_a_receiver_does() {
    let (out, bundle) = bundle();
    let path = out.path().join("events.jsonl");
    let to_file = || {
        target(|settings| {
            (settings.transport, settings.append) = (Some("file".into()), true);
            settings.file = Some(path.clone());
        })
    };
    let run = LineageRun::start(&bundle, run_facts(), to_file()).unwrap();
    run_of_one_node(&run);
    run.flush(FLUSH);
    assert_eq!(counts(&run).delivered, 4);
    let text = fs::read_to_string(&path).unwrap();
    let written: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(written, events_of(&bundle));
}

#[test]
fn requests_are_compressed_where_that_is_asked_for() {
    let (_out, bundle) = bundle();
    let receiver = Receiver::start(|_| Reply::Status(200));
    let gzip = target(|settings| {
        (settings.url, settings.compression) = (Some(receiver.url.clone()), Some("gzip".into()));
    });
    let run = LineageRun::start(&bundle, run_facts(), gzip).unwrap();
    run.run_started(crate::at(0)).unwrap();
    run.flush(FLUSH);
    let request = &receiver.requests()[0];
    assert!(request.headers.contains(&"content-encoding: gzip".to_owned()), "{request:?}");
    assert_eq!(request.body[..2], [0x1f, 0x8b]);
}
