//! The layers that give settings their values.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    str::FromStr,
};

use daglight_capture_policy::Profile;
use figment::{
    Figment, Provider,
    providers::Serialized,
    value::{Dict, Value},
};
use serde::Serialize;

use crate::{
    catalog::SETTINGS,
    layer::{FoundFiles, Layer, Origin, find_files, process_variables},
    resolved::Resolved,
    setting::{Setting, SettingKind},
    settings::Settings,
    settings_error::SettingsError,
    trust::{check_project, keep_key_from_project, keep_lineage_key_from_project},
};

/// The table of a file that holds custom profiles.
pub(crate) const PROFILES: &str = "profiles";
/// The key that says which built-in profile such a profile starts from.
pub(crate) const EXTENDS: &str = "extends";
/// The setting that says which profile is in force.
pub(crate) const PROFILE: &str = "profile";

/// Collects the layers of the configuration. Later ones win:
///
/// 1. the defaults of the profile, and what `[profiles.NAME]` changes of them;
/// 2. `~/.hamilton.conf`, or the file that `HAMILTON_CONFIG_URI` names: the constants of Hamilton's Python SDK;
/// 3. `daglight/daglight.toml` in the user's configuration folder (`XDG_CONFIG_HOME`, by default `~/.config`);
/// 4. `daglight.toml` in the working directory or the nearest folder above it, up to the root of the repository or the
///    home folder, when it belongs to the user or root and nobody else may write it ([`Resolved::refused`]);
/// 5. environment variables ([`SETTINGS`] has their names);
/// 6. for the section `openlineage`, the variables `OPENLINEAGE__*`, and then `openlineage.yml` in the working directory (under
///    the same conditions), in `~/.openlineage`, or where `OPENLINEAGE_CONFIG` names it: in the order of OpenLineage's own clients;
/// 7. code, options of the command line among it.
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
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) code: Vec<Layer>,
    /// The first value given in code that cannot be one.
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
    /// Those that are found for this working directory and the variables.
    Found(Option<PathBuf>),
    One(PathBuf),
}

impl SettingsLoader {
    /// No layer but the profile's defaults.
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

