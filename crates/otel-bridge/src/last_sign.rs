//! The last sign of life in the signal files of a run.

use std::{
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use daglight_guarded_files::FileBelow;
use daglight_run_bundle::SignalFiles;

/// How much of the end of each file is searched: lines are in the order in which they were written.
const TAIL_BYTES: u64 = 256 << 10;

/// The text before every time in OTLP/JSON, such as in `endTimeUnixNano`. In user text, quotes are always escaped.
const TIME: &[u8] = br#"imeUnixNano":""#;

/// The latest time before `now` in the last lines of the files, including those of open spans. It proves that the process was alive
/// then. `None` if the files contain no time, or cannot be read.
pub fn last_sign_of_life(files: &SignalFiles, now: SystemTime) -> Option<SystemTime> {
    let paths = [&files.traces, &files.metrics, &files.logs, &files.open_spans()];
    let tails = paths.into_iter().filter_map(|path| tail(path).ok());
    tails.flat_map(|tail| times(&tail).filter(|time| *time <= now).max()).max()
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = FileBelow::at(path).open()?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok(tail)
}

/// The times whose digits are complete: the last line may be torn.
fn times(text: &[u8]) -> impl Iterator<Item = SystemTime> {
    let starts = (0..text.len()).filter(|start| text[*start..].starts_with(TIME));
    starts.filter_map(|start| {
        let value = &text[start + TIME.len()..];
        let end = value.iter().position(|byte| *byte == b'"')?;
        let nanoseconds: u64 = std::str::from_utf8(&value[..end]).ok()?.parse().ok()?;
        Some(UNIX_EPOCH + Duration::from_nanos(nanoseconds))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_latest_time_that_is_whole_and_past_counts() {
        let folder = tempfile::tempdir().unwrap();
        let files = SignalFiles::in_folder(folder.path());
        let now = UNIX_EPOCH + Duration::from_nanos(100);
        assert_eq!(last_sign_of_life(&files, now), None);
        let check = |path: &Path, text: &str, nanoseconds: u64| {
            fs::write(path, text).unwrap();
            let seen = last_sign_of_life(&files, now).unwrap();
            assert_eq!(seen, UNIX_EPOCH + Duration::from_nanos(nanoseconds));
        };
        check(&files.traces, r#"{"startTimeUnixNano":"7","endTimeUnixNano":"9"}"#, 9);
        check(
            &files.logs,
            "{\"timeUnixNano\":\"12\",\"body\":\"\\\"timeUnixNano\\\":\\\"50\\\"\"}\n{\"timeUnixNano\":\"6",
            12,
        );
        check(&files.metrics, r#"{"timeUnixNano":"400"}"#, 12);
        check(&files.open_spans(), r#"{"startTimeUnixNano":"30","endTimeUnixNano":"0"}"#, 30);
    }
}
