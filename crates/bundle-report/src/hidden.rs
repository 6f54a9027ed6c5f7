//! What the policy of a run has hidden in its bundle, according to its settings, and how much of the run is affected.

use daglight_capture_policy::REDACTED;
use daglight_run_bundle::{Manifest, PlanBundle};

use crate::report::HiddenCount;

/// The replacement for a literal in a statement.
const LITERAL: char = '?';
/// The subject of the counts of statements.
const IN_STATEMENTS: [&str; 2] = ["in the statements of plans"; 2];

/// Counts of what may contain hidden parts.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    /// Errors and warnings.
    pub(crate) problems: u64,
    /// Nodes that are inputs or parameters.
    pub(crate) inputs: u64,
    /// Nodes that returned rows.
    pub(crate) nodes_with_rows: u64,
    /// Queries that were executed.
    pub(crate) queries: u64,
    /// Columns with a summary.
    pub(crate) columns: u64,
    /// Outputs with a location.
    pub(crate) places: u64,
    /// Literals and credentials in statements.
    pub(crate) statements: StatementCounts,
}

/// What was hidden in the statements of the plans so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct StatementCounts {
    literals: u64,
    credentials: u64,
}

impl StatementCounts {
    pub(crate) fn add(&mut self, plan: &PlanBundle) {
        let sql = plan.sql.as_deref().unwrap_or_default();
        self.literals = self.literals.saturating_add(sql.matches(LITERAL).count() as u64);
        self.credentials = self.credentials.saturating_add(sql.matches(REDACTED).count() as u64);
    }
}

/// A count, with its noun in singular and plural.
type Counted = (fn(&Counts) -> u64, [&'static str; 2]);

/// Policy settings with the values under which something is hidden, what that is, and how it is counted.
const HIDDEN: &[(&str, &str, &str, Option<Counted>)] = &[
    ("sql_text", "none", "SQL", Some((|counts| counts.queries, ["query", "queries"]))),
    (
        "sql_text",
        "without_literals",
        "literals of SQL",
        Some((|counts| counts.statements.literals, IN_STATEMENTS)),
    ),
    (
        "error_values",
        "false",
        "values in errors",
        Some((|counts| counts.problems, ["error or warning", "errors and warnings"])),
    ),
    (
        "inputs",
        "false",
        "values of inputs and parameters",
        Some((|counts| counts.inputs, ["input", "inputs"])),
    ),
    ("documentation", "false", "documentation of nodes", None),
    ("paths", "none", "paths", Some((|counts| counts.places, ["output", "outputs"]))),
    ("paths", "file_name", "folders of paths", Some((|counts| counts.places, ["output", "outputs"]))),
    ("paths", "without_values", "values in paths", Some((|counts| counts.places, ["output", "outputs"]))),
    (
        "data_statistics",
        "false",
        "summaries of data",
        Some((|counts| counts.nodes_with_rows, ["node with rows", "nodes with rows"])),
    ),
    ("top_values", "false", "most frequent values", Some((|counts| counts.columns, ["column", "columns"]))),
    (
        "text_min_max",
        "false",
        "least and greatest texts",
        Some((|counts| counts.columns, ["column", "columns"])),
    ),
    ("preview_rows", "0", "first rows", Some((|counts| counts.queries, ["query", "queries"]))),
    ("command_line", "false", "command line", None),
    ("host_facts", "false", "facts of the machine", None),
];

/// What was hidden, as text, and how much of the run is affected, if that can be counted and is not zero.
pub(crate) fn hidden(manifest: &Manifest, counts: &Counts) -> (Vec<String>, Vec<HiddenCount>) {
    let of = |what: &str, count: u64, [one, several]: [&str; 2]| {
        let of = if count == 1 { one } else { several };
        (count > 0).then(|| HiddenCount { what: what.to_owned(), count, of: of.to_owned() })
    };
    let is_set = |(setting, value, ..): &&(&str, &str, &str, _)| manifest.policy[*setting] == *value;
    let (mut words, mut counted) = (Vec::new(), Vec::new());
    for (_, _, what, count) in HIDDEN.iter().filter(is_set) {
        words.push((*what).to_owned());
        counted.extend(count.and_then(|(count, unit)| of(what, count(counts), unit)));
    }
    // Under every policy.
    if let Some(credentials) = of("credentials", counts.statements.credentials, IN_STATEMENTS) {
        words.push(credentials.what.clone());
        counted.push(credentials);
    }
    (words, counted)
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{CAPTURE_SETTINGS, CaptureSettings, Profile};
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture;

    /// The manifest of a run under a profile. It contains settings as text.
    fn under(profile: Profile) -> Manifest {
        let settings = serde_json::to_value(CaptureSettings::of_profile(profile)).unwrap();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let policy = settings.as_object().unwrap().iter();
        let policy = policy.map(|(name, value)| (name.clone(), text(value).into())).collect();
        Manifest { policy: Value::Object(policy), ..fixture::manifest() }
    }

    #[test]
    fn what_a_profile_hides_is_named() {
        let hidden = |manifest: &Manifest| hidden(manifest, &Counts::default()).0;
        assert_eq!(hidden(&under(Profile::Dev)), ["command line"]);
        let of_prod = hidden(&under(Profile::Prod));
        for what in ["literals of SQL", "values in errors", "values in paths", "documentation of nodes"] {
            assert!(of_prod.contains(&what.to_owned()), "{what}: {of_prod:?}");
        }
        assert_eq!(hidden(&Manifest { policy: json!(null), ..fixture::manifest() }), [""; 0]);
    }

    #[test]
    fn what_is_hidden_is_counted_by_its_kind() {
        let mut statements = StatementCounts::default();
        for sql in ["SELECT ? WHERE a = ?", "SET password = '[redacted]'"] {
            statements.add(&PlanBundle { sql: Some(sql.to_owned()), ..PlanBundle::default() });
        }
        let counts = Counts { problems: 3, queries: 1, columns: 0, statements, ..Counts::default() };
        let counted = |profile| {
            let (_, counted) = hidden(&under(profile), &counts);
            counted
                .iter()
                .map(|hidden| format!("{}: {} {}", hidden.what, hidden.count, hidden.of))
                .collect::<Vec<_>>()
        };
        let credentials = "credentials: 1 in the statements of plans";
        assert_eq!(counted(Profile::Dev), [credentials]);
        let of_prod = [
            "literals of SQL: 2 in the statements of plans",
            "values in errors: 3 errors and warnings",
            "first rows: 1 query",
            credentials,
        ];
        assert_eq!(counted(Profile::Prod), of_prod);
    }

    #[test]
    fn each_setting_that_hides_is_one_of_the_policy() {
        for (setting, ..) in HIDDEN {
            let key = format!("capture.{setting}");
            assert!(CAPTURE_SETTINGS.iter().any(|known| known.key == key), "{key}");
        }
    }
}
