//! What becomes of the jobs of a scheduler whose client was killed, or could not cancel them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use daglight_system_tests::{Ballista, Checkout, Daglight, Running};
use serde_json::Value;

use crate::{
    ballista::{long_run, script},
    clusters::{plan, tables},
    programs::bundle,
};

/// What `sync` says of these runs, on standard output.
fn sync(checkout: &Checkout, folder: &str, cluster: Option<&str>, code: i32) -> String {
    let sync = Daglight::new(checkout, ["sync", folder]);
    let sync = match cluster {
        Some(cluster) => sync.args(["--cluster", cluster]),
        None => sync,
    };
    sync.finish().ended_with(code).stdout
}

/// What the report of a run says of jobs that may still be running.
fn reported(checkout: &Checkout) -> Vec<String> {
    let report = Daglight::new(checkout, ["report", "out", "--json"]).finish().ended_with(0).stdout;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let problems = report["problems"].as_array().expect("problems").iter();
    let left = problems.filter(|problem| problem["code"] == "job_left");
    left.map(|problem| {
        let [node, message] = ["node", "message"].map(|key| problem[key].as_str().expect("a text"));
        format!("{node}: {}", message.split(". ").next().expect("a beginning"))
    })
    .collect()
}

#[test]
fn sync_cancels_the_job_of_a_client_that_was_killed() {
    let checkout = Checkout::new();
    let ballista = Ballista::start(&checkout);
    // No heartbeat brings the file of the plan up to date.
    let (run, _) = long_run(&ballista, &checkout, |run| run.env("DAGLIGHT_HEARTBEAT_SECONDS", "60"));
    let job = ballista.get("jobs")[0]["job_id"].as_str().expect("an id").to_owned();
    let cluster = ballista.cluster();
    let scheduler = cluster.replace("ballista://", "");
    let bundle = bundle(&checkout);
    let work = || plan(&bundle, "pairs")["metrics"]["cluster"].clone();
    assert_eq!((&work()["scheduler"], &work()["engine_query_id"]), (&(&*scheduler).into(), &(&*job).into()));
    run.signal("KILL");
    assert_eq!(run.finish().code, None);

    // A bundle may come from anybody: what it says leads nowhere by itself.
    let said = sync(&checkout, "out", None, 2);
    let sentence =
        format!("job {job} of the scheduler {scheduler} may still be running: with --cluster {cluster}");
    assert!(said.contains(&sentence), "{said}");
    let said = sync(&checkout, "out", Some("ballista://127.0.0.1:9"), 2);
    assert!(said.contains(&sentence), "{said}");
    assert_eq!(ballista.jobs(), ["Running"]);
    assert_eq!(
        reported(&checkout),
        [format!("pairs: job {job} of the scheduler {scheduler} may still be running")]
    );

    let said = sync(&checkout, "out", Some(&cluster), 0);
    let sentence = format!("job {job} of the scheduler {scheduler} was still running, and is cancelled now");
    assert!(said.contains(&sentence), "{said}");
    assert_eq!(ballista.get("jobs")[0]["job_status"], "Failed: Cancelled");
    assert_eq!(work()["job_end"], "cancelled");
    assert_eq!(reported(&checkout), Vec::<String>::new());
    Daglight::new(&checkout, ["bundle", "verify", "out"]).finish().ended_with(0);

    // It has answered, and is not asked again.
    drop(ballista);
    let said = sync(&checkout, "out", Some(&cluster), 0);
    assert!(!said.contains("job"), "{said}");
}

