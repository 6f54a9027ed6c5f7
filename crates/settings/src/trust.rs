//! Which files and servers of a project are trusted: it may be somebody else's.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use figment::value::Value;

use crate::{
    catalog::{SETTINGS, TRUSTED_FOLDERS, TRUSTED_FOLDERS_VARIABLE, TRUSTED_SERVERS},
    layer::Layer,
    settings::{Settings, TrackerSettings},
    settings_error::SettingsError,
};

/// A file or setting that does not count, because it may be somebody else's. `Display` is a sentence for users.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The file, or the setting with its place.
    pub what: String,
    /// Why, and how it can be made to count.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not count: {}", self.what, self.why)
    }
}

/// Whose files count.
pub(crate) struct Trusted {
    folders: Vec<PathBuf>,
    users: Vec<u32>,
}

impl Trusted {
    /// The user, root, and the folders that the user trusts. Root that `sudo` made of a user trusts this user, too.
    pub(crate) fn new(
        folders: impl IntoIterator<Item = PathBuf>,
        variables: &BTreeMap<String, String>,
    ) -> Self {
        let me = effective_user();
        let mut users = vec![0, me];
        if me == 0 {
            // Root trusts the user who has become it, and nobody else for that variable: who is not root can set it
            // to anything.
            users.extend(variables.get("SUDO_UID").and_then(|id| id.parse::<u32>().ok()));
        }
        Self { folders: folders.into_iter().collect(), users }
    }

    fn has_folder_of(&self, file: &Path) -> bool {
        self.folders.iter().any(|folder| {
            folder == Path::new("*") || folder.canonicalize().is_ok_and(|folder| file.starts_with(folder))
        })
    }
}

/// Why a project's file does not count. `None` when it does: it and its folder belong to somebody who is trusted, and
/// nobody else may write them.
#[cfg(unix)]
pub(crate) fn distrusted_because(file: &Path, trusted: &Trusted) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;

    const GROUP_WRITES: u32 = 0o020;
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;

    // Both ends of a link: who may write where it stands can lead it elsewhere, and who may write where it leads can
    // change the file.
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    if trusted.has_folder_of(&real) {
        return None;
    }
    let advice = || {
        let folder = real.parent().unwrap_or(&real).display();
        format!(
            "to trust it, set {TRUSTED_FOLDERS_VARIABLE}={folder}, or {TRUSTED_FOLDERS} in your own daglight.toml"
        )
    };
    let folders = [real.parent(), file.parent()].into_iter().flatten();
    for path in folders.chain([real.as_path()]) {
        // Refused where the system does not say: a file that cannot be looked at cannot be vouched for.
        let Ok(metadata) = path.metadata() else {
            return Some(format!("its owner is not known; {}", advice()));
        };
        let what = if path == real { "it" } else { "its folder" };
        let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode());
        if !trusted.users.contains(&owner) {
            let me = effective_user();
            return Some(format!("{what} belongs to user {owner}, and you are user {me}; {}", advice()));
        }
        // Many systems give each user a group of the same number, and let it write.
        let is_own_group = group == owner && owner != 0;
        // As `/tmp`: anybody may create there, and nobody may replace what others have created.
        let is_sticky = metadata.is_dir() && mode & STICKY != 0;
        let open = (mode & OTHERS_WRITE != 0) || (mode & GROUP_WRITES != 0 && !is_own_group);
        if open && !is_sticky {
            return Some(format!("others may write {what} (mode {:03o}); {}", mode & 0o777, advice()));
        }
    }
    None
}

/// Other systems keep the folders of users apart.
#[cfg(not(unix))]
pub(crate) fn distrusted_because(_file: &Path, _trusted: &Trusted) -> Option<String> {
    None
}

#[cfg(unix)]
fn effective_user() -> u32 {
    uzers::get_effective_uid()
}

#[cfg(not(unix))]
fn effective_user() -> u32 {
    0
}

/// Refuses settings by which a project's file would make itself trusted.
pub(crate) fn check_project(layer: &Layer) -> Result<(), SettingsError> {
    for setting in SETTINGS.iter().filter(|setting| [TRUSTED_SERVERS, TRUSTED_FOLDERS].contains(&setting.key))
    {
        if layer.is_project && layer.value(setting.key).is_some() {
            let variable = setting.variable.unwrap_or_default();
            return Err(SettingsError::NotForProjects {
                setting: setting.key,
                variable,
                origin: layer.origin(setting.key),
            });
        }
    }
    Ok(())
}

