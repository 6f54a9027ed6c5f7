//! Signals at any moment of a short run: it ends with the code that is documented, and with one JSON document.

use std::{fs, thread, time::Duration, time::Instant};

use daglight_system_tests::{Checkout, Daglight, Finished, Running};
use serde_json::Value;

use crate::endings::SIGNALS;

const SCRIPT: &str = "\
-- node: orders
CREATE TABLE orders AS SELECT value AS id, value % 7 AS slack FROM generate_series(1, 1000);
-- node: late
CREATE TABLE late AS SELECT * FROM orders WHERE slack < 2;
-- node: risk
SELECT count(*) AS risk FROM late a CROSS JOIN late b WHERE a.id + b.id > 5;
";

fn start(checkout: &Checkout) -> Running {
    Daglight::run(checkout, &checkout.pipeline("short.sql", SCRIPT)).start()
}

/// What is wrong with how it ended.
fn wrong(finished: &Finished, sent: &[(&str, i32)], has_bundle: bool) -> Option<String> {
    if finished.code.is_none() && finished.stdout.is_empty() && !has_bundle {
        // Before the program listens, the system ends it.
        return None;
    }
    let Ok(document) = serde_json::from_str::<Value>(&finished.stdout) else {
        return Some("it printed no single JSON document".to_owned());
    };
    let status = document["status"].as_str();
    let is_of = |signals: &[(&str, i32)]| signals.iter().any(|(_, code)| finished.code == Some(*code));
    let is_right = match status {
        // What was printed says that the work was done: signals have only ended the wait for servers.
        Some("success") => finished.code == Some(0),
        Some("interrupted") => is_of(sent),
        None => is_of(sent) && !has_bundle,
        Some(_) => false,
    };
    (!is_right).then(|| format!("exit code {:?} with the status {status:?}", finished.code))
}

#[test]
fn a_signal_at_any_moment_ends_with_its_code_and_one_document() {
    let checkout = Checkout::new();
    let begun = Instant::now();
    start(&checkout).finish().report(0);
    let life = begun.elapsed();
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..30 {
        let checkout = Checkout::new();
        let (first, apart) = (life.mul_f64(random.f64() * 1.2), Duration::from_millis(random.u64(0..150)));
        let any = |_| {
            let (signal, code, _) = SIGNALS[random.usize(0..SIGNALS.len())];
            (signal, code)
        };
        let sent: Vec<_> = (0..=number % 2).map(any).collect();
        let running = start(&checkout);
        thread::sleep(first);
        for (position, (signal, _)) in sent.iter().enumerate() {
            thread::sleep(if position == 0 { Duration::ZERO } else { apart });
            running.signal_if_it_runs(signal);
        }
        let finished = running.finish();
        let bundles = fs::read_dir(checkout.path().join("out/run_bundle"));
        let has_bundle = bundles.is_ok_and(|mut bundles| bundles.next().is_some());
        if let Some(wrong) = wrong(&finished, &sent, has_bundle) {
            panic!(
                "{wrong}: {sent:?} after {first:?}, {apart:?} apart (seed {seed}, run {number})\n{}\n{}",
                finished.stdout, finished.stderr
            );
        }
    }
}

#[test]
fn the_line_that_answers_a_signal_stands_before_the_last_ones() {
    let sql =
        "SELECT count(*) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b;\n";
    for _ in 0..5 {
        let checkout = Checkout::new();
        let pipeline = checkout.pipeline("endless.sql", sql);
        let arguments = ["run".as_ref(), pipeline.as_os_str(), "--output-dir".as_ref(), "out".as_ref()];
        let running = Daglight::new(&checkout, arguments).start();
        running.wait_until("a run", || checkout.path().join("out/run_bundle").exists());
        running.signal("INT");
        let finished = running.finish().ended_with(130);
        let place = |text: &str| finished.stderr.find(text);
        let (answer, last) = (place("interrupted, ending the run"), place("INTERRUPTED by"));
        assert!(answer.is_some() && answer < last, "{}", finished.stderr);
    }
}
