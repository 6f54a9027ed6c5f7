//! groff, which shows manual pages and warns of what is wrong in them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::debian;

/// The program.
#[derive(Debug, Clone)]
pub struct Groff {
    program: PathBuf,
}

/// There is no groff, and none can be installed from here.
#[derive(Debug, thiserror::Error)]
#[error(
    "the system tests read manual pages by groff, which is not installed: install the package groff-base (Debian), or its like"
)]
pub struct GroffMissing;

impl Groff {
    /// Looks along `PATH`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find() -> Result<Self, GroffMissing> {
        debian::on_path("groff").map(|program| Self { program }).ok_or(GroffMissing)
    }

    /// As [`Groff::find`]; where it is missing and this is root of a Debian system, its package is installed.
    ///
    /// # Errors
    /// When it is not there and cannot be installed.
    pub fn find_or_install() -> Result<Self> {
        match Self::find() {
            Err(missing) if !debian::can_install() => Err(missing.into()),
            Err(_) => {
                debian::install(&["groff-base"])?;
                Ok(Self::find()?)
            }
            Ok(groff) => Ok(groff),
        }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }
}
