//! A heart whose thread is held: whoever watches the run says so, and its report does.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use daglight_bundle_report::{Report, ReportOptions};
use daglight_capture_policy::Profile;
use daglight_run_bundle::Bundle;
use daglight_run_session::{RunOptions, RunStatus, WarningCode};
use datafusion::{
    error::Result,
    execution::{
        SessionStateBuilder,
        memory_pool::{GreedyMemoryPool, MemoryLimit, MemoryPool, MemoryReservation},
        runtime_env::RuntimeEnvBuilder,
    },
};

use crate::{dag, telemetry};

/// A pool of a program's own that does not say what is reserved while it is held.
#[derive(Debug)]
struct Silent {
    pool: GreedyMemoryPool,
    is_held: Arc<AtomicBool>,
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("silent")
    }
}

impl MemoryPool for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    fn grow(&self, reservation: &MemoryReservation, bytes: usize) {
        self.pool.grow(reservation, bytes);
    }

    fn shrink(&self, reservation: &MemoryReservation, bytes: usize) {
        self.pool.shrink(reservation, bytes);
    }

    fn try_grow(&self, reservation: &MemoryReservation, bytes: usize) -> Result<()> {
        self.pool.try_grow(reservation, bytes)
    }

    fn reserved(&self) -> usize {
        while self.is_held.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(5));
        }
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool.memory_limit()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_heartbeat_is_reported_once_and_in_the_report() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let is_held = Arc::new(AtomicBool::new(false));
    let pool = Silent { pool: GreedyMemoryPool::new(1 << 30), is_held: Arc::clone(&is_held) };
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc().unwrap();
    let _ctx = telemetry.session(SessionStateBuilder::new_with_default_features().with_runtime_env(runtime));
    let run = telemetry.start_run(&dag(), RunOptions::default());
    let watch = run.watch();
    assert_eq!(watch.silence(), None);
    is_held.store(true, Ordering::Release);
    let asked = Instant::now();
    let warning = loop {
        if let Some(warning) = watch.silence() {
            break warning;
        }
        assert!(asked.elapsed() < Duration::from_secs(60), "nobody sees that the heart is silent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(warning.starts_with("the heartbeat has been silent for "), "{warning}");
    assert_eq!(watch.silence(), None, "it is said once");
    // The run goes on beside it, and a report that is made now says the same.
    assert!(watch.progress().is_some_and(|progress| !progress.is_moving));
    let bundle = Bundle::open(run.bundle_dir().unwrap()).unwrap();
    let live = Report::made(&bundle, &ReportOptions::default(), |_| ()).unwrap();
    let said =
        live.findings.iter().any(|finding| finding.summary.contains("The heartbeat has been silent for"));
    assert!(said, "{:#?}", live.findings);

    is_held.store(false, Ordering::Release);
    let report = run.finish().await;
    let silent =
        report.warnings.iter().filter(|warning| warning.code == WarningCode::HeartbeatSilent).count();
    assert_eq!((report.status, silent), (RunStatus::Success, 1), "{:?}", report.warnings);
}
