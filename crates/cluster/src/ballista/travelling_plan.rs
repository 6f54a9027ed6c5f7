//! A plan as it goes to a scheduler, where nothing of it is lost on the way.

use std::{collections::HashMap, sync::Arc};

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::{
    catalog::Session,
    common::{config::ConfigFileType, config::TableParquetOptions, exec_err, tree_node::TreeNodeRecursion},
    config::TableOptions,
    datasource::{
        MemTable,
        file_format::{file_type_to_format, format_as_file_type, parquet::ParquetFormatFactory},
        listing::ListingTable,
        source_as_provider,
    },
    error::Result,
    execution::{SessionStateBuilder, TaskContext},
    logical_expr::{LogicalPlan, TableSource, dml::CopyTo},
    physical_plan::ExecutionPlan,
};
use datafusion_proto::bytes::{
    logical_plan_from_bytes_with_extension_codec, logical_plan_to_bytes_with_extension_codec,
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};

use super::table_patterns::with_extensions;

/// The plan in bytes, or why it cannot be a job. `here` is what it is planned to be without a scheduler.
pub(super) fn encoded(
    plan: &LogicalPlan,
    here: &Arc<dyn ExecutionPlan>,
    session: &dyn Session,
) -> std::result::Result<Vec<u8>, String> {
    let short = |error: datafusion::error::DataFusionError| first_line(&error.to_string()).to_owned();
    if let Some(why) = why_on_client(plan).map_err(short)? {
        return Err(why.to_owned());
    }
    let plan = match plan {
        LogicalPlan::Copy(copy) => LogicalPlan::Copy(with_its_options(copy, session).map_err(short)?),
        plan => plan.clone(),
    };
    let plan = with_extensions(&plan, here).map_err(short)?;
    // Of the functions that Ballista has by itself; those of the session may be more.
    let other =
        SessionStateBuilder::new_with_default_features().with_config(session.config().clone()).build();
    let context = other.task_ctx();
    let bytes = as_scheduler_reads_it(&plan, &context)
        .map_err(|error| format!("the scheduler could not read its plan: {}", short(error)))?;
    as_executors_read_it(here, &context)
        .map_err(|error| format!("an executor could not read its plan: {}", short(error)))?;
    Ok(bytes)
}

/// Why a plan has to run here, whatever the scheduler can read.
fn why_on_client(plan: &LogicalPlan) -> Result<Option<&'static str>> {
    match plan {
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => return Ok(Some("it explains a plan")),
        LogicalPlan::Dml(_) => return Ok(Some("it writes to a table of the client")),
        _ => {}
    }
    let (mut files, mut in_memory, mut others, mut is_recursive) = (false, false, false, false);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => match source_as_provider(&scan.source) {
                Ok(table) if table.is::<ListingTable>() => files = true,
                Ok(table) if table.is::<MemTable>() => in_memory = true,
                Ok(_) | Err(_) => others = true,
            },
            LogicalPlan::RecursiveQuery(_) => is_recursive = true,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(match (is_recursive, in_memory, others, files) {
        (true, ..) => Some("it is recursive"),
        (_, true, ..) => Some("it reads a table in the memory of the client"),
        (_, _, true, _) => Some("it reads a table that only the client has"),
        (.., false) => Some("it reads no files"),
        (.., true) => None,
    })
}

/// The options of a `COPY` go along only as those of its format, and only for Parquet all of them.
fn with_its_options(copy: &CopyTo, session: &dyn Session) -> Result<CopyTo> {
    let format = file_type_to_format(&copy.file_type)?;
    let Some(parquet) = format.downcast_ref::<ParquetFormatFactory>() else {
        return exec_err!("of what it writes, only Parquet files are written alike by executors");
    };
    if copy.options.keys().any(|name| !name.starts_with("format.")) {
        return exec_err!("it has an option that is not one of the format");
    }
    let options = match &parquet.options {
        None => {
            let mut options: TableOptions = session.default_table_options();
            options.set_config_format(ConfigFileType::PARQUET);
            options.alter_with_string_hash_map(&copy.options)?;
            options.parquet
        }
        Some(_) if !copy.options.is_empty() => return exec_err!("it has options of two origins"),
        Some(options) => options.clone(),
    };
    let file_type = format_as_file_type(Arc::new(ParquetFormatFactory::new_with_options(options)));
    Ok(CopyTo { file_type, options: HashMap::new(), ..copy.clone() })
}

/// The plan in bytes, if the same comes out of them.
fn as_scheduler_reads_it(plan: &LogicalPlan, context: &TaskContext) -> Result<Vec<u8>> {
    let codec = BallistaLogicalExtensionCodec::default();
    let bytes = logical_plan_to_bytes_with_extension_codec(plan, &codec)?;
    let read = logical_plan_from_bytes_with_extension_codec(&bytes, context, &codec)?;
    if read.schema().as_arrow() != plan.schema().as_arrow() {
        return exec_err!("it would have other columns");
    }
    let (before, after) = (scanned(plan)?, scanned(&read)?);
    if before.len() != after.len() {
        return exec_err!("it would read other tables");
    }
    if let Some(what) = before.iter().zip(&after).find_map(|(a, b)| what_differs(a, b)) {
        return exec_err!("it would read a table with {what}");
    }
    if parquet_options(plan) != parquet_options(&read) {
        return exec_err!("it would write with other options");
    }
    Ok(bytes.to_vec())
}

fn scanned(plan: &LogicalPlan) -> Result<Vec<Arc<dyn TableSource>>> {
    let mut scanned = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            scanned.push(Arc::clone(&scan.source));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(scanned)
}

/// What differs between two tables of files; `None` where the same files are read alike.
fn what_differs(a: &Arc<dyn TableSource>, b: &Arc<dyn TableSource>) -> Option<&'static str> {
    let (Ok(a), Ok(b)) = (source_as_provider(a), source_as_provider(b)) else { return Some("other rows") };
    let (a, b) = (a.downcast_ref::<ListingTable>(), b.downcast_ref::<ListingTable>());
    let (Some(a), Some(b)) = (a, b) else { return Some("other rows") };
    let files = |table: &ListingTable| {
        let urls = table.table_paths().iter();
        urls.map(|url| (url.as_str().to_owned(), url.get_glob().as_ref().map(ToString::to_string)))
            .collect::<Vec<_>>()
    };
    let (of_a, of_b) = (a.options(), b.options());
    // A format shows all of its options, and cannot be compared otherwise.
    let formats = [of_a, of_b].map(|options| format!("{:?}", options.format));
    let differences = [
        (
            "other files, which a pattern chooses",
            files(a) != files(b) || of_a.file_extension != of_b.file_extension,
        ),
        ("other options", formats[0] != formats[1]),
        ("other partitions", of_a.table_partition_cols != of_b.table_partition_cols),
        ("another order", of_a.file_sort_order != of_b.file_sort_order),
    ];
    differences.into_iter().find_map(|(what, differs)| differs.then_some(what))
}

fn parquet_options(plan: &LogicalPlan) -> Option<TableParquetOptions> {
    let LogicalPlan::Copy(copy) = plan else { return None };
    file_type_to_format(&copy.file_type).ok()?.downcast_ref::<ParquetFormatFactory>()?.options.clone()
}

/// Whether executors can be sent what the scheduler is likely to plan.
fn as_executors_read_it(plan: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<()> {
    let codec = BallistaPhysicalExtensionCodec::default();
    let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(plan), &codec)?;
    physical_plan_from_bytes_with_extension_codec(&bytes, context, &codec)?;
    Ok(())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
