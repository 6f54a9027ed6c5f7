//! Why files could not be written, if DataFusion has lost the answer of the store.

use datafusion::{
    datasource::listing::ListingTableUrl,
    error::DataFusionError,
    execution::context::SessionContext,
    object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload},
};
use futures::StreamExt as _;

/// The name of the file for testing a folder.
const TRIAL: &str = ".daglight-write-test";

/// The error of a statement that writes to a location. DataFusion drops the store's answer to completing a file, and reports a
/// different error (`datafusion-datasource` 55.2.0, `src/write/orchestration.rs`); the store is then asked again.
pub(crate) async fn with_answer_of_store(
    error: DataFusionError,
    location: &str,
    session: &SessionContext,
) -> DataFusionError {
    if !matches!(error.find_root(), DataFusionError::Internal(_)) {
        return error;
    }
    match refusal(location, session).await {
        Some(refusal) => refusal.context(format!("cannot write to '{location}'")),
        None => error,
    }
}

/// The error of a location's store: for a local folder, from creating an empty file in it, and for other stores, from listing
/// existing objects.
async fn refusal(location: &str, session: &SessionContext) -> Option<DataFusionError> {
    let url = ListingTableUrl::parse(location).ok()?;
    let store = session.runtime_env().object_store(&url).ok()?;
    if url.scheme() != "file" {
        return store.list(Some(url.prefix())).next().await?.err().map(Into::into);
    }
    let mut parts: Vec<_> = url.prefix().parts().collect();
    if !url.is_folder() && url.file_extension().is_some() {
        parts.pop();
    }
    let trial = parts.into_iter().collect::<datafusion::object_store::path::Path>().join(TRIAL);
    match store.put(&trial, PutPayload::default()).await {
        Ok(_) => {
            // It existed for a moment. If it stays, it is empty and hidden.
            let _removed = store.delete(&trial).await;
            None
        }
        Err(error) => Some(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(location: &str, error: DataFusionError) -> String {
        with_answer_of_store(error, location, &SessionContext::new()).await.strip_backtrace()
    }

    #[tokio::test]
    async fn the_store_says_why_nothing_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        std::fs::write(&file, "").unwrap();
        let lost = || DataFusionError::Internal("lost".into()).context("write");
        for below in ["b.csv", "b/", "b"] {
            let location = file.join(below).display().to_string();
            let said = answer(&location, lost()).await;
            assert!(said.contains(&format!("cannot write to '{location}'")), "{said}");
            assert!(!said.contains("lost"), "{said}");
        }
        // Either nothing is wrong with the location, or the error already contains the reason.
        let there = folder.path().join("b.csv").display().to_string();
        assert!(answer(&there, lost()).await.contains("lost"));
        let below = file.join("b.csv").display().to_string();
        assert_eq!(answer(&below, DataFusionError::Plan("x".into())).await, "Error during planning: x");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
