//! Where a value came from.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    text: String,
    /// Boxed, because errors contain an origin and should stay small.
    file: Option<Box<(PathBuf, Option<usize>)>>,
}

impl Origin {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), file: None }
    }

    pub(crate) fn in_file(path: &Path, line: Option<usize>) -> Self {
        let path_text = path.display();
        let text = line.map_or_else(|| path_text.to_string(), |line| format!("{path_text}:{line}"));
        Self { text, file: Some(Box::new((path.to_owned(), line))) }
    }

    /// A source with its own name, which may be in a file.
    pub(crate) fn of_part(text: String, file: Option<PathBuf>, line: Option<usize>) -> Self {
        Self { text, file: file.map(|file| Box::new((file, line))) }
    }

    /// The configuration file that contains the value, and the line in it, if known.
    pub fn file(&self) -> Option<(&Path, Option<usize>)> {
        self.file.as_deref().map(|(path, line)| (path.as_path(), *line))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