/// What a run says at its end of a job that it could not cancel, and how it is found out what became of that. The scheduler is stopped, and is
/// not yet when this ends.
fn check_job_that_is_not_cancelled(checkout: &Checkout, ballista: &Ballista, job: &str, stderr: &str) {
    let cluster = ballista.cluster();
    let scheduler = cluster.replace("ballista://", "");
    let warning = format!("job {job} of the scheduler {scheduler} may still be running");
    for expected in [
        format!("waiting up to 5 s for {cluster} to confirm that jobs are cancelled"),
        format!("{warning}. To ask the scheduler, and cancel what runs: daglight sync "),
    ] {
        assert_eq!(stderr.matches(&expected).count(), 1, "{expected}: {stderr}");
    }
    let bundle = bundle(checkout);
    let pairs = || plan(&bundle, "pairs");
    let plan = pairs();
    let work = &plan["metrics"]["cluster"];
    assert_eq!((&work["job_open"], &work["job_end"]), (&true.into(), &Value::Null), "{work:#}");
    let stages = work["stages"].as_array().expect("stages");
    let tasks = stages.iter().flat_map(|stage| stage["tasks"].as_array().expect("tasks"));
    let outcomes: Vec<&Value> = tasks.map(|task| &task["outcome"]).collect();
    assert!(outcomes.contains(&&Value::Null) && !outcomes.contains(&&"cancelled".into()), "{outcomes:?}");
    assert_eq!(reported(checkout), [format!("pairs: {warning}")]);
    let said = sync(checkout, "out", None, 2);
    assert!(said.contains(&format!("{warning}: with --cluster {cluster}")), "{said}");

    ballista.scheduler.as_ref().expect("it runs").signal("CONT");
    let said = sync(checkout, "out", Some(&cluster), 0);
    // The scheduler may find the request of the client when it goes on.
    let ends = [
        ("was still running, and is cancelled now", "cancelled"),
        ("had failed, or was cancelled before", "failed"),
    ];
    let sentence = |end: &str| format!("job {job} of the scheduler {scheduler} {end}");
    let (_, end) =
        ends.iter().find(|(end, _)| said.contains(&sentence(end))).unwrap_or_else(|| panic!("{said}"));
    let work = pairs()["metrics"]["cluster"].clone();
    assert_eq!((&work["job_open"], &work["job_end"]), (&Value::Null, &(*end).into()), "{work:#}");
    assert_eq!(ballista.jobs().iter().filter(|status| *status == "Running").count(), 0);
    assert_eq!(reported(checkout), Vec::<String>::new());
    Daglight::new(checkout, ["bundle", "verify", "out"]).finish().ended_with(0);
    let said = sync(checkout, "out", None, 0);
    assert!(!said.contains("job"), "{said}");
}

/// Starts a run whose scheduler is stopped while tasks of its job run, and returns it with the id of the job.
fn run_with_stopped_scheduler(ballista: &Ballista, checkout: &Checkout) -> (Running, String) {
    let (run, _) = long_run(ballista, checkout, |run| run.env("DAGLIGHT_HEARTBEAT_SECONDS", "0.5"));
    let bundles = checkout.path().join("out/run_bundle");
    run.wait_until("its tasks in the file of the plan", || {
        let bundle = fs::read_dir(&bundles).into_iter().flatten().flatten().map(|entry| entry.path()).next();
        let plans = bundle.map(|bundle| plans(&bundle)).unwrap_or_default();
        plans.iter().any(|(_, plan)| plan["metrics"]["cluster"]["stages"].is_array())
    });
    let job = ballista.get("jobs")[0]["job_id"].as_str().expect("an id").to_owned();
    ballista.scheduler.as_ref().expect("it runs").signal("STOP");
    (run, job)
}

#[test]
fn a_job_that_could_not_be_cancelled_by_ctrl_c_is_named_and_cancelled_by_sync() {
    let checkout = Checkout::new();
    let ballista = Ballista::start(&checkout);
    let (run, job) = run_with_stopped_scheduler(&ballista, &checkout);
    run.signal("INT");
    let finished = run.finish_within(Duration::from_secs(120)).ended_with(130);
    check_job_that_is_not_cancelled(&checkout, &ballista, &job, &finished.stderr);
}

#[test]
fn a_job_whose_scheduler_does_not_answer_any_more_is_named_and_cancelled_by_sync() {
    let checkout = Checkout::new();
    let ballista = Ballista::start(&checkout);
    let (run, job) = run_with_stopped_scheduler(&ballista, &checkout);
    let finished = run.finish_within(Duration::from_secs(120)).ended_with(1);
    let scheduler = ballista.cluster().replace("ballista://", "");
    let lost = format!("lost the scheduler {scheduler} with job {job}: it has not answered for 10 s");
    assert!(finished.stderr.contains(&lost), "{}", finished.stderr);
    check_job_that_is_not_cancelled(&checkout, &ballista, &job, &finished.stderr);
}

