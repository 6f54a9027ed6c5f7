//! The existing files at the location of an output.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use datafusion::{
    datasource::{
        listing::ListingTableUrl,
        physical_plan::{FileGroup, FileScanConfig},
        source::DataSourceExec,
    },
    error::Result,
    object_store::{self, ObjectMeta, ObjectStore, ObjectStoreExt as _, path::Path},
    physical_plan::ExecutionPlan,
    prelude::SessionContext,
};
use futures::TryStreamExt;

/// The files at a location, as the object store of a session lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredFiles {
    files: BTreeMap<Path, File>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    bytes: u64,
    modified: DateTime<Utc>,
}

impl StoredFiles {
    /// Lists a file, a pattern, or a folder, as a table at this location would read them: with the folders of partitions, and without
    /// other subfolders unless the session reads those. Empty if nothing exists there.
    ///
    /// # Errors
    /// When the location is not a path or URL, the session does not know its object store, or the store does not respond.
    pub async fn at(session: &SessionContext, location: &str) -> Result<Self> {
        let url = ListingTableUrl::parse(location)?;
        let store = session.runtime_env().object_store(url.object_store())?;
        if !url.is_collection() && url.get_glob().is_none() {
            match store.head(url.prefix()).await {
                Ok(file) => return Ok(Self::of([file])),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let skips_folders =
            session.state_ref().read().config_options().execution.listing_table_ignore_subdirectory;
        let listed = match skips_folders && url.get_glob().is_none() {
            true => partitions_below(&*store, url.prefix()).await?,
            false => store.list(Some(url.prefix())).try_collect().await?,
        };
        Ok(Self::of(listed.into_iter().filter(|file| url.contains(&file.location, skips_folders))))
    }

    /// The files that a planned scan reads, each once: as the engine has listed them, using the pattern of the location, the
    /// extension of the format, and its rules for hidden files and subfolders.
    pub(crate) fn read_by(scan: &dyn ExecutionPlan) -> Self {
        let files =
            file_scan(scan).into_iter().flat_map(|scan| scan.file_groups.iter().flat_map(FileGroup::iter));
        Self::of(files.map(|file| file.object_meta.clone()))
    }

    fn of(files: impl IntoIterator<Item = ObjectMeta>) -> Self {
        let entry =
            |file: ObjectMeta| (file.location, File { bytes: file.size, modified: file.last_modified });
        Self { files: files.into_iter().map(entry).collect() }
    }

    /// The number of files.
    pub fn count(&self) -> u64 {
        self.files.len() as u64
    }

    /// Their total size.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }

    /// Those that did not exist, or differed, when `earlier` was listed.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        self.files.retain(|path, file| earlier.files.get(path) != Some(file));
        self
    }

    /// Those beside `written` with the same extension as one of these: a reader of the folder takes them for the same data.
    #[must_use]
    pub fn beside(mut self, written: &Self) -> Self {
        let extensions: BTreeSet<Option<&str>> = written.paths().map(Path::extension).collect();
        self.files
            .retain(|path, _| !written.files.contains_key(path) && extensions.contains(&path.extension()));
        self
    }

    /// Those for whose path `keep` returns true.
    #[must_use]
    pub(crate) fn filter(mut self, keep: impl Fn(&Path) -> bool) -> Self {
        self.files.retain(|path, _| keep(path));
        self
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys()
    }
}

/// The files in a folder and in the folders of its partitions. Other subfolders are not opened: they may be large, and what is in
/// them may change while they are listed, such as the bundle of the run.
async fn partitions_below(store: &dyn ObjectStore, folder: &Path) -> Result<Vec<ObjectMeta>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        let listed = store.list_with_delimiter(Some(&folder)).await?;
        files.extend(listed.objects);
        let is_partition = |folder: &Path| folder.filename().is_some_and(|name| name.contains('='));
        folders.extend(listed.common_prefixes.into_iter().filter(is_partition));
    }
    Ok(files)
}

