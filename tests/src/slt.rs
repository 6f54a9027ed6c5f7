//! DataFusion's own tests, as its crate `datafusion-sqllogictest` ships them: the files, and the records in them.
//!
//! The crate itself is not built. What it depends on turns on features of crates below DataFusion, which then would be compiled a
//! second time for these tests.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The version whose files are read: that of DataFusion.
pub const SLT_CRATE: &str = "datafusion-sqllogictest@55.2.0";

/// A statement or query of a test file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SltRecord {
    /// The line of its SQL, from 1.
    pub line: usize,
    /// The SQL.
    pub sql: String,
    /// What the file says that becomes of it.
    pub expected: SltOutcome,
    /// Whether its rows may come in any order.
    pub any_order: bool,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SltOutcome {
    /// It succeeds.
    Success,
    /// It fails.
    Failure,
}

/// The folder of the crate in the registry of cargo, which `cargo info` brings there.
///
/// # Errors
/// When it is not there.
pub fn slt_folder() -> Result<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let sources = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let name = SLT_CRATE.replace('@', "-");
    let registries = fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))?;
    for registry in registries {
        let folder = registry?.path().join(&name).join("test_files");
        if folder.is_dir() {
            return Ok(folder);
        }
    }
    bail!("{name} is not in {}: `cargo info {SLT_CRATE}` brings it there", sources.display())
}

/// The test files below a folder, sorted.
///
/// # Errors
/// When a folder cannot be read.
pub fn slt_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(slt_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The records of a file up to its `halt`, and those of the files that it includes.
///
/// # Errors
/// When a file cannot be read.
pub fn slt_records(path: &Path) -> Result<Vec<SltRecord>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reading = Reading { lines: text.lines().enumerate(), records: Vec::new(), is_skipped: false };
    while let Some((_, line)) = reading.lines.next() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["statement", ..] | ["query", ..] => reading.record(&words),
            ["onlyif", engine] => reading.is_skipped |= !is_ours(engine),
            ["skipif", engine] => reading.is_skipped |= is_ours(engine),
            ["include", pattern] => reading.records.extend(included(path, pattern)?),
            ["halt"] if !std::mem::take(&mut reading.is_skipped) => break,
            // Other words are comments, settings of the runner, and rows of results.
            _ => {}
        }
    }
    Ok(reading.records)
}

fn is_ours(engine: &str) -> bool {
    engine.eq_ignore_ascii_case("datafusion")
}

/// The records of the files that a pattern such as `./aggregate*.slt.part` names.
fn included(from: &Path, pattern: &str) -> Result<Vec<SltRecord>> {
    let pattern = from.parent().context("a file is in a folder")?.join(pattern);
    let (folder, name) = (pattern.parent().context("a folder")?, pattern.file_name().context("a name")?);
    let name = name.to_string_lossy();
    let (start, end) = name.split_once('*').unwrap_or((&name, ""));
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        name.starts_with(start) && name.ends_with(end)
    });
    paths.sort();
    let records: Vec<Vec<SltRecord>> = paths.iter().map(|path| slt_records(path)).collect::<Result<_>>()?;
    Ok(records.concat())
}

struct Reading<'t> {
    lines: std::iter::Enumerate<std::str::Lines<'t>>,
    records: Vec<SltRecord>,
    is_skipped: bool,
}

impl Reading<'_> {
    /// Reads the SQL behind the line of a record, which ends with an empty line or in front of the results.
    fn record(&mut self, words: &[&str]) {
        let (mut sql, mut first) = (Vec::new(), None);
        for (index, line) in self.lines.by_ref() {
            if line.trim().is_empty() || line.trim_end() == "----" {
                break;
            }
            first.get_or_insert(index + 1);
            sql.push(line);
        }
        let is_skipped = std::mem::take(&mut self.is_skipped);
        let Some(line) = first.filter(|_| !is_skipped) else { return };
        let expected = if words.get(1) == Some(&"error") { SltOutcome::Failure } else { SltOutcome::Success };
        let any_order = words.iter().any(|word| ["rowsort", "valuesort"].contains(word));
        self.records.push(SltRecord { line, sql: sql.join("\n"), expected, any_order });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_the_runner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("b1.slt.part", "query I\nSELECT 2\n----\n2\n");
        write(
            "a.slt",
            "# query I\nstatement ok\nCREATE TABLE t\nAS SELECT 1\n\nquery IT rowsort\nSELECT *\nFROM t\n----\nstatement\n\n\
             statement error DataFusion error: x\nSELECT y\n\nskipif DataFusion\nstatement ok\nSELECT 3\n\n\
             onlyif postgres\nquery I\nSELECT 4\n----\n4\n\ninclude ./b*.slt.part\n\nhalt\n\nstatement ok\nSELECT 5\n",
        );
        let records = slt_records(&folder.path().join("a.slt")).unwrap();
        let found: Vec<(usize, &str, SltOutcome, bool)> = records
            .iter()
            .map(|record| (record.line, record.sql.as_str(), record.expected, record.any_order))
            .collect();
        assert_eq!(
            found,
            [
                (3, "CREATE TABLE t\nAS SELECT 1", SltOutcome::Success, false),
                (7, "SELECT *\nFROM t", SltOutcome::Success, true),
                (13, "SELECT y", SltOutcome::Failure, false),
                (2, "SELECT 2", SltOutcome::Success, false),
            ]
        );
    }
}