    /// Looks for configuration files as a process in `directory` would, with the home folder that the variables name.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.files = Files::Found(Some(directory.into()));
        self
    }

    /// Reads this configuration file and no other.
    #[must_use]
    pub fn with_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files = Files::One(file.into());
        self
    }

    /// Adds environment variables. Empty ones and those that are not settings are left out.
    #[must_use]
    pub fn with_variables<N: Into<String>, T: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, text)| (name.into(), text.into()));
        // Compose files and CI systems set variables that they have no value for to nothing. It means "not set" there,
        // as in the OpenTelemetry specification.
        self.variables.extend(variables.filter(|(_, text): &(String, String)| !text.trim().is_empty()));
        self
    }

    /// Sets one value in code, above all other layers. `origin` says who did, such as `option --profile`.
    #[must_use]
    pub fn with_value(mut self, origin: &str, key: &str, value: impl Serialize) -> Self {
        match Value::serialize(value) {
            Ok(value) => self.code.push(Layer::of_value(origin, key, value)),
            Err(error) => {
                // Kept for `load`: a builder that fails in the middle of a chain would need a `?` behind each value
                // that cannot fail.
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
    /// When a file cannot be read, a value is not what its setting expects, or a key is unknown. The error repeats values
    /// as far as the [`Disclosure`](crate::Disclosure) allows.
    pub fn load(&self) -> Result<Settings, SettingsError> {
        Ok(self.resolve()?.settings)
    }

    /// Resolves every setting, and says of each where its value came from.
    ///
    /// # Errors
    /// As [`SettingsLoader::load`].
    pub fn resolve(&self) -> Result<Resolved, SettingsError> {
        self.resolve_layers().map_err(|error| error.disclosed(self.disclosure()))
    }

    pub(crate) fn read_files(&self) -> Result<FoundFiles, SettingsError> {
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
        // Weakest first: the order of this list is the order of precedence.
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
        // Each layer by itself, before the merge: afterwards nothing shows which of them wrote a value, and an error
        // must name its file and line.
        for layer in &layers {
            check(layer, &layer.values, &mut Vec::new(), None)?;
            check_project(layer)?;
        }

        let chosen = ChosenProfile::of(&layers, &profiles)?;
        // The defaults depend on the profile, and the profile on the layers above them: hence it is looked for
        // first, and the defaults are put below.
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
            let rows = format!("param_tables.{name}.rows");
            // A merged table of TOML is sorted by key. The order in which its columns are written is in the layer
            // alone.
            let given_by = all.iter().rev().find(|layer| layer.value(&rows).is_some());
            table.columns = given_by.map(|layer| layer.columns(&rows).to_vec()).unwrap_or_default();
        }
        // After the merge, because it depends on which layer has won for each of three settings together.
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

/// A custom profile.
pub(crate) struct OwnProfile {
    pub(crate) base: Profile,
    /// What each file changes of the base.
    layers: Vec<Layer>,
}

/// Takes the profiles out of the files. One that several files know has what any of them says.
pub(crate) fn take_profiles(files: &mut [Layer]) -> Result<BTreeMap<String, OwnProfile>, SettingsError> {
    let mut profiles = BTreeMap::new();
    for file in files {
        let Some(tables) = file.values.remove(PROFILES) else { continue };
        let Value::Dict(_, tables) = tables else {
            return Err(SettingsError::no_table(PROFILES.to_owned(), &tables, file.origin(PROFILES)));
        };
        for (name, table) in tables {
            let path = format!("{PROFILES}.{name}");
            let origin = file.origin(&path);
            if let Ok(profile) = Profile::from_str(&name) {
                return Err(SettingsError::BuiltInProfile { profile, origin });
            }
            let Value::Dict(_, mut values) = table else {
                return Err(SettingsError::no_table(path, &table, origin));
            };
            let base = match values.remove(EXTENDS) {
                Some(base) => Some(base_profile(&base, &path, file)?),
                None => None,
            };
            let layer = file.below(&path, values, format!("profile {name} in {}", file.name)).with_numbers();
            check(&layer, &layer.values, &mut Vec::new(), Some(&path))?;
            check_project(&layer)?;
            let own = profiles.entry(name).or_insert(OwnProfile { base: Profile::Dev, layers: Vec::new() });
            // A profile of the user's own can be spread over the files of user and project.
            own.layers.push(layer);
            match base {
                Some(base) => own.base = base,
                None if own.layers.len() > 1 => {}
                None => {
                    let missing = Value::from(figment::value::Empty::None);
                    return Err(extends_error(&missing, &path, origin));
                }
            }
        }
    }
    Ok(profiles)
}

fn base_profile(base: &Value, path: &str, file: &Layer) -> Result<Profile, SettingsError> {
    let known = base.as_str().and_then(|name| Profile::from_str(name).ok());
    known.ok_or_else(|| extends_error(base, path, file.origin(&format!("{path}.{EXTENDS}"))))
}

fn extends_error(found: &Value, path: &str, origin: Origin) -> SettingsError {
    SettingsError::value(
        format!("{path}.{EXTENDS}"),
        SettingKind::OneOf(&["dev", "ci", "prod"]),
        found,
        origin,
    )
}

/// The profile in force.
struct ChosenProfile<'a> {
    name: String,
    base: Profile,
    own: Vec<&'a Layer>,
}

impl<'a> ChosenProfile<'a> {
    fn of(layers: &[Layer], profiles: &'a BTreeMap<String, OwnProfile>) -> Result<Self, SettingsError> {
        // Strongest first.
        let given = layers.iter().rev().find_map(|layer| Some((profile_of(layer)?, layer)));
        let Some((name, layer)) = given else {
            let base = Profile::default();
            return Ok(Self { name: base.to_string(), base, own: Vec::new() });
        };
        let (base, own) = match (Profile::from_str(name), profiles.get(name)) {
            (Ok(profile), _) => (profile, Vec::new()),
            (Err(_), Some(own)) => (own.base, own.layers.iter().collect()),
            (Err(_), None) => {
                let built_in = Profile::ALL.iter().map(Profile::to_string);
                return Err(SettingsError::UnknownProfile {
                    name: Some(name.to_owned()),
                    known: built_in.chain(profiles.keys().cloned()).collect(),
                    origin: layer.origin(PROFILE),
                });
            }
        };
        Ok(Self { name: name.to_owned(), base, own })
    }
}

/// The profile that a layer names.
pub(crate) fn profile_of(layer: &Layer) -> Option<&str> {
    layer.values.get(PROFILE)?.as_str()
}

/// Refuses keys that are not settings and values that their settings cannot have, with the place where they are.
/// `profile` is the table that the values are in, if they are those of a profile.
fn check(
    layer: &Layer,
    values: &Dict,
    path: &mut Vec<String>,
    profile: Option<&str>,
) -> Result<(), SettingsError> {
    for (name, value) in values {
        path.push(name.clone());
        let key = path.join(".");
        let shown = profile.map_or_else(|| key.clone(), |table| format!("{table}.{key}"));
        let is_known = SETTINGS.iter().any(|setting| setting.has_prefix(path));
        match (Setting::find(path), value) {
            _ if !is_known || (profile.is_some() && key == PROFILE) => {
                return Err(unknown(shown, path, profile, layer.origin(&key)));
            }
            (Some(setting), value) if setting.kind.accepts(value) => {}
            (Some(setting), value) => {
                return Err(SettingsError::value(shown, setting.kind, value, layer.origin(&key)));
            }
            (None, Value::Dict(_, inner)) => check(layer, inner, path, profile)?,
            (None, other) => return Err(SettingsError::no_table(shown, other, layer.origin(&key))),
        }
        path.pop();
    }
    Ok(())
}

/// The error of a key that is not a setting, with what it may be meant to be.
fn unknown(shown: String, path: &[String], profile: Option<&str>, origin: Origin) -> SettingsError {
    let (_, table) = path.split_last().unwrap_or((&shown, &[]));
    let (more, not_here) = match profile {
        Some(_) => (EXTENDS, PROFILE),
        None => (PROFILES, ""),
    };
    let names_of = |table: &[String]| {
        let more = Some(more).filter(|_| table.is_empty());
        let names = Setting::names_in(table).into_iter().chain(more).filter(|name| *name != not_here);
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let keys = SETTINGS.iter().filter_map(|setting| setting.key_in(table));
    let mut known: BTreeSet<String> = keys.chain(names_of(&[])).collect();
    // It is spelled as it should be, and nothing else is meant.
    if path == [not_here] {
        known.clear();
    }
    SettingsError::unknown(shown, known, names_of(table), origin)
}
