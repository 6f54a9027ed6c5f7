//! Loading the layers that determine the values of settings.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::{Figment, Provider, providers::Serialized, value::Value};
use serde::Serialize;

use crate::{
    catalog::{PROFILE, SETTINGS},
    check::check,
    config_files::{FoundFiles, find_files},
    disclosure::Disclosure,
    layer::Layer,
    origin::Origin,
    profiles::{ChosenProfile, base_of, profile_of, take_profiles},
    project_servers::{check_project, keep_key_from_project, keep_lineage_key_from_project},
    resolved::Resolved,
    settings::Settings,
    settings_error::SettingsError,
};

/// Collects the layers of the configuration. Later ones take precedence:
///
/// 1. the defaults of the profile, with the changes from `[profiles.NAME]`;
/// 2. `~/.hamilton.conf`, or the file in `HAMILTON_CONFIG_URI`: the constants of Hamilton's Python SDK;
/// 3. `daglight/daglight.toml` in the user's configuration folder (`XDG_CONFIG_HOME`, by default `~/.config`);
/// 4. `daglight.toml` in the working directory or the nearest folder above it, up to the root of the repository or the home folder,
///    if it belongs to the user or root and nobody else can write to it ([`Resolved::refused`]);
/// 5. environment variables (their names are in [`SETTINGS`]);
/// 6. for the section `openlineage`, the variables `OPENLINEAGE__*`, and then `openlineage.yml` in the working directory (under the
///    same conditions), in `~/.openlineage`, or at the path in `OPENLINEAGE_CONFIG`: in the order of OpenLineage's own clients;
/// 7. code, including command line options.
///
/// ```
/// use daglight_settings::SettingsLoader;
///
/// let settings = SettingsLoader::new().with_variables([("HAMILTON_TELEMETRY_PROFILE", "prod")]).load()?;
/// assert_eq!(settings.profile, "prod");
/// assert_eq!(settings.capture.max_list_length, 20);
/// # Ok::<(), daglight_settings::SettingsError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SettingsLoader {
    files: Files,
    variables: BTreeMap<String, String>,
    code: Vec<Layer>,
    /// The first value given in code that is unusable.
    unusable: Option<Unusable>,
}

#[derive(Debug, Clone)]
struct Unusable {
    setting: String,
    origin: String,
    error: figment::Error,
}

#[derive(Debug, Clone, Default)]
enum Files {
    #[default]
    None,
    /// The files found for this working directory and the variables.
    Found(Option<PathBuf>),
    One(PathBuf),
}

