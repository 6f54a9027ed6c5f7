//! Spans and log records as their lines have them, where their times can be those of the run.

use std::path::Path;

use chrono::{DateTime, Days, Utc};
use daglight_run_bundle::{Bundle, FileReading, Manifest, read_lines};
use serde::de::Error as _;

use crate::{
    otlp::{LogRecord, LogsLine, Resource, Span, TracesLine},
    otlp_metrics::MetricsLine,
};

/// The beginning of 2000, in nanoseconds: clocks that were never set begin before it.
const EARLIEST: u64 = 946_684_800_000_000_000;
/// How long behind the end of its run a signal may be, because the clocks of two machines differ.
const AFTER_END: Days = Days::new(1);
/// The same of a run that has not ended, behind the later of its start and now.
const AFTER_NOW: Days = Days::new(366);

/// The times that signals of a run can have. One number that was damaged would otherwise draw a bar of centuries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunTimes {
    latest: u64,
}

impl RunTimes {
    /// Of the run of a manifest, looked at `now`.
    pub(crate) fn of(manifest: Option<&Manifest>, now: DateTime<Utc>) -> Self {
        let started = manifest.map_or(now, |manifest| manifest.started_at);
        let ended = manifest.and_then(|manifest| manifest.ended_at).filter(|ended| *ended >= started);
        let latest = match ended {
            Some(ended) => ended.checked_add_days(AFTER_END),
            // The clock of the machine that ran it may be wrong, and then its start is as well.
            None => now.max(started).checked_add_days(AFTER_NOW),
        };
        let latest = latest.and_then(|latest| u64::try_from(latest.timestamp_nanos_opt()?).ok());
        // The years that nanoseconds can say end in 2262.
        Self { latest: latest.unwrap_or(i64::MAX as u64) }
    }

    /// The time, or the latest that there can be.
    pub(crate) fn at_most(self, time: u64) -> u64 {
        time.min(self.latest)
    }

    /// Whether the run can have had that time.
    pub(crate) fn has(self, time: DateTime<Utc>) -> bool {
        let time = time.timestamp_nanos_opt().and_then(|time| u64::try_from(time).ok());
        time.is_some_and(|time| (EARLIEST..=self.latest).contains(&time))
    }

    fn check_span(self, span: &Span<'_>) -> serde_json::Result<()> {
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        let of_span = |what: &str, time| format!("{what} of the span {:?}, {time} ns,", span.span_id);
        self.check(start, || of_span("the start", start))?;
        self.check(end, || of_span("the end", end))?;
        // 0 is an end that is not known, such as that of an open span.
        if end > 0 && end < start {
            return Err(serde_json::Error::custom(format_args!(
                "the span {:?} ends at {end} ns, before its start at {start} ns",
                span.span_id
            )));
        }
        Ok(())
    }

    /// 0 is a time that is not known.
    fn check(self, time: u64, what: impl Fn() -> String) -> serde_json::Result<()> {
        let problem = match time {
            0 => return Ok(()),
            time if time < EARLIEST => "is before 2000",
            time if time > self.latest => "is after the end of the run",
            _ => return Ok(()),
        };
        Err(serde_json::Error::custom(format_args!("{} {problem}", what())))
    }
}

/// The id of the run of a bundle: that of its manifest, or of its folder.
pub(crate) fn run_named(bundle: &Bundle, manifest: Option<&Manifest>) -> Option<String> {
    let run = manifest.map(|manifest| manifest.identity.run_id).or_else(|| bundle.run_id());
    run.map(|run| run.to_string())
}

/// What the lines of a run are known by: their times, and the run that their resources name. One of another run that got into the
/// file would be counted as a part of this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunLines<'r> {
    pub(crate) times: RunTimes,
    run: Option<Run<'r>>,
}

/// A run, and the attribute of a resource that names it.
#[derive(Debug, Clone, Copy)]
struct Run<'r> {
    id: &'r str,
    key: &'r str,
}

impl<'r> RunLines<'r> {
    /// Of the run with this id, if that is known, under a key of resources.
    pub(crate) fn new(times: RunTimes, id: Option<&'r str>, key: &'r str) -> Self {
        Self { times, run: id.map(|id| Run { id, key }) }
    }

    pub(crate) fn check_spans(self, line: &TracesLine<'_>) -> serde_json::Result<()> {
        self.check_resources(line.resources())?;
        line.spans().try_for_each(|span| self.times.check_span(span))
    }

    pub(crate) fn check_records(self, line: &LogsLine<'_>) -> serde_json::Result<()> {
        self.check_resources(line.resources())?;
        line.records().try_for_each(|record| {
            let time = record.time();
            self.times.check(time, || format!("the time of a record, {time} ns,"))
        })
    }

    pub(crate) fn check_metrics(self, line: &MetricsLine<'_>) -> serde_json::Result<()> {
        self.check_resources(line.resources())
    }

    fn check_resources<'l>(
        self,
        mut resources: impl Iterator<Item = &'l Resource<'l>>,
    ) -> serde_json::Result<()> {
        let Some(Run { id, key }) = self.run else { return Ok(()) };
        match resources.find_map(|resource| resource.other_than(key, id)) {
            Some(other) => Err(serde_json::Error::custom(format_args!("it is of run {other}"))),
            None => Ok(()),
        }
    }
}

