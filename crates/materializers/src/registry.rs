//! The semantic registry: descriptions of outputs, and expectations about them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use arrow::datatypes::SchemaRef;
use daglight_run_bundle::Materialization;
use daglight_settings::OutputSettings;

use crate::{
    column_type::{ColumnType, UnknownType},
    written::Written,
};

/// The tag of an output's node with the way in which the output is kept: [`Materialization::name`].
pub const MATERIALIZATION_TAG: &str = "materialization";

/// The expected outputs, by external name. A registry without entries counts as not declared, and expects nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry {
    entries: BTreeMap<String, Entry>,
}

/// The registry's entry for an output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Who is responsible for it.
    pub owner: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// The columns that it must have. Empty: any columns are accepted.
    pub columns: BTreeMap<String, ColumnType>,
    /// The DAG that produces it. `None`: every run must produce it.
    pub dag: Option<String>,
}

/// An invalid type in the registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("outputs.{output:?}: the type of the column {column:?}")]
pub struct RegistryError {
    /// The output.
    pub output: String,
    /// The column.
    pub column: String,
    /// The problem with its type.
    #[source]
    pub source: UnknownType,
}

impl Registry {
    /// Creates the registry from a configuration.
    ///
    /// # Errors
    /// When the type of a column is invalid.
    pub fn new(settings: &BTreeMap<String, OutputSettings>) -> Result<Self, RegistryError> {
        let entries = settings.iter().map(|(name, output)| Ok((name.clone(), Entry::new(name, output)?)));
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }

    /// Whether there are any expectations.
    pub fn is_declared(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The entry for the output with that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The tags of an output's node: `materialization`, `materialized_name`, the entry's tags and its `owner`.
    pub fn tags(&self, name: &str, materialization: &Materialization) -> BTreeMap<String, String> {
        let mut tags = BTreeMap::new();
        if let Some(entry) = self.entry(name) {
            tags.extend(entry.tags.clone());
            tags.extend(entry.owner.iter().map(|owner| ("owner".to_owned(), owner.clone())));
        }
        // After those of the registry, which must not contradict the facts.
        tags.insert(MATERIALIZATION_TAG.to_owned(), materialization.name().to_owned());
        tags.insert("materialized_name".to_owned(), name.to_owned());
        tags
    }

    /// Compares what a run of a DAG has produced with the expectations, by name. `complete` is whether it has produced everything
    /// that it will.
    pub fn check(&self, dag: &str, produced: &[Produced], complete: bool) -> Vec<Finding> {
        if !self.is_declared() {
            return Vec::new();
        }
        let mut findings: Vec<Finding> = Vec::new();
        // The findings so far by output name, because an output may be written several times.
        let mut of_name: HashMap<&str, Vec<Finding>> = HashMap::new();
        for Produced { written, for_others } in produced {
            let finding = match self.entry(&written.name) {
                Some(entry) => drift(entry, &written.schema)
                    .map(|columns| Finding::Drifted { name: written.name.clone(), columns }),
                None => for_others.then(|| Finding::Unregistered {
                    name: written.name.clone(),
                    materialization: written.materialization.clone(),
                }),
            };
            let earlier = of_name.entry(&written.name).or_default();
            if let Some(finding) = finding.filter(|finding| !earlier.contains(finding)) {
                earlier.push(finding.clone());
                findings.push(finding);
            }
        }
        // Only for a complete run: one that failed has not produced everything.
        let missing = self.entries.iter().filter(|(name, entry)| {
            complete
                && entry.dag.as_deref().is_none_or(|of| of == dag)
                && !of_name.contains_key(name.as_str())
        });
        findings.extend(missing.map(|(name, _)| Finding::NotProduced { name: name.clone() }));
        findings
    }
}

impl Entry {
    fn new(name: &str, settings: &OutputSettings) -> Result<Self, RegistryError> {
        let columns = settings.columns.iter().map(|(column, text)| {
            let wrong = |source| RegistryError { output: name.to_owned(), column: column.clone(), source };
            Ok((column.clone(), text.parse().map_err(wrong)?))
        });
        Ok(Self {
            owner: settings.owner.clone(),
            description: settings.description.clone(),
            tags: settings.tags.clone(),
            columns: columns.collect::<Result<_, _>>()?,
            dag: settings.dag.clone(),
        })
    }
}

/// An output of a run, for comparison with the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Produced {
    /// The output.
    pub written: Written,
    /// Whether it is also available to others than the run's own nodes. Only those must be in the registry.
    pub for_others: bool,
}

/// A deviation from the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// An output without an entry.
    Unregistered {
        /// The output.
        name: String,
        /// How it is kept.
        materialization: Materialization,
    },
    /// An output with other columns.
    Drifted {
        /// The output.
        name: String,
        /// The differences, sorted by column.
        columns: Vec<ColumnDrift>,
    },
    /// An entry without an output.
    NotProduced {
        /// The entry.
        name: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unregistered { name, materialization } => {
                write!(f, "the output {name:?} ({materialization}) is not in the registry")
            }
            Self::Drifted { name, columns } => {
                write!(f, "the output {name:?} is not as the registry says: ")?;
                for (index, column) in columns.iter().enumerate() {
                    write!(f, "{}{column}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::NotProduced { name } => write!(f, "the registry has {name:?}, but nothing produced it"),
        }
    }
}

/// How a column differs from the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDrift {
    /// The column.
    pub column: String,
    /// The expected type; `None` if the registry does not have the column.
    pub expected: Option<String>,
    /// The actual type; `None` if the column is missing.
    pub found: Option<String>,
}

