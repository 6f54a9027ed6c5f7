//! The object stores of one task: in what it is executed in, and in its plan.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use datafusion::{
    common::tree_node::{Transformed, TreeNode as _},
    datasource::{
        physical_plan::{
            ParquetSource,
            parquet::{CachedParquetFileReaderFactory, ParquetFileReaderFactory},
        },
        source::DataSourceExec,
    },
    error::Result,
    execution::{TaskContext, runtime_env::RuntimeEnv},
    physical_plan::ExecutionPlan,
};

/// The context with another runtime.
pub(super) fn with_runtime(context: Arc<TaskContext>, runtime: Arc<RuntimeEnv>) -> Arc<TaskContext> {
    let context = Arc::try_unwrap(context).unwrap_or_else(|context| {
        TaskContext::new(
            context.task_id(),
            context.session_id(),
            context.session_config().clone(),
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            context.runtime_env(),
        )
    });
    Arc::new(context.with_runtime(runtime))
}

/// The plan with scans of Parquet files that read through the stores of `runtime`, and know the metadata that its session has read.
/// Other operators take the stores of what they are executed in; these keep those of what they were decoded in.
pub(super) fn reading_through(
    plan: Arc<dyn ExecutionPlan>,
    runtime: &RuntimeEnv,
) -> Result<Arc<dyn ExecutionPlan>> {
    let rewired = plan.transform_up(|node| {
        let Some(scan) = node.downcast_ref::<DataSourceExec>() else { return Ok(Transformed::no(node)) };
        let Some((config, source)) = scan.downcast_to_file_source::<ParquetSource>() else {
            return Ok(Transformed::no(node));
        };
        if !source.parquet_file_reader_factory().is_some_and(|factory| is_of_datafusion(factory.as_ref())) {
            return Ok(Transformed::no(node));
        }
        let store = runtime.object_store(&config.object_store_url)?;
        let metadata = runtime.cache_manager.get_file_metadata_cache();
        let factory = Arc::new(CachedParquetFileReaderFactory::new(store, metadata));
        let mut config = config.clone();
        config.file_source = Arc::new(source.clone().with_parquet_file_reader_factory(factory));
        let scan: Arc<dyn ExecutionPlan> = Arc::new(scan.clone().with_data_source(Arc::new(config)));
        Ok(Transformed::yes(scan))
    })?;
    Ok(rewired.data)
}

/// Whether it is what DataFusion decodes. One of the program's own stays, which may decrypt, for example. The trait has no downcast, but
/// all factories have `Debug`.
fn is_of_datafusion(factory: &dyn ParquetFileReaderFactory) -> bool {
    let mut rest = StartsWith("CachedParquetFileReaderFactory {");
    // It ends with an error where the rest of the text, with all of a store, is of no interest.
    let _ = write!(rest, "{factory:?}");
    rest.0.is_empty()
}

/// What is to come at the beginning of a text, until it has come.
struct StartsWith(&'static str);

impl fmt::Write for StartsWith {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let count = text.len().min(self.0.len());
        match self.0.strip_prefix(text.get(..count).ok_or(fmt::Error)?) {
            Some(rest) if !rest.is_empty() => {
                self.0 = rest;
                Ok(())
            }
            rest => {
                self.0 = rest.unwrap_or(self.0);
                Err(fmt::Error)
            }
        }
    }
}
