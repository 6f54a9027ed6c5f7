//! How a bench says its ratios, so that `cargo xtask bench` can put those of all benches into one table, beside their targets
//! and beside those of an earlier day.
//!
//! A ratio is what Daglight takes of a measure divided by what it is compared with takes of it on the same machine in the same
//! minutes: lower is better, and 1 means no difference.

use std::{
    env,
    fmt::{self, Display, Formatter},
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// The environment variable with the file to which ratios are appended. Without it, they are printed alone.
pub const FILE: &str = "BENCH_RATIOS";

/// What a bench has measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The name of the bench.
    pub bench: String,
    /// What was measured, and beside what: the same words in each run of the bench.
    pub what: String,
    /// Daglight's share, divided by that of the other.
    pub ratio: f64,
    /// What it must not exceed, where there is such a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
}

impl Ratio {
    /// Of these words, without a target.
    pub fn new(bench: &str, what: impl Into<String>, ratio: f64) -> Self {
        Self { bench: bench.to_owned(), what: what.into(), ratio, target: None }
    }

    /// With what it must not exceed.
    #[must_use]
    pub fn target(self, target: impl Into<Option<f64>>) -> Self {
        Self { target: target.into(), ..self }
    }

    /// Prints it, and appends it to the file that [`FILE`] names.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn say(&self) -> io::Result<()> {
        println!("{self}");
        env::var_os(FILE).map_or(Ok(()), |file| self.append_to(Path::new(&file)))
    }

    fn append_to(&self, file: &Path) -> io::Result<()> {
        let line = serde_json::to_string(self)? + "\n";
        OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
    }
}

impl Display for Ratio {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {:.3}", self.what, self.ratio)?;
        self.target.map_or(Ok(()), |target| write!(out, " (target {target})"))
    }
}

/// The ratios in a file, in the order in which they were said.
///
/// # Errors
/// When it cannot be read, or a line of it is not a ratio; the message names the file and the line.
pub fn read(file: &Path) -> io::Result<Vec<Ratio>> {
    let text = fs::read_to_string(file)
        .map_err(|error| io::Error::new(error.kind(), format!("reading {}: {error}", file.display())))?;
    let line = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            let message = format!("{}, line {}, is not a ratio: {error}", file.display(), at + 1);
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_read_as_they_were_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ratios.jsonl");
        let said = [
            Ratio::new("overhead", "SF1, wall", 1.25).target(1.01),
            Ratio::new("queries", "memory \"flat\"", 1.0),
        ];
        said.iter().for_each(|ratio| ratio.append_to(&file).unwrap());
        assert_eq!(read(&file).unwrap(), said);
        assert_eq!(said[0].to_string(), "SF1, wall: 1.250 (target 1.01)");
    }

    #[test]
    fn a_line_that_is_no_ratio_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ratios.jsonl");
        Ratio::new("overhead", "SF1, wall", 1.25).append_to(&file).unwrap();
        fs::write(&file, fs::read_to_string(&file).unwrap() + "1.5\n").unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains("ratios.jsonl, line 2, is not a ratio"), "{error}");
        let error = read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