/// Runs whose jobs stay in the queue, each with its bundle.
fn queued(checkout: &Checkout, ballista: &Ballista, count: usize) -> Vec<(Running, PathBuf)> {
    let query = "-- node: counted\nSELECT count(*) AS n FROM lineitem;\n";
    let file = script(checkout, &format!("{}{query}", tables()));
    let start = |number: usize| {
        let out = format!("runs/{number}");
        let run = Daglight::new(checkout, ["run"]).args([&file]).args(["--output-dir", &out]);
        let run = run.args(["--cluster", &ballista.cluster()]).start();
        let bundles = checkout.path().join(&out).join("run_bundle");
        let mut bundle = PathBuf::new();
        run.wait_until("its job", || {
            let mut entries = fs::read_dir(&bundles).into_iter().flatten().flatten();
            bundle = entries.next().map(|entry| entry.path()).unwrap_or_default();
            plans(&bundle).iter().any(|(_, plan)| !plan["metrics"]["cluster"]["engine_query_id"].is_null())
        });
        (run, bundle)
    };
    (0..count).map(start).collect()
}

/// The files of plans that a run has so far.
fn plans(bundle: &Path) -> Vec<(PathBuf, Value)> {
    let files = fs::read_dir(bundle.join("plans")).into_iter().flatten().flatten().map(|file| file.path());
    let plan = |file: PathBuf| Some((file.clone(), serde_json::from_slice(&fs::read(file).ok()?).ok()?));
    files.filter_map(plan).collect()
}

fn kill(run: Running) {
    run.signal("KILL");
    assert_eq!(run.finish().code, None);
}

#[test]
fn only_jobs_of_the_run_are_cancelled_and_a_scheduler_that_is_gone_is_asked_once() {
    let checkout = Checkout::new();
    let mut ballista = Ballista::without_executors(&checkout);
    let mut runs = queued(&checkout, &ballista, 3);
    let cluster = ballista.cluster();
    let scheduler = cluster.replace("ballista://", "");
    let of_job = |bundle: &Path| plan(bundle, "counted")["metrics"]["cluster"]["engine_query_id"].clone();
    let [first, other] = [&runs[0].1, &runs[1].1].map(|bundle| of_job(bundle));
    let (first, other) = (first.as_str().expect("an id"), other.as_str().expect("an id"));

    // The first run has another one's job in its bundle.
    let (run, bundle) = runs.remove(0);
    kill(run);
    // No task has read anything, or has said so.
    assert_eq!(plan(&bundle, "counted")["metrics"]["rows_read"], Value::Null);
    for (file, plan) in plans(&bundle) {
        fs::write(file, plan.to_string().replace(first, other)).expect("a plan");
    }
    let said = sync(&checkout, "runs/0", Some(&cluster), 0);
    for sentence in [
        format!("job {first} of the scheduler {scheduler} was still running, and is cancelled now"),
        format!("job {other} of the scheduler {scheduler} is not known there any more"),
    ] {
        assert!(said.contains(&sentence), "{said}");
    }
    let status = |ballista: &Ballista, id: &str| ballista.get(&format!("job/{id}"))["job_status"].clone();
    let open = status(&ballista, other);
    assert!(open == "Queued" || open == "Running", "{open}");

    // A run that goes on keeps its job.
    let said = sync(&checkout, "runs/1", Some(&cluster), 0);
    assert!(!said.contains("job"), "{said}");
    assert_eq!(status(&ballista, other), open);

    for (run, _) in runs {
        kill(run);
    }
    drop(ballista.scheduler.take());
    let said = sync(&checkout, "runs", Some(&cluster), 1);
    let error = format!("error: the scheduler {scheduler} of the cluster does not answer as one");
    assert_eq!(said.matches(&error).count(), 1, "{said}");
    assert_eq!(said.matches("not asked, the scheduler does not answer").count(), 1, "{said}");

    // It has forgotten them with its memory.
    ballista.start_scheduler(&checkout);
    let said = sync(&checkout, "runs", Some(&cluster), 0);
    assert_eq!(said.matches("is not known there any more").count(), 2, "{said}");
    let said = sync(&checkout, "runs", Some(&cluster), 0);
    assert!(!said.contains("job"), "{said}");
}

#[test]
fn a_job_is_found_by_its_id_where_the_scheduler_lists_none() {
    let checkout = Checkout::new();
    let ballista = Ballista::without_web_interface(&checkout);
    let (run, bundle) = queued(&checkout, &ballista, 1).remove(0);
    assert_eq!(ballista.get("jobs")["http_code"], 404);
    let job = plan(&bundle, "counted")["metrics"]["cluster"]["engine_query_id"].clone();
    kill(run);
    let said = sync(&checkout, "runs", Some(&ballista.cluster()), 0);
    let sentence = format!("job {} of the scheduler ", job.as_str().expect("an id"));
    assert!(said.contains(&sentence) && said.contains(" was still running, and is cancelled now"), "{said}");
}
