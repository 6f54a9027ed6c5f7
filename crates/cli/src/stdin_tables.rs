//! Tables whose rows come from standard input, as in `datafusion-cli`: `LOCATION '/dev/stdin'`.

use std::{
    io::{IsTerminal as _, Read as _, stdin},
    path::Path,
    sync::Arc,
};

use datafusion::{
    catalog::Session,
    common::plan_err,
    error::{DataFusionError, Result},
    logical_expr::CreateExternalTable,
    prelude::SessionConfig,
};
use object_store::{ObjectStoreExt as _, PutPayload, memory::InMemory, path::Path as ObjectPath};
use url::Url;

use crate::args::ScriptArgs;

/// The names of standard input.
const LOCATIONS: [&str; 3] = ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];

/// Marks the configuration of a session whose script was read from standard input.
struct HasTheScript;

/// The configuration, with the information whether the script comes from standard input.
pub(crate) fn with_use_of_stdin(config: SessionConfig, args: &ScriptArgs) -> SessionConfig {
    let is_stdin =
        |path: &Path| path.as_os_str() == "-" || LOCATIONS.iter().any(|name| path == Path::new(name));
    match args.all_files().any(|path| is_stdin(path)) {
        true => config.with_extension(Arc::new(HasTheScript)),
        false => config,
    }
}

/// The table, with its location replaced by the data read from standard input; `None` if it has another location.
///
/// A pipe can be read only once and sequentially, which the file formats do not support, so it is read into memory.
pub(crate) async fn with_stdin(
    session: &dyn Session,
    table: &CreateExternalTable,
) -> Result<Option<CreateExternalTable>> {
    let is_stdin = |location: &String| LOCATIONS.contains(&location.as_str());
    if !table.locations.iter().any(is_stdin) {
        return Ok(None);
    }
    let name = format!("stdin.{}", table.file_type.to_lowercase());
    let url = format!("stdin:///{name}");
    let store = Url::parse(&url).map_err(|error| DataFusionError::External(error.into()))?;
    let stores = &session.runtime_env().object_store_registry;
    match stores.get_store(&store) {
        Ok(known) if known.head(&ObjectPath::from(name.as_str())).await.is_ok() => {}
        Ok(_) => {
            return plan_err!(
                "standard input was read by a table that is stored in another format: write it to a file, which tables of \
                 several formats can read"
            );
        }
        Err(_) => {
            let read = InMemory::new();
            read.put(&ObjectPath::from(name.as_str()), PutPayload::from(read_stdin(session).await?)).await?;
            stores.register_store(&store, Arc::new(read));
        }
    }
    let place = |location: &String| if is_stdin(location) { url.clone() } else { location.clone() };
    Ok(Some(CreateExternalTable { locations: table.locations.iter().map(place).collect(), ..table.clone() }))
}

async fn read_stdin(session: &dyn Session) -> Result<Vec<u8>> {
    if session.config().get_extension::<HasTheScript>().is_some() {
        return plan_err!(
            "standard input has the script, and cannot have the rows of a table as well: give the script as a file"
        );
    }
    if stdin().is_terminal() {
        return plan_err!("standard input is a terminal: give it rows by `< FILE` or a pipe");
    }
    // The first byte of a pipe may arrive in an hour.
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    });
    let read = read.await.map_err(|error| DataFusionError::External(error.into()))?;
    Ok(read?)
}
