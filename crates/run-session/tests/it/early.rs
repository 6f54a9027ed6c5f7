//! What is there of a run from its first moment on.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use daglight_capture_policy::Profile;
use daglight_run_bundle::{Liveness, ProcessEvidence};
use daglight_run_session::RunOptions;
use tracing::{Event, Metadata, Subscriber, span};

use crate::{dag, telemetry};

/// Looks for the process of the run when the run is first announced, before it beats.
#[derive(Debug, Clone)]
struct Look {
    out: PathBuf,
    found: Arc<Mutex<Option<Option<Liveness>>>>,
}

impl Subscriber for Look {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("daglight")
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, _event: &Event<'_>) {
        let Some(Ok(entry)) = fs::read_dir(self.out.join("run_bundle")).unwrap().next() else { return };
        let evidence = ProcessEvidence::read(&entry.path().join("heartbeat.json")).ok();
        let liveness = evidence.as_ref().map(ProcessEvidence::is_alive);
        self.found.lock().unwrap().get_or_insert(liveness);
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

#[tokio::test]
async fn the_process_of_a_run_is_known_before_its_first_beat() {
    let out = tempfile::tempdir().unwrap();
    let telemetry = telemetry(out.path(), Profile::Dev);
    let look = Look { out: out.path().to_owned(), found: Arc::default() };
    let guard = tracing::subscriber::set_default(look.clone());
    let run = telemetry.start_run(&dag(), RunOptions::new());
    drop(guard);
    assert_eq!(*look.found.lock().unwrap(), Some(Some(Liveness::Alive)));
    run.finish().await;
}
