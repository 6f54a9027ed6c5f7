//! The results of the checks of a node.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::{
    data_check::{CheckRule, CheckSeverity, DataCheck},
    planned_check::Seen,
};

/// Mentions the limit [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES).
const TOO_MANY_KEYS: &str = "there are more keys than fit into 64 MiB, and the output cannot be read again";

/// The measurements for the checks of a node.
#[derive(Debug, Clone)]
pub struct Measured(Vec<MeasuredCheck>);

#[derive(Debug, Clone)]
struct MeasuredCheck {
    check: DataCheck,
    rows: Option<u64>,
    value: MeasuredValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum MeasuredValue {
    /// The number of rows is sufficient.
    Rows,
    /// The number of rows that repeat the key of another one.
    Repeated(u64),
    /// There were more keys than are kept; this many of the kept ones repeat another one.
    TooManyKeys(u64),
    Failing(u64),
    FailingOrUnknown {
        failing: u64,
        unknown: u64,
    },
    /// In microseconds since 1970.
    Newest(Option<i64>),
    NotComputed(String),
    NotSeen(&'static str),
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It is unknown.
    Undecided,
}

impl CheckOutcome {
    /// `passed`, `failed` or `undecided`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Undecided => "undecided",
        }
    }
}

/// A check and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckResult {
    /// The check.
    pub check: DataCheck,
    /// Its outcome.
    pub outcome: CheckOutcome,
    /// The number of inspected rows, if any.
    pub rows: Option<u64>,
    /// How many of them fail, if it is about individual rows.
    pub failing: Option<u64>,
    /// For how many of them a condition is unknown, because a value in it is null.
    pub unknown: u64,
    /// Details.
    pub found: Found,
}

/// Details of a check's result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// The counts are sufficient.
    Counts,
    /// The age of the newest value at the end of the node; zero if it is in the future. It is derived from the data.
    Age(Duration),
    /// There is no value whose freshness could be judged.
    NoValue,
    /// Why it is undecided.
    Undecided(&'static str),
    /// Why it could not be computed; contains values from the data.
    Error(String),
}

impl Measured {
    pub(crate) fn new(checks: &[DataCheck], rows: u64, seen: Vec<Seen>) -> Self {
        let of = |(check, seen): (&DataCheck, Seen)| {
            let value = match seen {
                Seen::Rows => MeasuredValue::Rows,
                Seen::Unique { keys: Some(_), repeated, .. } => MeasuredValue::Repeated(repeated),
                Seen::Unique { keys: None, repeated, .. } => MeasuredValue::TooManyKeys(repeated),
                Seen::NotNull { failing } => MeasuredValue::Failing(failing),
                Seen::Condition { failing, unknown } => MeasuredValue::FailingOrUnknown { failing, unknown },
                Seen::Freshness { newest } => MeasuredValue::Newest(newest),
                Seen::Failed(problem) => MeasuredValue::NotComputed(problem),
            };
            MeasuredCheck { check: check.clone(), rows: Some(rows), value }
        };
        Self(checks.iter().zip(seen).map(of).collect())
    }

    /// For checks whose rows were not seen, or not all of them.
    pub fn not_seen(checks: &[DataCheck], why: &'static str) -> Self {
        let of = |check: &DataCheck| MeasuredCheck {
            check: check.clone(),
            rows: None,
            value: MeasuredValue::NotSeen(why),
        };
        Self(checks.iter().map(of).collect())
    }

    pub(crate) fn lost(checks: &[DataCheck]) -> Self {
        Self::not_seen(checks, "a panic in a check has lost rows")
    }

    /// For checks that could not be computed, all for the same reason.
    pub(crate) fn not_computed(checks: &[DataCheck], problem: &str) -> Self {
        let of = |check: &DataCheck| MeasuredCheck {
            check: check.clone(),
            rows: None,
            value: MeasuredValue::NotComputed(problem.to_owned()),
        };
        Self(checks.iter().map(of).collect())
    }

    /// The key checks that found more keys than are kept, and no duplicates among them, with their columns.
    pub(crate) fn undecided_keys(&self) -> impl Iterator<Item = (usize, &[String])> {
        self.0.iter().enumerate().filter_map(|(index, measured)| {
            match (&measured.value, &measured.check.rule) {
                (MeasuredValue::TooManyKeys(0), CheckRule::Unique(columns)) => {
                    Some((index, columns.as_slice()))
                }
                _ => None,
            }
        })
    }

    /// Sets the result of a key check that was decided by other means.
    pub(crate) fn decide_keys(&mut self, index: usize, repeated: u64) {
        if let Some(measured) = self.0.get_mut(index) {
            measured.value = MeasuredValue::Repeated(repeated);
        }
    }

    /// Judges each check. Freshness is relative to `now`.
    pub fn judged(self, now: SystemTime) -> Vec<CheckResult> {
        self.0.into_iter().map(|measured| measured.judged(now)).collect()
    }
}

