//! What a scan reads, as far as its plan says.

use datafusion::{
    config::ConfigOptions,
    datasource::{memory::MemorySourceConfig, physical_plan::FileScanConfig, source::DataSourceExec},
    physical_plan::ExecutionPlan,
};

/// What a scan reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanFacts {
    /// `parquet`, `csv`, `memory`, ...
    pub format: Option<String>,
    /// The URL of its file, or of the folder that holds all of its files.
    pub location: Option<String>,
    /// Files that it reads.
    pub files: Option<u64>,
    /// The size of these files, each once.
    pub bytes: Option<u64>,
    /// Whether its partitions take files, or ranges of them, from one queue.
    pub shares_files: bool,
}

impl ScanFacts {
    pub(crate) fn of(scan: &dyn ExecutionPlan, options: &ConfigOptions) -> Self {
        let Some(source) = scan.downcast_ref::<DataSourceExec>() else { return Self::default() };
        if source.data_source().downcast_ref::<MemorySourceConfig>().is_some() {
            return Self { format: Some("memory".to_owned()), ..Self::default() };
        }
        let Some(files) = source.data_source().downcast_ref::<FileScanConfig>() else {
            return Self::default();
        };
        let format = Some(files.file_source().file_type().to_owned());
        // A large file is read in parts, by several partitions.
        let mut paths: Vec<(&str, u64)> = files
            .file_groups
            .iter()
            .flat_map(|group| group.iter())
            .map(|file| (file.object_meta.location.as_ref(), file.object_meta.size))
            .collect();
        paths.sort_unstable();
        paths.dedup();
        let location = match &paths[..] {
            [] => None,
            [(only, _)] => Some((*only).to_owned()),
            [(first, _), .., (last, _)] => Some(common_folder(first, last)),
        };
        let url = files.object_store_url.as_str();
        Self {
            format,
            location: location.map(|path| format!("{}/{path}", url.trim_end_matches('/'))),
            files: Some(paths.len() as u64),
            bytes: Some(paths.iter().map(|(_, size)| size).sum()),
            // As `FileScanConfig::create_sibling_state` decides, which copies the list of files to do so.
            shares_files: options.execution.enable_file_stream_work_stealing
                && !files.preserve_order
                && files.output_partitioning.is_none(),
        }
    }
}

/// The folder that holds the first and the last of sorted paths, and so all between them.
fn common_folder(first: &str, last: &str) -> String {
    let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    let folder = first.as_bytes()[..same].iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    first[..folder].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_folder_in_common() {
        let check = |first, last, expected| assert_eq!(common_folder(first, last), expected);
        check("data/a/1.csv", "data/a/2.csv", "data/a/");
        check("data/day=1/x.csv", "data/day=12/x.csv", "data/");
        check("a.csv", "b.csv", "");
        check("größe/ä.csv", "größe/ö.csv", "größe/");
    }
}