impl fmt::Display for ColumnDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = &self.column;
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(f, "column {column:?} is {found} instead of {expected}"),
            (Some(_), None) => write!(f, "column {column:?} is missing"),
            _ => write!(f, "column {column:?} is new"),
        }
    }
}

fn drift(entry: &Entry, schema: &SchemaRef) -> Option<Vec<ColumnDrift>> {
    // An entry without columns has an owner, but no expectations about the shape of the output.
    if entry.columns.is_empty() {
        return None;
    }
    let found: BTreeMap<&str, _> =
        schema.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect();
    let expected = entry.columns.iter().filter_map(|(column, expected)| {
        let found = found.get(column.as_str());
        let differs = found.is_none_or(|found| !expected.matches(found));
        differs.then(|| ColumnDrift {
            column: column.clone(),
            expected: Some(expected.to_string()),
            found: found.map(ToString::to_string),
        })
    });
    let new =
        found.iter().filter(|(column, _)| !entry.columns.contains_key(**column)).map(|(column, found)| {
            ColumnDrift { column: (*column).to_owned(), expected: None, found: Some(found.to_string()) }
        });
    let mut columns: Vec<ColumnDrift> = expected.chain(new).collect();
    columns.sort_by(|a, b| a.column.cmp(&b.column));
    (!columns.is_empty()).then_some(columns)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn registry(dag: Option<&str>) -> Registry {
        let risk = OutputSettings {
            owner: Some("ml".into()),
            tags: BTreeMap::from([("layer".into(), "gold".into())]),
            columns: BTreeMap::from([("id".into(), "BIGINT".into()), ("risk".into(), "DOUBLE".into())]),
            dag: dag.map(str::to_owned),
            ..OutputSettings::default()
        };
        Registry::new(&BTreeMap::from([("semantic.risk_v1".to_owned(), risk)])).unwrap()
    }

    fn produced(name: &str, columns: &[(&str, DataType)], for_others: bool) -> Produced {
        let fields: Vec<Field> =
            columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        Produced { written: Written::new(name, Materialization::View, schema), for_others }
    }

    fn risk() -> Produced {
        produced("semantic.risk_v1", &[("risk", DataType::Float64), ("id", DataType::Int64)], true)
    }

    #[track_caller]
    fn check(registry: &Registry, produced: &[Produced], complete: bool, expected: &[&str]) {
        let found: Vec<String> =
            registry.check("code::risk_v1", produced, complete).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn outputs_as_expected_are_not_findings() {
        check(&registry(None), &[risk(), produced("step", &[], false)], true, &[]);
        check(&Registry::default(), &[produced("other", &[], true)], true, &[]);
    }

    #[test]
    fn what_differs_is_said() {
        check(
            &registry(None),
            &[
                produced("semantic.risk_v1", &[("id", DataType::Utf8), ("score", DataType::Float64)], true),
                produced("other", &[], true),
                produced("other", &[], true),
            ],
            true,
            &[
                "the output \"semantic.risk_v1\" is not as the registry says: column \"id\" is Utf8 instead of BIGINT, \
                 column \"risk\" is missing, column \"score\" is new",
                "the output \"other\" (view) is not in the registry",
            ],
        );
    }

    #[test]
    fn only_what_a_run_should_have_produced_is_missed() {
        let missed = "the registry has \"semantic.risk_v1\", but nothing produced it";
        check(&registry(None), &[], true, &[missed]);
        check(&registry(None), &[], false, &[]);
        check(&registry(Some("code::risk_v1")), &[], true, &[missed]);
        check(&registry(Some("code::other_v1")), &[], true, &[]);
    }

    #[test]
    fn tags_come_from_the_entry() {
        let tags = registry(None).tags("semantic.risk_v1", &Materialization::files("JSON"));
        let expected = [
            ("layer", "gold"),
            ("materialization", "ndjson"),
            ("materialized_name", "semantic.risk_v1"),
            ("owner", "ml"),
        ];
        assert_eq!(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_type_that_does_not_exist_is_refused_with_its_place() {
        let columns = BTreeMap::from([("id".to_owned(), "BIGTINT".to_owned())]);
        let settings =
            BTreeMap::from([("t".to_owned(), OutputSettings { columns, ..OutputSettings::default() })]);
        let error = Registry::new(&settings).unwrap_err();
        assert_eq!(error.to_string(), "outputs.\"t\": the type of the column \"id\"");
        assert_eq!(error.source.text, "BIGTINT");
        let said = std::error::Error::source(&error).unwrap().to_string();
        assert!(said.contains("not a type") && !said.contains("BIGTINT"), "{said}");
    }
}
