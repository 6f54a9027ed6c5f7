//! Runs whose process is killed: what was recorded reaches the server all the same, and the run is a failure.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use daglight_run_bundle::outbox::outbox_status;
use daglight_run_identity::RunId;
use daglight_system_tests::{Recorded, Sample, TrackingServer};
use daglight_tracker_client::{Connection, ProjectRef, Sighting, sync_bundle};
use dev_services::USER;
use fastrand::Rng;

use crate::processes::sample_run;

const KILLS: u64 = 50;

/// Each number gives other moments; a failure says which one it was.
const SEED: u64 = 20_261_121;

const NODES: usize = 30;

/// Long enough that nodes end while others are being delivered.
const PAUSE_US: u64 = 12_000;

/// The stage at which nothing of a run was acknowledged.
const NO_RUN: &str = "before the run";

const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// After what a run is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after its first sign of life, whatever it has recorded by then.
    Ready(Duration),
    /// So long after so many acknowledged events.
    Events(usize, Duration),
    /// So long after the server knows the run.
    Linked(Duration),
    /// So long after its last event.
    All(Duration),
}

impl Moment {
    /// The moments take turns, so that each part of a run is hit.
    fn of(turn: u64, random: &mut Rng) -> Self {
        let mut up_to_ms = |limit: u64| Duration::from_micros(random.u64(..limit * 1_000));
        match turn % 5 {
            0 => Self::Events(1, up_to_ms(60)),
            1 => Self::Linked(up_to_ms(100)),
            2 => Self::All(up_to_ms(400)),
            _ => {
                let delay = up_to_ms(50);
                Self::Events(1 + random.usize(..2 * NODES), delay)
            }
        }
    }
}

/// The process of a run, and the events that it has acknowledged.
struct Victim {
    process: Child,
    lines: Receiver<String>,
    acknowledged: Vec<String>,
}

impl Victim {
    fn start(server: &TrackingServer, project: i64, folder: &Path, dag_name: &str, run_id: RunId) -> Self {
        let pause = Duration::from_micros(PAUSE_US);
        let mut process = sample_run(folder, server.url(), project, (dag_name, run_id, NODES), pause)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the sample run starts");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, lines, acknowledged: Vec::new() }
    }

    fn wait_for(&mut self, done: impl Fn(&[String]) -> bool) {
        while !done(&self.acknowledged) {
            let line = self.lines.recv_timeout(WAIT_LIMIT).expect("the sample run goes on");
            self.acknowledged.push(line);
        }
    }

    /// Kills it, and says what it has acknowledged.
    fn kill_at(mut self, moment: Moment, folder: &Path) -> Vec<String> {
        let delay = match moment {
            Moment::Ready(delay) => {
                self.wait_for(|lines| !lines.is_empty());
                delay
            }
            Moment::Events(count, delay) => {
                self.wait_for(|lines| lines.len() > count);
                delay
            }
            Moment::All(delay) => {
                self.wait_for(|lines| lines.last().is_some_and(|line| line == "all"));
                delay
            }
            Moment::Linked(delay) => {
                let progress = folder.join("delivery.json");
                let start = Instant::now();
                while !fs::read_to_string(&progress).is_ok_and(|text| text.contains("\"dag_run_id\"")) {
                    assert!(start.elapsed() < WAIT_LIMIT, "the server does not get the run");
                    thread::sleep(Duration::from_millis(2));
                }
                delay
            }
        };
        thread::sleep(delay);
        self.process.kill().expect("a process can be killed");
        self.process.wait().expect("it has ended");
        self.acknowledged.extend(self.lines.iter());
        self.acknowledged
    }
}

/// Kills a run, delivers what it left behind, and checks that. Says how much the server had before.
fn check(server: &TrackingServer, project: i64, number: u64, moment: Moment) -> &'static str {
    let bundle = tempfile::tempdir().expect("a folder");
    let (folder, run_id) = (bundle.path(), RunId::new());
    let dag_name = format!("killed::number_{number}_v1");
    let lines = Victim::start(server, project, folder, &dag_name, run_id).kill_at(moment, folder);
    let count = |event: &str| lines.iter().filter(|line| *line == event).count();
    let recorded = Recorded { started: count("started"), finished: count("finished"), ended: false };
    println!("{number}: {moment:?}, {} of {NODES} nodes ended", recorded.finished);
    if count("run") == 0 {
        assert_eq!(recorded.started, 0);
        return NO_RUN;
    }

    let status = outbox_status(folder).expect("the outbox can be read");
    assert!(status.is_open() && status.writer_alive == Some(false), "{status:?}");
    let connection = Connection::new(server.url(), USER, ProjectRef::Id(project)).expect("an address");
    let sync = || {
        let gone = Sighting::gone(status.last_event);
        sync_bundle(folder, &connection, gone, WAIT_LIMIT).expect("the server takes it")
    };
    let first = sync();
    assert!(first.closed, "{first:?}");
    Sample::new(&dag_name, NODES, run_id).check(server, project, recorded, &first.ledger);
    let second = sync();
    assert_eq!((second.delivered, second.closed, &second.ledger), (0, false, &first.ledger));
    match status.ledger.delivered_by_kind {
        counts if counts.runs == 0 => "before the server knew the run",
        _ if status.ledger.waiting > 0 => "during the delivery",
        _ => "with all delivered",
    }
}

#[test]
fn a_killed_run_is_a_failure_with_everything_that_was_acknowledged() {
    let server = TrackingServer::on_sqlite();
    let project = server.project("killed");
    println!("seed {SEED}");
    let mut random = Rng::with_seed(SEED);
    let mut stages = BTreeMap::<_, u32>::new();
    for number in 0..KILLS {
        let moment = Moment::of(number, &mut random);
        *stages.entry(check(&server, project, number, moment)).or_default() += 1;
    }
    println!("{stages:?}");
    assert_eq!(stages.get(NO_RUN), None, "all of them were recorded runs");

    // Whatever is there so early, it can be delivered or is empty.
    for number in KILLS..KILLS + 5 {
        let delay = Duration::from_micros(random.u64(..1_000));
        check(&server, project, number, Moment::Ready(delay));
    }
}
