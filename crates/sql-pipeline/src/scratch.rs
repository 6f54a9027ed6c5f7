//! The folder for the tables of a run, and its removal.

use std::{fs, io};

use datafusion::{
    datasource::listing::ListingTableUrl,
    error::{DataFusionError, Result},
    execution::context::SessionContext,
    object_store::ObjectStoreExt as _,
};
use futures::TryStreamExt as _;

/// Removes all files below a folder, which may be in an object store that the session knows. A missing folder is not an error.
///
/// # Errors
/// When the store does not allow listing or removing them.
pub async fn remove_scratch(session: &SessionContext, folder: &str) -> Result<()> {
    let url = ListingTableUrl::parse(folder)?;
    if url.scheme() == "file" {
        // Including the folders, which a local file store would leave behind.
        let Ok(path) = url.get_url().to_file_path() else { return Ok(()) };
        return match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DataFusionError::IoError(error)),
            _ => Ok(()),
        };
    }
    let store = session.runtime_env().object_store(&url)?;
    let files = store.list(Some(url.prefix())).map_ok(|file| file.location);
    let files: Vec<_> =
        files.try_collect().await.map_err(|error| DataFusionError::ObjectStore(Box::new(error)))?;
    for file in files {
        store.delete(&file).await.map_err(|error| DataFusionError::ObjectStore(Box::new(error)))?;
    }
    Ok(())
}
