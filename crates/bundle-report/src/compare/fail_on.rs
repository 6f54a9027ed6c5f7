//! Criteria by which a comparison fails a pipeline of CI.

use std::{fmt, str::FromStr};

use super::{ComparedPart, Comparison, Measured};
use crate::{
    display,
    findings::{FindingKind, UnknownFinding},
    report::ReportStatus,
};

/// Something that is not to happen.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Criterion {
    /// `slower=20%`: the run, or one of its nodes, takes longer by more than that part.
    Slower(f64),
    /// `rows-changed=5%`: the rows of a node or an output changed by more than that part, in either direction.
    RowsChanged(f64),
    /// `plan-changed`: a node has a plan of another shape.
    PlanChanged,
    /// `schema-changed`: an output has other columns, or is gone.
    SchemaChanged,
    /// `drift`: the values of a column have moved by more than the thresholds.
    Drift,
    /// `finding=spill`: the run has a finding of that kind that the baseline did not have.
    Finding(FindingKind),
    /// `failed`: the run did not end well, or its manifest is not as it was written.
    Failed,
}

/// A text is not a criterion.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CriterionError {
    /// Nothing has that name.
    #[error(
        "{name:?} is not a criterion: expected slower=20%, rows-changed=5%, plan-changed, schema-changed, drift, finding=ID or failed"
    )]
    Unknown {
        /// What stands before the `=`.
        name: String,
    },
    /// It has a value, and takes none.
    #[error("{name} takes no value: expected {name}, found {name}={value}")]
    NoValue {
        /// The criterion.
        name: String,
        /// What stands behind the `=`.
        value: String,
    },
    /// It lacks its value.
    #[error("{name} lacks its share: expected a percentage of 0 or more, such as {name}=20%")]
    NoPart {
        /// The criterion.
        name: String,
    },
    /// Its part is not one.
    #[error("{value:?} is not a share for {name}: expected a percentage of 0 or more, such as {name}=20%")]
    Part {
        /// The criterion.
        name: String,
        /// What stands behind the `=`.
        value: String,
    },
    /// A part between 0 and 1, which may be meant as one of a whole.
    #[error(
        "{name}={value} is ambiguous: write {name}={percent}%, or {name}={value}% if that is what you mean"
    )]
    Fraction {
        /// The criterion.
        name: String,
        /// What stands behind the `=`.
        value: String,
        /// The same as percent of a whole.
        percent: f64,
    },
    /// The name is not a kind of finding.
    #[error(transparent)]
    Finding(#[from] UnknownFinding),
}

