//! The outputs and parameter tables in the settings.

use daglight::{
    outputs::{ParamTable, ParamTableError, Registry, RegistryError},
    policy::Policy,
    settings::{Resolved, ResolvedValue},
};

use crate::failure::Failure;

/// The registry of outputs and the parameter tables of the settings.
pub(crate) fn outputs_and_tables(
    resolved: &Resolved,
    policy: &Policy,
) -> Result<(Registry, Vec<ParamTable>), Failure> {
    let settings = &resolved.settings;
    let registry = Registry::new(&settings.outputs).map_err(|error| wrong_type(&error, resolved, policy))?;
    let param_tables = settings.param_tables.iter().map(|(name, table)| {
        let table = ParamTable::of_settings(name, table);
        // Here and not when a script reads it: until then, everything that comes before it would have run.
        let table = table.and_then(|table| table.check_file().map(|()| table));
        table.map_err(|error| of_param_table(name, error, resolved))
    });
    Ok((registry, param_tables.collect::<Result<_, _>>()?))
}

/// The error of a parameter table, with its origin.
fn of_param_table(name: &str, error: ParamTableError, resolved: &Resolved) -> Failure {
    let of_table =
        |value: &&ResolvedValue| value.path.starts_with(&["param_tables".to_owned(), name.to_owned()]);
    let is_given = |value: &&ResolvedValue| value.origin.file().is_some();
    let values: Vec<&ResolvedValue> = resolved.values().iter().filter(of_table).filter(is_given).collect();
    let called = |key: &str| values.iter().find(|value| value.path.get(2).is_some_and(|found| found == key));
    let place = called("rows").or_else(|| called("file")).or(values.first());
    let shown = place.map(|value| format!("setting {} ({}): {error}", value.key, value.origin));
    let file = place.and_then(|value| value.origin.file());
    let file = file.map(|(file, line)| (file.to_owned(), line));
    let is_of_engine = matches!(error, ParamTableError::Rows { .. } | ParamTableError::Register { .. });
    let failure = if is_of_engine { Failure::of_engine(error) } else { Failure::input(error) };
    let failure = shown.into_iter().fold(failure, Failure::shown_as);
    file.into_iter().fold(failure, |failure, (file, line)| failure.in_file(&file, line))
}

/// The error of an invalid column type in the registry.
fn wrong_type(error: &RegistryError, resolved: &Resolved, policy: &Policy) -> Failure {
    let RegistryError { output, column, source } = error;
    let values = resolved.values().iter();
    let of_type = values.filter(|value| value.path == ["outputs", output, "columns", column]);
    let place = of_type.map(|value| (value.key.clone(), value.origin.to_string())).next();
    let (key, origin) =
        place.unwrap_or_else(|| (format!("outputs.{output}.columns.{column}"), "code".to_owned()));
    let found = policy.redactor().setting_value(&source.text);
    Failure::input(format!(
        "setting {key} ({origin}): expected an SQL type such as BIGINT, or an Arrow type such as Int64, found {found}"
    ))
}