/// Hands every span of a file over. A line with a span that cannot be of the run is damaged as one that cannot be parsed.
pub(crate) fn read_spans(path: &Path, of: RunLines<'_>, mut take: impl FnMut(&Span<'_>)) -> FileReading {
    read_lines(path, |line| {
        let line: TracesLine<'_> = serde_json::from_str(line)?;
        of.check_spans(&line)?;
        line.spans().for_each(&mut take);
        Ok(())
    })
}

/// Hands every log record of a file over, as [`read_spans`] does.
pub(crate) fn read_records(
    path: &Path,
    of: RunLines<'_>,
    mut take: impl FnMut(&LogRecord<'_>),
) -> FileReading {
    read_lines(path, |line| {
        let line: LogsLine<'_> = serde_json::from_str(line)?;
        of.check_records(&line)?;
        line.records().for_each(&mut take);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    const START: u64 = fixture::START_NANOSECONDS;
    const DAY: u64 = 86_400_000_000_000;

    fn span(start: u64, end: u64) -> String {
        format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"spanId":"a1","startTimeUnixNano":"{start}","endTimeUnixNano":"{end}"}}]}}]}}]}}"#
        )
    }

    #[track_caller]
    fn check(lines: &[String], expected: &[&str]) {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("otel_traces.json");
        let times = RunTimes::of(Some(&fixture::manifest()), fixture::start());
        let problems: Vec<String> = lines
            .iter()
            .map(|line| {
                std::fs::write(&path, format!("{line}\n")).unwrap();
                let reading = read_spans(&path, RunLines::new(times, None, ""), |_| ());
                assert_eq!(reading.lines + reading.unreadable_lines, 1);
                reading.problem.unwrap_or_default()
            })
            .collect();
        assert_eq!(problems, expected);
    }

    #[test]
    fn times_that_cannot_be_of_the_run_are_damages_of_their_line() {
        check(
            &[
                span(START, START + 5),
                span(0, 0),
                span(START, 0),
                span(START + DAY / 2, START + DAY / 2),
                span(u64::MAX, u64::MAX),
                span(START, START + 9 * DAY),
                span(7, START),
                span(START, START - 1),
            ],
            &[
                "",
                "",
                "",
                "",
                r#"line 1 is damaged: the start of the span "a1", 18446744073709551615 ns, is after the end of the run"#,
                r#"line 1 is damaged: the end of the span "a1", 1796015387000000000 ns, is after the end of the run"#,
                r#"line 1 is damaged: the start of the span "a1", 7 ns, is before 2000"#,
                r#"line 1 is damaged: the span "a1" ends at 1795237786999999999 ns, before its start at 1795237787000000000 ns"#,
            ],
        );
        let negative = span(START, START).replace(&format!("\"{START}\""), "-5");
        check(
            &[negative],
            &[
                "line 1 is damaged: invalid value: integer `-5`, expected nanoseconds since 1970 at line 1 column 80",
            ],
        );
    }

    #[test]
    fn a_run_that_goes_on_may_have_a_clock_that_is_wrong() {
        let running = Manifest { ended_at: None, ..fixture::manifest() };
        let years_ago = fixture::start() - chrono::TimeDelta::days(3_000);
        let times = RunTimes::of(Some(&running), years_ago);
        let line = |time| span(time, time);
        let check = |line: &str| {
            RunLines::new(times, None, "").check_spans(&serde_json::from_str(line).unwrap()).is_ok()
        };
        assert!(check(&line(START + 300 * DAY)));
        assert!(!check(&line(START + 400 * DAY)));
    }

    #[test]
    fn a_record_of_another_time_is_damage() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("otel_logs.json");
        let line = fixture::log_line(17, "boom");
        let absurd = line.replace(&START.to_string(), "18446744073709551615");
        std::fs::write(&path, [line, absurd].concat()).unwrap();
        let times = RunTimes::of(Some(&fixture::manifest()), fixture::start());
        let reading = read_records(&path, RunLines::new(times, None, ""), |_| ());
        assert_eq!((reading.lines, reading.unreadable_lines), (1, 1));
    }

    #[test]
    fn lines_of_another_run_are_damaged_in_every_signal() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("signals");
        let times = RunTimes::of(Some(&fixture::manifest()), fixture::start());
        let of = RunLines::new(times, Some("a"), "daglight.run_id");
        let resource = |run: &str| {
            format!(
                r#"{{"resource":{{"attributes":[{{"key":"x.run_id","value":{{"stringValue":"z"}}}},{{"key":"daglight.run_id","value":{{"stringValue":"{run}"}}}}]}}}}"#
            )
        };
        let read = |field: &str| {
            let line = |resource: &str| format!("{{\"{field}\":[{resource}]}}\n");
            std::fs::write(&path, [line(&resource("a")), line(&resource("b")), line("{}")].concat()).unwrap();
        };
        let problems = [
            {
                read("resourceSpans");
                read_spans(&path, of, |_| ())
            },
            {
                read("resourceLogs");
                read_records(&path, of, |_| ())
            },
            {
                read("resourceMetrics");
                read_lines(&path, |line| of.check_metrics(&serde_json::from_str(line)?))
            },
        ];
        for reading in problems {
            assert_eq!((reading.lines, reading.unreadable_lines), (2, 1), "{reading:?}");
            assert_eq!(reading.problem.as_deref(), Some("line 2 is damaged: it is of run b"));
        }
    }
}