impl MeasuredCheck {
    fn judged(self, now: SystemTime) -> CheckResult {
        let Self { check, rows, value } = self;
        let unknown = match value {
            MeasuredValue::FailingOrUnknown { unknown, .. } => unknown,
            _ => 0,
        };
        let outcome = |holds: bool| if holds { CheckOutcome::Passed } else { CheckOutcome::Failed };
        let (outcome, failing, found) = match value {
            MeasuredValue::Rows => {
                let holds =
                    matches!(check.rule, CheckRule::Rows(expected) if expected.are(rows.unwrap_or(0)));
                (outcome(holds), None, Found::Counts)
            }
            MeasuredValue::Repeated(failing) | MeasuredValue::Failing(failing) => {
                (outcome(failing == 0), Some(failing), Found::Counts)
            }
            MeasuredValue::FailingOrUnknown { failing, .. } => {
                (outcome(failing == 0), Some(failing), Found::Counts)
            }
            MeasuredValue::TooManyKeys(0) => (CheckOutcome::Undecided, None, Found::Undecided(TOO_MANY_KEYS)),
            MeasuredValue::TooManyKeys(failing) => (CheckOutcome::Failed, Some(failing), Found::Counts),
            MeasuredValue::Newest(None) => (CheckOutcome::Failed, None, Found::NoValue),
            MeasuredValue::Newest(Some(newest)) => {
                let age = age(newest, now);
                let is_fresh = match check.rule {
                    CheckRule::Freshness { limit, included: true, .. } => age <= limit,
                    CheckRule::Freshness { limit, .. } => age < limit,
                    _ => false,
                };
                (outcome(is_fresh), None, Found::Age(age))
            }
            MeasuredValue::NotComputed(problem) => (CheckOutcome::Failed, None, Found::Error(problem)),
            MeasuredValue::NotSeen(why) => (CheckOutcome::Undecided, None, Found::Undecided(why)),
        };
        CheckResult { check, outcome, rows, failing, unknown, found }
    }
}

impl CheckResult {
    /// Whether it makes the node fail.
    pub fn fails_the_node(&self) -> bool {
        self.outcome == CheckOutcome::Failed && self.check.severity() == CheckSeverity::Fail
    }

    /// The details as text, with counts but without values from the data.
    pub fn in_words(&self) -> String {
        match &self.found {
            Found::Counts => self.counts_in_words(),
            Found::Age(_) if self.outcome == CheckOutcome::Passed => "the newest value is fresh".to_owned(),
            Found::Age(_) => "the newest value is too old".to_owned(),
            Found::NoValue => "there is no value".to_owned(),
            Found::Undecided(why) => (*why).to_owned(),
            Found::Error(_) => "it could not be computed".to_owned(),
        }
    }

    /// The details as text, including values.
    pub fn in_full(&self) -> String {
        match &self.found {
            Found::Age(age) => format!("the newest value is {} old", age_in_words(*age)),
            Found::Error(problem) => format!("it could not be computed: {problem}"),
            _ => self.in_words(),
        }
    }

    fn counts_in_words(&self) -> String {
        let rows = self.rows.unwrap_or(0);
        let counted = |rows: u64| if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        let Some(failing) = self.failing else {
            return format!("there {} {}", if rows == 1 { "is" } else { "are" }, counted(rows));
        };
        match (self.outcome, self.unknown) {
            (CheckOutcome::Passed, 0) => format!("it holds for {}", counted(rows)),
            (CheckOutcome::Passed, unknown) => {
                format!(
                    "it holds for {}, and is unknown for {unknown}",
                    counted(rows.saturating_sub(unknown))
                )
            }
            _ => format!("{failing} of {} {}", counted(rows), self.breaks(failing)),
        }
    }

    fn breaks(&self, failing: u64) -> &'static str {
        let (one, several) = match self.check.rule {
            CheckRule::Unique(_) => ("repeats a key", "repeat a key"),
            CheckRule::NotNull(_) => ("has a null value", "have a null value"),
            _ => ("breaks it", "break it"),
        };
        if failing == 1 { one } else { several }
    }
}

/// The failed check and its details in full: `data check failed: unique(id): 3 of 100 rows repeat a key`. The policy recognises
/// this format.
impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data check {}: {}: {}", self.outcome.name(), self.check.text(), self.in_full())
    }
}

/// Data checks that make a node fail. `Display` describes each of them on its own line, including values from the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", in_lines(.first, .others))]
#[non_exhaustive]
pub struct ChecksFailed {
    /// The first of them.
    pub first: CheckResult,
    /// The others.
    pub others: Vec<CheckResult>,
}

impl ChecksFailed {
    /// Those of the results that make the node fail, if any.
    pub fn of(results: &[CheckResult]) -> Option<Self> {
        let mut failed = results.iter().filter(|result| result.fails_the_node()).cloned();
        Some(Self { first: failed.next()?, others: failed.collect() })
    }
}

fn in_lines(first: &CheckResult, others: &[CheckResult]) -> String {
    let lines: Vec<String> = std::iter::once(first).chain(others).map(ToString::to_string).collect();
    lines.join("\n")
}

/// In its two largest units.
fn age_in_words(age: Duration) -> String {
    let (mut left, mut parts) = (age.as_secs(), Vec::new());
    for (seconds, unit) in [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")] {
        let count = left / seconds;
        left %= seconds;
        // After a larger unit only the next one is included.
        if count > 0 && parts.len() < 2 {
            parts.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if parts.is_empty() { "less than a second".to_owned() } else { parts.join(" ") }
}

/// The age of a time; zero if it is in the future.
fn age(microseconds: i64, now: SystemTime) -> Duration {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX);
    Duration::from_micros(u64::try_from(now.saturating_sub(microseconds)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_shown_in_two_units() {
        for (seconds, words) in [
            (0, "less than a second"),
            (1, "1 second"),
            (3_661, "1 hour 1 minute"),
            (86_401, "1 day 1 second"),
            (3 * 86_400 + 7_300, "3 days 2 hours"),
        ] {
            assert_eq!(age_in_words(Duration::from_secs(seconds)), words);
        }
    }
}