/// The file scan of a plan, if it is the scan of a table of files.
pub(crate) fn file_scan(scan: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    scan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use datafusion::prelude::CsvReadOptions;

    use super::*;

    #[tokio::test]
    async fn files_folders_and_patterns_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path).display().to_string();
        fs::create_dir(at("part=1")).unwrap();
        fs::write(at("a.csv"), "12345").unwrap();
        fs::write(at("part=1/b.csv"), "123").unwrap();
        let session = SessionContext::new();
        let found = async |location: String| {
            let files = StoredFiles::at(&session, &location).await.unwrap();
            (files.count(), files.bytes())
        };
        assert_eq!(found(at("")).await, (2, 8));
        assert_eq!(found(format!("file://{}", at(""))).await, (2, 8));
        assert_eq!(found(at("a.csv")).await, (1, 5));
        assert_eq!(found(at("a*.csv")).await, (1, 5));
        assert_eq!(found(at("none")).await, (0, 0));
        assert!(StoredFiles::at(&session, "s3://bucket/key").await.is_err());
    }

    #[tokio::test]
    async fn what_a_write_adds_is_distinguished_from_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let location = dir.path().display().to_string();
        let session = SessionContext::new();
        fs::write(dir.path().join("old"), "1").unwrap();
        fs::write(dir.path().join("replaced"), "1").unwrap();
        let earlier = StoredFiles::at(&session, &location).await.unwrap();
        fs::write(dir.path().join("replaced"), "22").unwrap();
        fs::write(dir.path().join("new"), "333").unwrap();
        let added = StoredFiles::at(&session, &location).await.unwrap().since(&earlier);
        assert_eq!((added.count(), added.bytes()), (2, 5));
        let now = StoredFiles::at(&session, &location).await.unwrap();
        assert_eq!(now.clone().beside(&added).count(), 1);
        fs::write(dir.path().join("x.csv"), "").unwrap();
        let other = StoredFiles::at(&session, &location).await.unwrap().since(&now);
        assert_eq!((other.count(), now.beside(&other).count()), (1, 0));
    }
    #[tokio::test]
    async fn a_folder_is_listed_as_a_table_of_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["p=1/q=2", "p=1/other", "out/run_bundle/q=3", ".hidden"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let read = ["a.csv", "p=1/q=2/b.csv"];
        let not_read = ["p=1/other/c.csv", "out/d.csv", "out/run_bundle/q=3/e.csv", ".hidden/f.csv"];
        for file in read.iter().chain(&not_read) {
            fs::write(dir.path().join(file), "x\n1").unwrap();
        }
        let location = format!("{}/", dir.path().display());
        let found = async |session: &SessionContext| {
            let files = StoredFiles::at(session, &location).await.unwrap();
            (files.count(), StoredFiles::at(session, &format!("{location}*.csv")).await.unwrap().count())
        };
        let session = SessionContext::new();
        assert_eq!(found(&session).await, (2, 2));
        let set = "SET datafusion.execution.listing_table_ignore_subdirectory = false";
        session.sql(set).await.unwrap();
        assert_eq!(found(&session).await.0, 6);
        // The engine reads as many.
        for (file, is_read) in
            read.iter().map(|file| (file, true)).chain(not_read.iter().map(|file| (file, false)))
        {
            let only = tempfile::tempdir().unwrap();
            let path = only.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x\n1").unwrap();
            // Without any file to read, the engine refuses the folder.
            fs::write(only.path().join("top.csv"), "x\n1").unwrap();
            let expected = 1 + usize::from(is_read);
            let location = format!("{}/", only.path().display());
            let session = SessionContext::new();
            let files = StoredFiles::at(&session, &location).await.unwrap();
            assert_eq!(files.count(), expected as u64, "{file}");
            let rows =
                session.read_csv(&location, CsvReadOptions::new()).await.unwrap().count().await.unwrap();
            assert_eq!(rows, expected, "{file}");
        }
    }
}
