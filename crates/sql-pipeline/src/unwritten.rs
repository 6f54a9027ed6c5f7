//! Why files could not be written, where DataFusion has lost what the store said.

use datafusion::{
    datasource::listing::ListingTableUrl,
    error::DataFusionError,
    execution::context::SessionContext,
    object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload},
};
use futures::StreamExt as _;

/// What a folder is tried with.
const TRIAL: &str = ".daglight-write-test";

/// The error of a statement that writes to a location. DataFusion drops the answer of the store to the end of a file and reports an
/// error of its own (`datafusion-datasource` 55.2.0, `src/write/orchestration.rs`); the store is then asked once more.
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

/// What the store of a location has against it: of a folder of this machine, what an empty file in it meets, and of others, what the
/// request for the objects that are there is answered.
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
            // It was there for a moment. What stays is empty and hidden.
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
        // Nothing is wrong with the place, or the error says what is.
        let there = folder.path().join("b.csv").display().to_string();
        assert!(answer(&there, lost()).await.contains("lost"));
        let below = file.join("b.csv").display().to_string();
        assert_eq!(answer(&below, DataFusionError::Plan("x".into())).await, "Error during planning: x");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