impl SettingsLoader {
    /// No layers except the profile's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The layers of this process: its files and its environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the settings: all else has directory and variables as parameters"
    )]
    pub fn from_process() -> Self {
        Self { files: Files::Found(std::env::current_dir().ok()), ..Self::new() }
            .with_variables(process_variables())
    }

    /// Searches for configuration files like a process in `directory`, with the home folder from the variables.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.files = Files::Found(Some(directory.into()));
        self
    }

    /// Reads only this configuration file.
    #[must_use]
    pub fn with_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files = Files::One(file.into());
        self
    }

    /// Adds environment variables. Empty ones and those that are not settings are ignored.
    #[must_use]
    pub fn with_variables<N: Into<String>, T: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, text)| (name.into(), text.into()));
        // Compose files and CI systems set variables without a value to an empty text. That means "not set", as in the
        // OpenTelemetry specification.
        self.variables.extend(variables.filter(|(_, text): &(String, String)| !text.trim().is_empty()));
        self
    }

    /// Sets one value in code, with precedence over all other layers. `origin` describes its source, such as `option --profile`.
    #[must_use]
    pub fn with_value(mut self, origin: &str, key: &str, value: impl Serialize) -> Self {
        match Value::serialize(value) {
            Ok(value) => self.code.push(Layer::of_value(origin, key, value)),
            Err(error) => {
                // Kept for `load`: a builder method that fails in the middle of a chain would need a `?` after every value.
                self.unusable.get_or_insert(Unusable {
                    setting: key.to_owned(),
                    origin: origin.to_owned(),
                    error,
                });
            }
        }
        self
    }

    /// Resolves every setting.
    ///
    /// # Errors
    /// When a file cannot be read, a value is not what its setting expects, or a key is unknown. The error repeats values only as
    /// far as the [`Disclosure`] allows.
    pub fn load(&self) -> Result<Settings, SettingsError> {
        Ok(self.resolve()?.settings)
    }

    /// Resolves every setting, with the origin of each value.
    ///
    /// # Errors
    /// Like [`SettingsLoader::load`].
    pub fn resolve(&self) -> Result<Resolved, SettingsError> {
        self.resolve_layers().map_err(|error| error.disclosed(self.disclosure()))
    }

    /// How much errors about this configuration may repeat, and errors about anything else that is read before it is resolved.
    pub fn disclosure(&self) -> Disclosure {
        let found = self.read_files();
        let all_read = found.is_ok();
        let mut files = found.map(|found| found.layers).unwrap_or_default();
        let own = take_profiles(&mut files).unwrap_or_default();
        let variable =
            SETTINGS.iter().find(|setting| setting.key == PROFILE).and_then(|setting| setting.variable);
        let of_variable = variable.and_then(|name| self.variables.get(name)).map(|text| text.trim());
        let of_files = files.iter().filter_map(profile_of);
        let names: Vec<&str> =
            of_files.chain(of_variable).chain(self.code.iter().filter_map(profile_of)).collect();
        Disclosure::of_profiles(&names, |name| base_of(name, &own), all_read)
    }

    fn read_files(&self) -> Result<FoundFiles, SettingsError> {
        Ok(match &self.files {
            Files::None => FoundFiles { layers: Vec::new(), refused: Vec::new(), openlineage: Vec::new() },
            Files::Found(directory) => find_files(directory.as_deref(), &self.variables)?,
            Files::One(file) => FoundFiles {
                layers: vec![Layer::of_file(file)?],
                refused: Vec::new(),
                openlineage: Vec::new(),
            },
        })
    }

    fn resolve_layers(&self) -> Result<Resolved, SettingsError> {
        if let Some(Unusable { setting, origin, error }) = self.unusable.clone() {
            let (origin, source) = (Origin::new(origin), Box::new(error));
            return Err(SettingsError::Unusable { setting, origin, source });
        }
        // Lowest first: the order of this list is the order of precedence.
        let FoundFiles { mut layers, mut refused, openlineage } = self.read_files()?;
        let of_openlineage = openlineage.iter().filter_map(Layer::file);
        let files = layers.iter().filter_map(Layer::file).chain(of_openlineage).map(Path::to_owned).collect();
        let profiles = take_profiles(&mut layers)?;
        for (name, text) in &self.variables {
            layers.extend(Layer::of_variable(name, text)?);
        }
        layers.extend(openlineage);
        layers.extend(self.code.iter().cloned());
        let layers: Vec<Layer> = layers.into_iter().map(Layer::with_numbers).collect();
        // Each layer separately, before the merge: afterwards it is unknown which layer a value is from, and an error must contain
        // its file and line.
        for layer in &layers {
            check(layer, &layer.values, &mut Vec::new(), None)?;
            check_project(layer)?;
        }

        let chosen = ChosenProfile::of(&layers, &profiles)?;
        // The defaults depend on the profile, and the profile on the layers above them: so the profile is determined first, and the
        // defaults are inserted at the bottom.
        let mut defaults = Settings::of_profile(chosen.base);
        defaults.profile.clone_from(&chosen.name);
        defaults.environment.clone_from(&chosen.name);
        let defaults = Serialized::defaults(defaults).data().map_err(merge_error)?;
        let defaults = defaults.into_values().next().unwrap_or_default();
        let mut all = vec![Layer::new(format!("default of profile {}", chosen.base), defaults)];
        all.extend(chosen.own.into_iter().cloned());
        all.extend(layers);

        let merged = all.iter().cloned().fold(Figment::new(), Figment::merge);
        let mut settings: Settings = merged.extract().map_err(merge_error)?;
        for (name, table) in &mut settings.param_tables {
            if table.file.is_none() && table.rows.is_empty() {
                let key = format!("param_tables.{name}");
                let given_by = all.iter().rev().find(|layer| layer.value(&key).is_some());
                let origin =
                    given_by.map_or_else(|| Origin::new("code".to_owned()), |layer| layer.origin(&key));
                return Err(SettingsError::no_parameters(key, origin));
            }
            let rows = format!("param_tables.{name}.rows");
            // Merging sorts a TOML table by key. Only the layer has the original order of its columns.
            let given_by = all.iter().rev().find(|layer| layer.value(&rows).is_some());
            table.columns = given_by.map(|layer| layer.columns(&rows).to_vec()).unwrap_or_default();
        }
        // After the merge, because it depends on which layer has set each of three settings.
        refused.extend(keep_key_from_project(&mut settings.tracker, &all));
        refused.extend(keep_lineage_key_from_project(&mut settings, &all));
        let mut resolved = Resolved::new(settings, chosen.base, files, &merged, &all);
        resolved.refused = refused;
        Ok(resolved)
    }
}

fn merge_error(error: figment::Error) -> SettingsError {
    SettingsError::Merge { source: Some(Box::new(error)) }
}

/// The variables of this process. Invalid UTF-8 becomes U+FFFD, which no setting accepts.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge of the settings: all else has directory and variables as parameters"
)]
fn process_variables() -> impl Iterator<Item = (String, String)> {
    // `vars_os`, because `vars` panics at any variable that is not UTF-8, even an unrelated one.
    std::env::vars_os().map(|(name, text)| (name.to_string_lossy().into(), text.to_string_lossy().into()))
}
