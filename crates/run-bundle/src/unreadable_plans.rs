//! The files of plans that cannot be read: the first of them, and how many there are.

use std::error::Error;

use crate::{layout::PLANS, versioned::ReadError};

/// Files that are named one by one. A folder of somebody else may have any number.
const MAX_NAMED: usize = 100;

/// The files of plans of a bundle that cannot be read, in the order of their names.
#[derive(Debug, Default)]
pub struct UnreadablePlans {
    named: Vec<(String, ReadError)>,
    others: u64,
}

impl UnreadablePlans {
    /// The name is empty for the folder itself.
    pub(crate) fn add(&mut self, name: String, error: ReadError) {
        if self.named.len() < MAX_NAMED {
            self.named.push((name, error));
        } else {
            self.others += 1;
        }
    }

    /// Whether all can be read.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// What is wrong, with the path of the file below the bundle: of the first hundred files each, of all others that they are so many, with
    /// the path of their folder.
    pub fn problems(&self) -> impl Iterator<Item = (String, String)> {
        let named = self.named.iter().map(|(name, error)| {
            let path = if name.is_empty() { PLANS.to_owned() } else { format!("{PLANS}/{name}") };
            // Behind the path, which the error itself names.
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