impl FromStr for Criterion {
    type Err = CriterionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.trim().split_once('=') {
            Some((name, value)) => (name, Some(value.trim())),
            None => (text, None),
        };
        // As people write them: in a file of CI nobody sees the case of a letter or which line joins two words.
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        let name = name.as_str();
        let part = || {
            let value = value.filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| CriterionError::NoPart { name: name.to_owned() })?;
            let number = value.strip_suffix('%');
            let percent = number.unwrap_or(value).trim().parse::<f64>().ok();
            if let Some(part) = percent.filter(|part| number.is_none() && *part > 0.0 && *part < 1.0) {
                // Rounded, as 0.07 is 7.000000000000001 percent.
                let percent = (part * 1e8).round() / 1e6;
                return Err(CriterionError::Fraction {
                    name: name.to_owned(),
                    value: value.to_owned(),
                    percent,
                });
            }
            let percent = percent.filter(|percent| percent.is_finite() && *percent >= 0.0);
            percent
                .map(|percent| percent / 100.0)
                .ok_or_else(|| CriterionError::Part { name: name.to_owned(), value: value.to_owned() })
        };
        match (name, value) {
            ("slower", _) => part().map(Self::Slower),
            ("rows-changed", _) => part().map(Self::RowsChanged),
            ("plan-changed", None) => Ok(Self::PlanChanged),
            ("schema-changed", None) => Ok(Self::SchemaChanged),
            ("drift", None) => Ok(Self::Drift),
            ("failed", None) => Ok(Self::Failed),
            // Without a value the error names the kinds that there are, as it does for a wrong one.
            ("finding", value) => Ok(Self::Finding(value.unwrap_or_default().parse()?)),
            ("plan-changed" | "schema-changed" | "drift" | "failed", Some(value)) => {
                Err(CriterionError::NoValue { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err(CriterionError::Unknown { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slower(part) => write!(f, "slower={}%", part * 100.0),
            Self::RowsChanged(part) => write!(f, "rows-changed={}%", part * 100.0),
            Self::PlanChanged => f.write_str("plan-changed"),
            Self::SchemaChanged => f.write_str("schema-changed"),
            Self::Drift => f.write_str("drift"),
            Self::Finding(kind) => write!(f, "finding={}", kind.id()),
            Self::Failed => f.write_str("failed"),
        }
    }
}

impl Comparison {
    /// Why a criterion could not be judged, where it could not: that it is not met then says nothing.
    pub fn unjudged(&self, criterion: &Criterion) -> Option<&str> {
        let part = match criterion {
            Criterion::Slower(_) => ComparedPart::Time,
            Criterion::PlanChanged => ComparedPart::Plans,
            Criterion::Finding(kind) if kind.is_of_plans() => ComparedPart::Plans,
            Criterion::Drift => ComparedPart::Values,
            Criterion::SchemaChanged | Criterion::RowsChanged(_) => ComparedPart::Outputs,
            Criterion::Finding(_) => ComparedPart::Nodes,
            Criterion::Failed => return None,
        };
        // What a node did that did not end well is not what it does.
        [part, ComparedPart::Nodes].into_iter().find_map(|part| self.why_not(part))
    }

    /// Why a part of the runs is not compared; `None` where it is.
    pub(super) fn why_not(&self, part: ComparedPart) -> Option<&str> {
        let of_part = self.not_compared.iter().find(|not_compared| not_compared.part == part);
        of_part.map(|found| found.why.as_str())
    }

    /// What met a criterion, a line each. What takes less than `min_ms` longer is as likely noise, and is not slower.
    pub fn meets(&self, criterion: &Criterion, min_ms: f64) -> Vec<String> {
        match criterion {
            Criterion::Slower(part) => {
                let nodes = self
                    .nodes
                    .iter()
                    .map(|node| (format!("node {}", display::name(&node.name)), node.duration_ms));
                let all = [("the run".to_owned(), self.duration_ms)].into_iter().chain(nodes);
                let slower =
                    all.filter_map(|(what, ms)| Some((what, ms.filter(|ms| ms.grew_by(*part, min_ms))?)));
                slower.map(|(what, ms)| format!("{what} took {}", times(&ms))).collect()
            }
            Criterion::RowsChanged(part) => {
                let nodes = self
                    .nodes
                    .iter()
                    .map(|node| (format!("node {}", display::name(&node.name)), node.rows_out));
                let outputs = self
                    .outputs
                    .iter()
                    .map(|output| (format!("output {}", display::name(&output.name)), output.rows));
                let changed = nodes
                    .chain(outputs)
                    .filter_map(|(what, rows)| Some((what, rows.filter(|rows| rows.changed_by(*part))?)));
                changed.map(|(what, rows)| format!("{what} has {}", rows_of(&rows))).collect()
            }
            Criterion::PlanChanged => {
                let plans = self.plan_changes.iter();
                let node = |node: &Option<String>| {
                    node.as_deref().map_or("no node".to_owned(), |node| display::name(node).into_owned())
                };
                plans.map(|change| format!("a plan of {} changed", node(&change.node))).collect()
            }
            Criterion::SchemaChanged => {
                let outputs = self.outputs.iter();
                outputs
                    .filter(|output| {
                        let columns = output.columns_gone.len() + output.columns_new.len();
                        // An output that is new breaks nobody who reads the others.
                        columns > 0 || (output.was_there && !output.is_there)
                    })
                    .map(|output| match output.is_there {
                        true => format!("output {} has other columns", display::name(&output.name)),
                        false => format!("output {} is gone", display::name(&output.name)),
                    })
                    .collect()
            }
            Criterion::Drift => {
                let columns = self.drifts.iter();
                columns.map(|drift| format!("{}: {}", drift.place(), drift.in_words())).collect()
            }
            Criterion::Finding(kind) => {
                let came = self.findings_came.iter().filter(|finding| finding.kind == *kind);
                came.map(|finding| finding.summary.clone()).collect()
            }
            Criterion::Failed if self.run.status != ReportStatus::Success => {
                vec!["the run did not end well".to_owned()]
            }
            // A changed manifest may claim success, so it cannot prove that the run was good.
            Criterion::Failed if self.run.manifest_is_damaged => {
                vec![
                    "manifest.json is damaged or was changed, so that how the run ended is not certain"
                        .to_owned(),
                ]
            }
            Criterion::Failed => Vec::new(),
        }
    }
}

/// A time beside that of the baselines: `1.30 s, was 1.00 s ±90 ms (+30 %)`.
pub(super) fn times(ms: &Measured) -> String {
    format!("{}, was {}{}", display::duration(ms.after), ms.before_in_words(display::duration), change(ms))
}

/// Rows beside those of the baselines.
pub(super) fn rows_of(rows: &Measured) -> String {
    format!(
        "{}, was {}{}",
        display::plural(rows.after as u64, "row"),
        rows.before_in_words(|rows| display::count(rows as u64)),
        change(rows)
    )
}

pub(super) fn change(measured: &Measured) -> String {
    measured.change.map(display::signed).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Criterion>) {
        assert_eq!(text.parse::<Criterion>().ok(), expected, "{text}");
    }

    #[test]
    fn criteria_are_read_as_they_are_written() {
        check("slower=20%", Some(Criterion::Slower(0.2)));
        check(" slower = 20 ", Some(Criterion::Slower(0.2)));
        check("rows-changed=0%", Some(Criterion::RowsChanged(0.0)));
        check("plan-changed", Some(Criterion::PlanChanged));
        check("schema-changed", Some(Criterion::SchemaChanged));
        check("finding=cross-join", Some(Criterion::Finding(FindingKind::CrossJoin)));
        check("failed", Some(Criterion::Failed));
        check("Rows_Changed = +5 %", Some(Criterion::RowsChanged(0.05)));
        check("PLAN-CHANGED", Some(Criterion::PlanChanged));
        for wrong in [
            "",
            "slow",
            "slower",
            "slower=",
            "slower=-1%",
            "slower=NaN",
            "plan-changed=1",
            "finding=x",
            "finding",
        ] {
            check(wrong, None);
        }
        for (text, expected) in [
            ("failed=1", "failed takes no value: expected failed, found failed=1"),
            ("drift=3", "drift takes no value: expected drift, found drift=3"),
            ("plan_changed=1%", "plan-changed takes no value: expected plan-changed, found plan-changed=1%"),
            ("slower", "slower lacks its share: expected a percentage of 0 or more, such as slower=20%"),
            ("slower=", "slower lacks its share: expected a percentage of 0 or more, such as slower=20%"),
            (
                "slower=x",
                "\"x\" is not a share for slower: expected a percentage of 0 or more, such as slower=20%",
            ),
            (
                "slower=0.2",
                "slower=0.2 is ambiguous: write slower=20%, or slower=0.2% if that is what you mean",
            ),
        ] {
            assert_eq!(text.parse::<Criterion>().unwrap_err().to_string(), expected);
        }
        for text in ["slower=20%", "rows-changed=5%", "finding=spill", "plan-changed", "failed"] {
            assert_eq!(text.parse::<Criterion>().unwrap().to_string(), text);
        }
    }
}
