//! Finding the configuration files of a process.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::value::Value;

use crate::{
    catalog::{TRUSTED_FOLDERS, TRUSTED_FOLDERS_VARIABLE},
    layer::Layer,
    openlineage_config::{misspelled_lineage_variables, openlineage_config},
    settings_error::SettingsError,
    trust::{Refusal, Trusted, distrusted_because, is_file},
};

/// The name of the configuration file.
const FILE_NAME: &str = "daglight.toml";
/// The configuration file of Hamilton's Python SDK in the home folder, unless a variable sets another path.
const SDK_FILE_NAME: &str = ".hamilton.conf";
const SDK_FILE_VARIABLE: &str = "HAMILTON_CONFIG_URI";

/// The configuration files that were found.
pub(crate) struct FoundFiles {
    /// The trusted ones; later ones take precedence.
    pub(crate) layers: Vec<Layer>,
    pub(crate) refused: Vec<Refusal>,
    /// OpenLineage's own configuration, which takes precedence over the variables.
    pub(crate) openlineage: Vec<Layer>,
}

/// The configuration files for a working directory and environment.
pub(crate) fn find_files(
    directory: Option<&Path>,
    variables: &BTreeMap<String, String>,
) -> Result<FoundFiles, SettingsError> {
    let folder = |name: &str| variables.get(name).map(PathBuf::from);
    let home = folder("HOME").or_else(|| folder("USERPROFILE"));
    let mut layers = Vec::new();
    let named = variables.get(SDK_FILE_VARIABLE).map(|named| match (named.strip_prefix("~/"), &home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(named),
    });
    let mut refused = Vec::new();
    let usual =
        || home.as_ref().map(|home| home.join(SDK_FILE_NAME)).filter(|file| is_file(file, &mut refused));
    let sdk_file = named.or_else(usual);
    layers.extend(sdk_file.map(|file| Layer::of_sdk_file(&file)).transpose()?);

    let config_dir = folder("XDG_CONFIG_HOME")
        // XDG base directory specification: a relative path is invalid and must be ignored.
        .filter(|dir| dir.is_absolute())
        .or_else(|| folder("APPDATA"))
        .or_else(|| home.as_ref().map(|home| home.join(".config")));
    let of_user =
        config_dir.map(|dir| dir.join("daglight").join(FILE_NAME)).filter(|file| is_file(file, &mut refused));
    layers.extend(of_user.as_deref().map(Layer::of_file).transpose()?);

    let projects = directory.map(|directory| project_folders(directory, home.as_deref())).unwrap_or_default();
    let mut files = projects.iter().map(|dir| dir.join(FILE_NAME));
    // Only the nearest one. If those of all parent folders were merged, a distant file could change the settings of a project.
    let of_project =
        files.find(|file| is_file(file, &mut refused)).filter(|file| Some(file) != of_user.as_ref());
    // Last, because the user's layers determine which folders are trusted. A project cannot make itself trusted.
    let trusted = trusted_folders(&layers, variables)?;
    if let Some(file) = of_project {
        match distrusted_because(&file, &trusted) {
            None => layers.push(Layer::of_file(&file)?.of_project()),
            Some(why) => refused.push(Refusal { what: file.display().to_string(), why }),
        }
    }
    let openlineage = openlineage_config(directory, variables, &trusted)?;
    refused.extend(openlineage.refused);
    refused.extend(misspelled_lineage_variables(variables));
    Ok(FoundFiles { layers, refused, openlineage: openlineage.layers })
}

/// The folders in which a project's file is searched for, nearest first: up to the root of the repository, or else to the home
/// folder. Outside both it is only the directory itself, because folders further up do not belong to a project.
fn project_folders<'a>(directory: &'a Path, home: Option<&Path>) -> Vec<&'a Path> {
    let home = home.and_then(|home| home.canonicalize().ok());
    let is_home = |dir: &Path| home.is_some() && dir.canonicalize().ok() == home;
    // Up to the repository or the home folder, like other tools that search for a project's file: folders above may belong to
    // anyone, such as `/tmp`.
    let last = directory.ancestors().position(|dir| dir.join(".git").exists() || is_home(dir));
    directory.ancestors().take(last.unwrap_or(0) + 1).collect()
}

/// The folders in the variable, or else in the user's own file.
fn trusted_folders(layers: &[Layer], variables: &BTreeMap<String, String>) -> Result<Trusted, SettingsError> {
    let variable = variables.get(TRUSTED_FOLDERS_VARIABLE);
    let by_variable = variable.map(|text| Layer::of_variable(TRUSTED_FOLDERS_VARIABLE, text)).transpose()?;
    let mut strongest_first = by_variable.iter().flatten().chain(layers.iter().rev());
    let found = strongest_first.find_map(|layer| layer.value(TRUSTED_FOLDERS)?.as_array());
    let names = found.unwrap_or_default().iter().filter_map(Value::as_str);
    Ok(Trusted::new(names.map(PathBuf::from), variables))
}
