//! The defaults of the settings of a session: those of DataFusion, and those of engines that add their own settings.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use datafusion::config::ConfigOptions;

type Settings = BTreeMap<String, Option<String>>;

/// Those of DataFusion.
static DEFAULTS: LazyLock<Settings> = LazyLock::new(|| settings(&ConfigOptions::default()).collect());

/// Those of engines, as a session had them before anybody changed one: DataFusion does not say what the defaults of extensions are.
static OF_ENGINES: Mutex<Settings> = Mutex::new(Settings::new());

fn settings(options: &ConfigOptions) -> impl Iterator<Item = (String, Option<String>)> {
    options.entries().into_iter().map(|entry| (entry.key, entry.value))
}

/// The settings of extensions have their defaults in these options.
pub(crate) fn learn_defaults(options: &ConfigOptions) {
    let of_extensions = settings(options).filter(|(key, _)| !DEFAULTS.contains_key(key));
    OF_ENGINES.lock().unwrap_or_else(PoisonError::into_inner).extend(of_extensions);
}

/// The settings that are not the default, each with whether it takes numbers.
pub(crate) fn changed(options: &ConfigOptions) -> Vec<(String, String, bool)> {
    let of_engines = OF_ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    let default = |key: &str| DEFAULTS.get(key).or_else(|| of_engines.get(key));
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    let changed = settings(options).filter(|(key, value)| default(key) != Some(value));
    changed
        .map(|(key, value)| {
            let takes_numbers = default(&key).and_then(Option::as_deref).is_some_and(is_number);
            (key, value.unwrap_or_default(), takes_numbers)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use datafusion::{common::extensions_options, config::ConfigExtension};

    use super::*;

    extensions_options! {
        /// Settings of an engine.
        struct EngineOptions {
            /// How many.
            pub count: usize, default = 3
        }
    }

    impl ConfigExtension for EngineOptions {
        const PREFIX: &'static str = "engine";
    }

    #[test]
    fn settings_of_an_engine_are_changed_where_they_are_not_what_it_came_with() {
        let mut options = ConfigOptions::default();
        options.extensions.insert(EngineOptions::default());
        let named = |options: &ConfigOptions| {
            let changed = changed(options).into_iter();
            changed.filter(|(key, ..)| key.ends_with("count")).map(|(_, value, _)| value).collect::<Vec<_>>()
        };
        assert_eq!(named(&options), ["3"]);
        learn_defaults(&options);
        assert_eq!(named(&options).len(), 0);
        options.set("engine.count", "4").unwrap();
        assert_eq!(named(&options), ["4"]);
    }
}
