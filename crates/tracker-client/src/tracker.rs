//! An outbox combined with its delivery.

#![expect(clippy::disallowed_methods, reason = "an event has the time at which it is recorded")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use daglight_capture_policy::in_one_line;
use daglight_run_bundle::{
    DeliveryCounts, Durability, WarningCode, clock,
    outbox::{Attribute, Event, Outbox, Outcome, RunLink},
};
use daglight_run_identity::{Dag, DagName, RunId};

use crate::{connection::Connection, delivery::Delivery};

/// Records a run in its bundle, and delivers it if there is a connection. Nothing here fails, and nothing waits except
/// [`Tracker::flush`].
///
/// ```
/// use std::{collections::BTreeMap, time::Duration};
///
/// use daglight_run_bundle::Durability;
/// use daglight_run_identity::{Dag, RunId};
/// use daglight_tracker_client::{Outcome, Tracker};
///
/// let bundle = tempfile::tempdir()?;
/// let dag = Dag::builder("sales::orders_v1")?.loader("orders").build()?;
///
/// let tracker = Tracker::start(&bundle.path().join("tracker"), Durability::Process, None);
/// tracker.run_started(&dag, RunId::new(), BTreeMap::new());
/// tracker.task_started("orders");
/// tracker.task_finished("orders", Outcome::Success, Vec::new());
/// tracker.run_finished(Outcome::Success);
///
/// let ledger = tracker.flush(Duration::from_secs(10));
/// assert_eq!((ledger.produced, ledger.waiting), (5, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tracker {
    outbox: Outbox,
    delivery: Option<Delivery>,
}

impl Tracker {
    /// Opens the outbox of a `tracker` folder, and starts its delivery. If the folder cannot be written, the run goes on without
    /// being recorded: there is one warning, and all its events count as dropped.
    pub fn start(tracker_dir: &Path, durability: Durability, connection: Option<Connection>) -> Self {
        match Outbox::open(tracker_dir, durability) {
            Ok(outbox) => {
                outbox.keep_reserve();
                let delivery = connection.map(|connection| Delivery::start(&outbox, connection));
                Self { outbox, delivery }
            }
            Err(error) => {
                tracing::warn!(
                    warning.code = WarningCode::of_error(&error, WarningCode::BundleIncomplete).name(),
                    error = in_one_line(&error),
                    "this run is not recorded for the tracking server"
                );
                Self { outbox: Outbox::discarding(tracker_dir), delivery: None }
            }
        }
    }

    /// Records that a run of `dag` starts now.
    pub fn run_started(&self, dag: &Dag, run_id: RunId, tags: BTreeMap<String, String>) {
        let time = clock::utc_now();
        self.record(&Event::version(dag, BTreeMap::new()));
        self.record(&Event::RunStarted { run_id, tags, inputs: BTreeMap::new(), time });
    }

    /// Records that a run starts now whose pipeline is discovered while it runs: [`Event::NodeSeen`] describes its nodes. Nothing
    /// is delivered before the run has ended.
    pub fn observed_run_started(&self, dag_name: &DagName, run_id: RunId, tags: BTreeMap<String, String>) {
        let time = clock::utc_now();
        self.record(&Event::Observed { dag_name: dag_name.to_string() });
        self.record(&Event::RunStarted { run_id, tags, inputs: BTreeMap::new(), time });
    }

    /// Records that a node starts now.
    pub fn task_started(&self, node: &str) {
        self.record(&Event::TaskStarted { node: node.to_owned(), time: clock::utc_now() });
    }

    /// Records that a node ends now.
    pub fn task_finished(&self, node: &str, status: Outcome, attributes: Vec<Attribute>) {
        self.record(&Event::TaskFinished {
            node: node.to_owned(),
            time: clock::utc_now(),
            status,
            attributes,
        });
    }

    /// Records additional tags of the run, or new values of existing tags.
    pub fn tags_upserted(&self, tags: BTreeMap<String, String>) {
        self.record(&Event::TagsUpserted { tags, time: clock::utc_now() });
    }

    /// Records that the run ends now.
    pub fn run_finished(&self, status: Outcome) {
        self.record(&Event::RunFinished { status, time: clock::utc_now() });
    }

    /// Records any event.
    pub fn record(&self, event: &Event) {
        record(&self.outbox, event);
    }

    /// Like [`Outbox::warned`].
    pub fn warned(&self) -> Arc<AtomicBool> {
        self.outbox.warned()
    }

    /// The delivery, if there is a connection.
    pub fn delivery(&self) -> Option<&Delivery> {
        self.delivery.as_ref()
    }

    /// The run on the server, once it is known.
    pub fn link(&self) -> Option<RunLink> {
        self.delivery.as_ref().and_then(Delivery::link)
    }

    /// The current counts. Without a connection everything is waiting.
    pub fn ledger(&self) -> DeliveryCounts {
        match &self.delivery {
            Some(delivery) => delivery.ledger(),
            None => self.outbox.ledger(),
        }
    }

    /// Like [`Delivery::flush`]. Without a connection it returns at once.
    pub fn flush(&self, timeout: Duration) -> DeliveryCounts {
        match &self.delivery {
            Some(delivery) => delivery.flush(timeout),
            None => self.final_ledger(),
        }
    }

    /// Like [`Delivery::stop`].
    pub fn stop(&self) {
        if let Some(delivery) = &self.delivery {
            delivery.stop();
        }
    }

    /// Like [`Delivery::flush_async`]. Without a connection it returns at once.
    pub async fn flush_async(&self, timeout: Duration) -> DeliveryCounts {
        match &self.delivery {
            Some(delivery) => delivery.flush_async(timeout).await,
            None => self.final_ledger(),
        }
    }

    fn final_ledger(&self) -> DeliveryCounts {
        self.outbox.write_or_drop();
        self.outbox.ledger()
    }
}

/// Records an event. Failures to write cause one warning per outbox, whoever writes it.
pub(crate) fn record(outbox: &Outbox, event: &Event) {
    if let Err(problem) = outbox.append(event) {
        let (path, cause) = problem.cause();
        tracing::warn!(
            warning.code = WarningCode::of_error(cause, WarningCode::BundleIncomplete).name(),
            path = %path.display(),
            error = cause as &dyn std::error::Error,
            "{problem}"
        );
    }
}
