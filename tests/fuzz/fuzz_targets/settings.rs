//! Whatever is in the files of settings and in the environment, it becomes settings, or an error that can be shown.
//!
//! An input is these files, and `environment` with a line `NAME=value` for each variable.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::{cell::OnceCell, fs};

use daglight_capture_policy::with_causes;
use daglight_fuzz::{fill, scratch, sections};
use daglight_openlineage::Target;
use daglight_settings::{Resolved, SettingsLoader};
use daglight_tracker_client::Connection;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const FILES: [&str; 4] =
    ["project/daglight.toml", "project/openlineage.yml", ".config/daglight/daglight.toml", ".hamilton.conf"];

/// Variables that name files, which an input must not choose.
const OF_FILES: [&str; 6] =
    ["APPDATA", "HAMILTON_CONFIG_URI", "HOME", "OPENLINEAGE_CONFIG", "USERPROFILE", "XDG_CONFIG_HOME"];

thread_local! {
    static HOME: OnceCell<TempDir> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    HOME.with(|home| {
        let home = home.get_or_init(scratch).path();
        fs::create_dir_all(home.join("project")).unwrap();
        fill(home, &FILES, input);
        let environment =
            sections(input).into_iter().find(|(name, _)| *name == b"environment").unwrap_or_default().1;
        let environment = String::from_utf8_lossy(environment);
        let variables = environment.lines().filter_map(|line| line.split_once('='));
        let loader = SettingsLoader::new()
            .with_directory(home.join("project"))
            .with_variables(variables.filter(|(name, _)| !OF_FILES.contains(name)))
            .with_variables([("HOME", home.to_str().unwrap())]);
        let _ = loader.disclosure();
        match loader.resolve() {
            Ok(resolved) => read(&resolved),
            Err(error) => {
                let shown = with_causes(&error);
                assert!(!shown.is_empty());
                // The same layers, the same error.
                assert_eq!(with_causes(&loader.load().unwrap_err()), shown);
            }
        }
    });
});

fn read(resolved: &Resolved) {
    assert!(!format!("{resolved} {resolved:?} {}", resolved.to_json()).is_empty());
    let settings = &resolved.settings;
    let _ = settings.policy();
    let _ = Connection::from_settings(&settings.tracker);
    let _ = Target::from_settings(&settings.openlineage);
}
