//! TPC-H tables as Parquet files.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result};
use arrow::record_batch::RecordBatchReader;
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};
use tempfile::TempDir;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

/// Writes the eight tables into `folder`, one file each, and reports the name and rows of each to `progress`. The folder
/// appears when all of them are complete, in the place of one that was there.
///
/// # Errors
/// When a file cannot be written.
pub fn generate_tpch(folder: &Path, scale_factor: f64, mut progress: impl FnMut(&str, usize)) -> Result<()> {
    let parent = folder.parent().context("the folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let unfinished = TempDir::with_prefix_in(".tpch-", parent).context("making a folder to write into")?;
    let tables: [(&str, Box<dyn RecordBatchReader>); 8] = [
        ("region", Box::new(RegionArrow::new(RegionGenerator::new(scale_factor, 1, 1)))),
        ("nation", Box::new(NationArrow::new(NationGenerator::new(scale_factor, 1, 1)))),
        ("supplier", Box::new(SupplierArrow::new(SupplierGenerator::new(scale_factor, 1, 1)))),
        ("customer", Box::new(CustomerArrow::new(CustomerGenerator::new(scale_factor, 1, 1)))),
        ("part", Box::new(PartArrow::new(PartGenerator::new(scale_factor, 1, 1)))),
        ("partsupp", Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale_factor, 1, 1)))),
        ("orders", Box::new(OrderArrow::new(OrderGenerator::new(scale_factor, 1, 1)))),
        ("lineitem", Box::new(LineItemArrow::new(LineItemGenerator::new(scale_factor, 1, 1)))),
    ];
    for (name, table) in tables {
        let rows = write(table, &unfinished.path().join(format!("{name}.parquet")))
            .with_context(|| format!("writing the table {name}"))?;
        progress(name, rows);
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::rename(unfinished.keep(), folder)
        .with_context(|| format!("putting {} into its place", folder.display()))
}

fn write(table: Box<dyn RecordBatchReader>, path: &Path) -> Result<usize> {
    // A row group is read by one partition: with the default of a million rows, small tables would have work for one alone.
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(100_000))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, table.schema(), Some(properties))?;
    let mut rows = 0;
    for batch in table {
        let batch = batch?;
        rows += batch.num_rows();
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(rows)
}

/// The tables at scale factor 0.01, generated once in a process. The folder is found again by later ones.
///
/// # Panics
/// When it cannot be generated.
pub fn tpch_data() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = crate::scratch::scratch().join("tpch-0.01");
        if !folder.exists() {
            generate_tpch(&folder, 0.01, |_, _| ()).unwrap_or_else(|error| panic!("TPC-H data: {error:#}"));
        }
        folder
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eight_tables_are_written_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tpch");
        for _ in 0..2 {
            let mut rows = Vec::new();
            generate_tpch(&folder, 0.001, |name, count| rows.push((name.to_owned(), count))).unwrap();
            assert_eq!(rows[1], ("nation".to_owned(), 25));
            assert_eq!(rows[7].0, "lineitem");
            assert!(rows[7].1 > 5_000, "{rows:?}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 8);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
