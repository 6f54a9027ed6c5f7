//! The options of `daglight worker`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args as ClapArgs;

use crate::option_values::{memory, threads};

#[derive(Debug, ClapArgs)]
pub(crate) struct WorkerArgs {
    /// The address to serve at; port 0 chooses a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9400", allow_hyphen_values = true)]
    pub(crate) listen: String,
    /// Memory that queries may take, such as 4GB or 512MB; what needs more is written to the disk where DataFusion can.
    /// Default: no limit.
    #[arg(long, value_name = "BYTES", value_parser = memory, allow_hyphen_values = true)]
    pub(crate) memory_limit: Option<usize>,
    /// The folder for what does not fit into memory. Default: a temporary folder of the system.
    #[arg(long, value_name = "DIR")]
    pub(crate) spill_dir: Option<PathBuf>,
    /// Threads that compute. Default: one for each processor.
    #[arg(long, value_name = "N", value_parser = threads, allow_hyphen_values = true)]
    pub(crate) threads: Option<NonZeroUsize>,
}
