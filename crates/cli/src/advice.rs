//! What to do about an error that an option of the command, or more disk space, would have prevented.

use std::{error::Error, io, iter, path::Path};

use daglight::bundle::is_out_of_space;
use datafusion::error::DataFusionError;

use crate::args::RunArgs;

/// What to do about the error that ended a node. `spill_folder` is where queries write what does not fit in memory.
pub(crate) fn advice(
    error: &(dyn Error + 'static),
    args: &RunArgs,
    spill_folder: Option<&Path>,
) -> Option<String> {
    if args.memory_limit.is_some() && causes(error).any(is_exhausted) {
        return Some("raise --memory-limit, or take fewer --threads or --jobs".to_owned());
    }
    // The engine's error contains neither file nor folder.
    causes(error).any(is_full).then(|| {
        let spill = spill_folder.map_or_else(String::new, |folder| {
            let folder = folder.display();
            format!(", or in {folder}, where queries write what does not fit in memory (--spill-dir)")
        });
        format!("make room where the statement writes{spill}")
    })
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    iter::successors(error.source(), |&error| error.source())
}

fn is_exhausted(error: &(dyn Error + 'static)) -> bool {
    let engine = error.downcast_ref::<DataFusionError>().map(DataFusionError::find_root);
    matches!(engine, Some(DataFusionError::ResourcesExhausted(_)))
}

fn is_full(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(is_out_of_space)
}
