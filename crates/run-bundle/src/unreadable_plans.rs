//! The plan files that cannot be read: the first ones by name, and the number of all.

use std::error::Error;

use crate::{layout::PLANS, versioned::ReadError};

/// How many files are named individually. A tampered folder may have any number.
const MAX_NAMED: usize = 100;

/// The plan files of a bundle that cannot be read, in the order of their names.
#[derive(Debug, Default)]
pub struct UnreadablePlans {
    named: Vec<(String, ReadError)>,
    others: u64,
}

impl UnreadablePlans {
    /// Adds a file; the name is empty for the folder itself.
    pub(crate) fn add(&mut self, name: String, error: ReadError) {
        if self.named.len() < MAX_NAMED {
            self.named.push((name, error));
        } else {
            self.others += 1;
        }
    }

    /// Whether all files can be read.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// The problems with the paths relative to the bundle: one for each of the first hundred files, and one with the path of the
    /// folder and the number of the others.
    pub fn problems(&self) -> impl Iterator<Item = (String, String)> {
        let named = self.named.iter().map(|(name, error)| {
            let path = if name.is_empty() { PLANS.to_owned() } else { format!("{PLANS}/{name}") };
            // The path is the key already, so the error is shown without it.
            (path, error.source().map_or_else(|| error.to_string(), ToString::to_string))
        });
        let others = match self.others {
            0 => None,
            1 => Some("1 more file cannot be read".to_owned()),
            others => Some(format!("{others} more files cannot be read")),
        };
        named.chain(others.map(|others| (PLANS.to_owned(), others)))
    }

    #[cfg(test)]
    pub(crate) fn into_named(self) -> Vec<(String, ReadError)> {
        self.named
    }
}