/// Takes the server away where the project decides over where, or how safely, a key is sent that is not the project's.
/// What is said about the server goes with it, because half of a connection would be an error.
/// `layers` are in the order in which later ones win.
pub(crate) fn keep_key_from_project(tracker: &mut TrackerSettings, layers: &[Layer]) -> Option<Refusal> {
    // The defaults name every setting, with nothing as the value of those that are not set.
    let is_set = |layer: &Layer, key: &str| !matches!(layer.value(key), None | Some(Value::Empty(..)));
    let winner = |key: &str| layers.iter().rev().find(|layer| is_set(layer, key));
    let (url, key) = (tracker.api_url.clone()?, winner("tracker.api_key")?);
    // Who has written the key into the project's file has decided to whom it goes.
    if key.is_project {
        return None;
    }
    let decides = |setting: &&&str| winner(setting).is_some_and(|layer| layer.is_project);
    let verifies = tracker.verify;
    let setting = ["tracker.api_url", "tracker.verify", "tracker.ca_file"]
        .iter()
        // A project that turns verification on takes nothing from anybody.
        .filter(|setting| **setting != "tracker.verify" || !verifies)
        .find(decides)?;
    let own = layers.iter().filter(|layer| !layer.is_project);
    let own = own.filter_map(|layer| layer.value("tracker.api_url").and_then(Value::as_str));
    // The project's own server is trusted, but not with checks that the project has turned off.
    let own = own.filter(|_| *setting == "tracker.api_url");
    let mut trusted = tracker.trusted_servers.iter().map(String::as_str).chain(own);
    if trusted.any(|server| server_of(server) == server_of(&url)) {
        return None;
    }
    // All of the connection and not only the key: without it the run would be sent, unasked, to a server that a cloned
    // repository has chosen.
    tracker.api_url = None;
    tracker.api_key = None;
    tracker.project = None;
    tracker.project_id = None;
    tracker.username = None;
    let place = winner(setting).map(|layer| layer.origin(setting).to_string()).unwrap_or_default();
    Some(Refusal {
        what: format!("{setting} ({place})"),
        why: format!(
            "the key is from {}, and a project may not send it to a server of its own; runs wait in their bundles. To \
             trust the server, set DAGLIGHT_TRUSTED_SERVERS, or {TRUSTED_SERVERS} in your own daglight.toml",
            key.origin("tracker.api_key")
        ),
    })
}

/// As [`keep_key_from_project`], for the receiver of OpenLineage.
pub(crate) fn keep_lineage_key_from_project(settings: &mut Settings, layers: &[Layer]) -> Option<Refusal> {
    const URL: &str = "openlineage.url";
    let is_set = |layer: &Layer, key: &str| !matches!(layer.value(key), None | Some(Value::Empty(..)));
    let winner = |key: &str| layers.iter().rev().find(|layer| is_set(layer, key));
    let (url, key) = (settings.openlineage.url.clone()?, winner("openlineage.api_key")?);
    if key.is_project {
        return None;
    }
    let decides = |setting: &&&str| winner(setting).is_some_and(|layer| layer.is_project);
    let verifies = settings.openlineage.verify;
    let setting =
        [URL, "openlineage.verify"].iter().filter(|setting| **setting == URL || !verifies).find(decides)?;
    let own = layers.iter().filter(|layer| !layer.is_project);
    let own = own.filter_map(|layer| layer.value(URL).and_then(Value::as_str)).filter(|_| *setting == URL);
    let mut trusted = settings.tracker.trusted_servers.iter().map(String::as_str).chain(own);
    if trusted.any(|server| server_of(server) == server_of(&url)) {
        return None;
    }
    (settings.openlineage.url, settings.openlineage.api_key) = (None, None);
    // Without a URL it would be called incomplete, which is not what is wrong.
    settings.openlineage.transport.take_if(|transport| transport == "http");
    let place = winner(setting).map(|layer| layer.origin(setting).to_string()).unwrap_or_default();
    Some(Refusal {
        what: format!("{setting} ({place})"),
        why: format!(
            "the key is from {}, and a project may not send it to a server of its own; no events of OpenLineage are sent. \
             To trust the server, set DAGLIGHT_TRUSTED_SERVERS, or {TRUSTED_SERVERS} in your own daglight.toml",
            key.origin("openlineage.api_key")
        ),
    })
}

/// Scheme, host and port. What is written in an unusual way is equal to nothing usual, and so is not trusted.
fn server_of(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let scheme = scheme.to_ascii_lowercase();
    let port = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(port).map(str::to_owned).unwrap_or(host);
    Some((scheme, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, same: bool) {
        assert_eq!(server_of(a) == server_of(b), same, "{a} {b}");
    }

    #[test]
    fn servers_are_distinguished() {
        check("https://h.example", "https://H.example:443/api/", true);
        check("https://h.example", "http://h.example", false);
        check("https://h.example", "https://h.example.evil", false);
        check("https://h.example", "https://h.example@evil", false);
        check("https://h.example", "https:///h.example", false);
        check("https://h.example", "https://h.example:8443", false);
    }
}
