//! Which failures written data survives.

use std::{fs::File, io};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The death of the process.
    #[default]
    Process,
    /// Also the loss of power.
    Disk,
}

impl Durability {
    /// Makes what was written to a file this durable.
    ///
    /// # Errors
    /// When the file cannot be synchronised with its disk.
    pub fn make_durable(self, file: &File) -> io::Result<()> {
        match self {
            Self::Process => Ok(()),
            Self::Disk => file.sync_data(),
        }
    }
}
