//! Tables whose files are chosen by a pattern, which a plan in bytes does not have.
//!
//! `CREATE EXTERNAL TABLE` makes of a folder of local files the pattern `*.parquet`, `*.csv` and so on. DataFusion's plans in bytes have the
//! folder and an extension, and all files that end with that are the same ones.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::Schema,
    common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    datasource::{
        TableProvider as _,
        listing::{ListingTable, ListingTableConfig, ListingTableUrl},
        physical_plan::FileScanConfig,
        provider_as_source,
        source::DataSourceExec,
        source_as_provider,
    },
    error::Result,
    logical_expr::{LogicalPlan, TableScan},
    physical_plan::ExecutionPlan,
};

/// The plan with an extension in place of each pattern that is one. `here` is the plan of this machine: if its files show that a pattern
/// chooses others, it stays.
pub(super) fn with_extensions(plan: &LogicalPlan, here: &Arc<dyn ExecutionPlan>) -> Result<LogicalPlan> {
    let replaced = plan.clone().transform_down_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let Ok(provider) = source_as_provider(&scan.source) else { return Ok(Transformed::no(node)) };
        let Some(table) = provider.downcast_ref::<ListingTable>() else { return Ok(Transformed::no(node)) };
        let Some(table) = with_extension(table, here)? else { return Ok(Transformed::no(node)) };
        let source = provider_as_source(Arc::new(table));
        Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan.clone() })))
    })?;
    Ok(replaced.data)
}

fn with_extension(table: &ListingTable, here: &Arc<dyn ExecutionPlan>) -> Result<Option<ListingTable>> {
    let (paths, options) = (table.table_paths(), table.options());
    let mut extensions = paths.iter().map(extension);
    let Some(first) = extensions.next().flatten() else { return Ok(None) };
    if !options.file_extension.is_empty()
        || extensions.any(|extension| extension.as_deref() != Some(&*first))
        || has_folder_like_a_file(here, paths, &first)?
    {
        return Ok(None);
    }
    let folders = paths.iter().map(|path| ListingTableUrl::try_new(path.get_url().clone(), None));
    let columns = table.schema();
    let is_of_files = |name: &str| options.table_partition_cols.iter().all(|(column, _)| column != name);
    let of_files: Vec<_> =
        columns.fields().iter().filter(|field| is_of_files(field.name())).cloned().collect();
    let config = ListingTableConfig::new_with_multi_paths(folders.collect::<Result<_>>()?)
        .with_listing_options(options.clone().with_file_extension(first))
        .with_schema(Arc::new(Schema::new_with_metadata(of_files, columns.metadata().clone())));
    ListingTable::try_new(config).map(Some)
}

/// The extension with its dot, if the pattern of a folder is that and nothing else.
fn extension(path: &ListingTableUrl) -> Option<String> {
    let extension = path.get_glob().as_ref()?.as_str().strip_prefix('*')?;
    let is_plain = extension.starts_with('.') && !extension.contains(['*', '?', '[', ']', '/']);
    (is_plain && path.is_collection()).then(|| extension.to_owned())
}

/// Whether a file is below a folder whose name ends as those of files do: the pattern chooses all that is in it.
fn has_folder_like_a_file(
    here: &Arc<dyn ExecutionPlan>,
    paths: &[ListingTableUrl],
    extension: &str,
) -> Result<bool> {
    let mut found = false;
    here.apply(|node| {
        let scan = node.downcast_ref::<DataSourceExec>();
        let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
        let mut files = files.iter().flat_map(|files| &files.file_groups).flat_map(|group| group.files());
        found |= files.any(|file| {
            paths.iter().filter_map(|path| path.strip_prefix(&file.object_meta.location)).any(|segments| {
                let segments: Vec<&str> = segments.collect();
                segments.iter().rev().skip(1).any(|folder| folder.ends_with(extension))
            })
        });
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use datafusion::prelude::SessionContext;

    use super::*;

    /// Whether the pattern of a table was replaced, with how many files it has before and after.
    async fn replaced(folder: &Path, table: &str) -> (bool, [usize; 2]) {
        let session = SessionContext::new();
        session.sql(&table.replace("DIR", folder.to_str().unwrap())).await.unwrap();
        let plan = session.sql("SELECT * FROM t").await.unwrap().into_optimized_plan().unwrap();
        let here = session.state().create_physical_plan(&plan).await.unwrap();
        let after = with_extensions(&plan, &here).unwrap();
        let patterns = |plan: &LogicalPlan| {
            let mut found = 0;
            plan.apply_with_subqueries(|node| {
                if let LogicalPlan::TableScan(scan) = node {
                    let provider = source_as_provider(&scan.source)?;
                    let table = provider.downcast_ref::<ListingTable>().unwrap();
                    found += table.table_paths().iter().filter(|path| path.get_glob().is_some()).count();
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .unwrap();
            found
        };
        assert_eq!(patterns(&plan), 1);
        let there = session.state().create_physical_plan(&after).await.unwrap();
        (patterns(&after) == 0, [here, there].map(|plan| files(&plan)))
    }

    fn files(plan: &Arc<dyn ExecutionPlan>) -> usize {
        let mut count = 0;
        plan.apply(|node| {
            let scan = node.downcast_ref::<DataSourceExec>();
            let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
            count += files
                .iter()
                .flat_map(|files| &files.file_groups)
                .map(|group| group.files().len())
                .sum::<usize>();
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        count
    }

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x\n1\n").unwrap();
        }
        folder
    }

    #[tokio::test]
    async fn the_pattern_of_a_folder_becomes_the_extension_of_the_same_files() {
        let csv =
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'DIR/' OPTIONS ('format.has_header' 'true')";
        let plain = folder(&["a.csv", "b.csv", "notes.txt", "old/c.csv"]);
        assert_eq!(replaced(plain.path(), csv).await, (true, [2, 2]));
        let pattern = csv.replace("DIR/", "DIR/*.csv");
        assert_eq!(replaced(plain.path(), &pattern).await, (true, [2, 2]));
        let below = folder(&["day=1/a.csv", "day=2/b.csv", "day=2/notes.txt"]);
        let partitioned = csv.replace("LOCATION", "PARTITIONED BY (day) LOCATION");
        assert_eq!(replaced(below.path(), &partitioned).await, (true, [2, 2]));
        // The table itself may be called like a file.
        let table = folder(&["t.csv/a.csv"]);
        assert_eq!(replaced(&table.path().join("t.csv"), csv).await, (true, [1, 1]));
    }

    #[tokio::test]
    async fn another_pattern_stays() {
        let csv = "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'DIR/a*.csv' OPTIONS ('format.has_header' 'true')";
        let plain = folder(&["a.csv", "ab.csv", "b.csv"]);
        assert_eq!(replaced(plain.path(), csv).await, (false, [2, 2]));
        // All that is below a folder that is called like a file is chosen.
        let like = folder(&["a.csv", "b.csv/x.csv"]);
        let csv = csv.replace("a*.csv", "");
        assert_eq!(replaced(like.path(), &csv).await, (false, [2, 2]));
    }
}
