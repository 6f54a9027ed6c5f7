//! A DataFusion session with the tables of bundles.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use daglight::bundle::Bundle;
use daglight_bundle_tables::{BundleTable, Damage};
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::streaming::StreamingTable,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchReceiverStreamBuilder, streaming::PartitionStream},
    prelude::{SessionConfig, SessionContext},
};

/// The number of batches that a thread reads ahead.
const READ_AHEAD: usize = 2;

/// A session, and the damage that its queries have found.
pub(crate) struct BundleSession {
    pub(crate) context: SessionContext,
    damages: Damages,
}

type Damages = Arc<Mutex<BTreeSet<Damage>>>;

impl BundleSession {
    /// Creates a session for these bundles. Their files are read when a query needs them.
    pub(crate) fn new(bundles: &[Bundle]) -> Result<Self, DataFusionError> {
        let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
        let damages = Damages::default();
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let shares = bundles.chunks(bundles.len().div_ceil(threads).max(1));
        for table in BundleTable::ALL {
            let partition = |share: &[Bundle]| {
                let damages = Arc::clone(&damages);
                Arc::new(Share { table, schema: table.schema(), bundles: share.into(), damages }) as _
            };
            let mut partitions: Vec<Arc<dyn PartitionStream>> = shares.clone().map(partition).collect();
            if partitions.is_empty() {
                partitions.push(partition(&[]));
            }
            let provider = StreamingTable::try_new(table.schema(), partitions)?;
            context.register_table(table.name(), Arc::new(provider))?;
        }
        Ok(Self { context, damages })
    }

    /// What could not be read so far, without duplicates.
    pub(crate) fn damages(&self) -> BTreeSet<Damage> {
        self.damages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The table of some of the bundles, one after the other.
#[derive(Debug)]
struct Share {
    table: BundleTable,
    schema: SchemaRef,
    bundles: Arc<[Bundle]>,
    damages: Damages,
}

impl PartitionStream for Share {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), READ_AHEAD);
        let (sender, table) = (stream.tx(), self.table);
        let (bundles, damages) = (Arc::clone(&self.bundles), Arc::clone(&self.damages));
        stream.spawn_blocking(move || {
            let mut is_wanted = true;
            for bundle in bundles.iter() {
                let found = table.read(bundle, |batch| {
                    is_wanted = sender.blocking_send(Ok(batch)).is_ok();
                    is_wanted
                });
                let found = found.map_err(|error| DataFusionError::External(error.into()))?;
                damages.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                if !is_wanted {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}
