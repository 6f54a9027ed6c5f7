//! What a project's file must not decide: who is trusted, and to which server a key is sent that is not the project's.

use figment::value::Value;

use crate::{
    catalog::{SETTINGS, TRUSTED_FOLDERS, TRUSTED_SERVERS},
    layer::Layer,
    settings::{Settings, TrackerSettings},
    settings_error::SettingsError,
    trust::Refusal,
};

/// Rejects settings with which a project's file would make itself trusted.
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

/// Removes the server if the project decides where, or how securely, a key is sent that is not the project's. The other settings of
/// the server are removed with it, because an incomplete connection would be an error. `layers` are in order of increasing
/// precedence.
pub(crate) fn keep_key_from_project(tracker: &mut TrackerSettings, layers: &[Layer]) -> Option<Refusal> {
    // The defaults contain every setting, with an empty value for those that are not set.
    let is_set = |layer: &Layer, key: &str| !matches!(layer.value(key), None | Some(Value::Empty(..)));
    let winner = |key: &str| layers.iter().rev().find(|layer| is_set(layer, key));
    let (url, key) = (tracker.api_url.clone()?, winner("tracker.api_key")?);
    // The author of the project's file wrote the key there, and may decide where it is sent.
    if key.is_project {
        return None;
    }
    let decides = |setting: &&&str| winner(setting).is_some_and(|layer| layer.is_project);
    let verifies = tracker.verify;
    let setting = ["tracker.api_url", "tracker.verify", "tracker.ca_file"]
        .iter()
        // A project that enables verification is harmless.
        .filter(|setting| **setting != "tracker.verify" || !verifies)
        .find(decides)?;
    let own = layers.iter().filter(|layer| !layer.is_project);
    let own = own.filter_map(|layer| layer.value("tracker.api_url").and_then(Value::as_str));
    // The project's own server is trusted, but not if the project has disabled verification.
    let own = own.filter(|_| *setting == "tracker.api_url");
    let mut trusted = tracker.trusted_servers.iter().map(String::as_str).chain(own);
    if trusted.any(|server| server_of(server) == server_of(&url)) {
        return None;
    }
    // The whole connection instead of only the key: otherwise the run would be sent, unasked, to a server that a cloned repository
    // has chosen.
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

/// Like [`keep_key_from_project`], for the receiver of OpenLineage.
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
    // Without a URL it would be reported as incomplete, which is not the problem.
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

/// Scheme, host and port. An unusual notation equals no usual one, and so is not trusted.
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
