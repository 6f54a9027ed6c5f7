//! The configuration of OpenLineage's own clients becomes settings with origins.

use std::fs;

use daglight_settings::{Resolved, SettingsLoader};
use tempfile::TempDir;

const PROJECT: &str = "project/openlineage.yml";
const USER: &str = ".openlineage/openlineage.yml";

struct Machine(TempDir);

impl Machine {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("project")).unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn loader(&self, variables: &[(&str, &str)]) -> SettingsLoader {
        SettingsLoader::new()
            .with_directory(self.0.path().join("project"))
            .with_variables([("HOME", self.0.path().to_str().unwrap())])
            .with_variables(variables.iter().copied())
    }

    fn resolve(&self, variables: &[(&str, &str)]) -> Resolved {
        self.loader(variables).resolve().unwrap()
    }
}

#[track_caller]
fn check(resolved: &Resolved, key: &str, value: &str, origin: &str) {
    let found = resolved.value(&format!("openlineage.{key}")).unwrap();
    assert_eq!(found.value.to_string(), value, "{key}");
    assert!(found.origin.to_string().ends_with(origin), "{key} is from {}", found.origin);
}

const YML: &str = "# ours\ntransport:\n  type: http\n  url: https://lineage.example\n  timeout: 2.5\n  verify: true\n  \
                   auth:\n    type: api_key\n    apiKey: sesame-17\nfacets:\n  environment_variables: [A]\n";

#[test]
fn the_file_is_read_with_its_lines_and_shows_no_key() {
    let resolved = Machine::new(&[(USER, YML)]).resolve(&[]);
    check(&resolved, "transport", "\"http\"", "openlineage.yml:3");
    check(&resolved, "url", "\"https://lineage.example\"", "openlineage.yml:4");
    check(&resolved, "timeout_seconds", "2.5", "openlineage.yml:5");
    check(&resolved, "api_key", "\"***\"", "openlineage.yml:9");
    assert_eq!(resolved.settings.openlineage.api_key.as_ref().unwrap().expose(), "sesame-17");
    assert!(resolved.refused.is_empty(), "{:?}", resolved.refused);
    assert!(!resolved.to_string().contains("sesame"));
    assert!(resolved.files.iter().any(|file| file.ends_with("openlineage.yml")));
}

#[test]
fn the_order_is_that_of_the_clients() {
    let url = ("OPENLINEAGE_URL", "http://a");
    let dynamic = ("OPENLINEAGE__TRANSPORT__URL", "http://b");
    let none = Machine::new(&[]);
    check(&none.resolve(&[url]), "url", "\"http://a\"", "OPENLINEAGE_URL");
    check(&none.resolve(&[url, dynamic]), "url", "\"http://b\"", "OPENLINEAGE__TRANSPORT__URL");
    let with_file = Machine::new(&[(USER, YML), (PROJECT, "transport: {type: console}\n")]);
    let resolved = with_file.resolve(&[url]);
    // The file in the working directory, and not the other one.
    check(&resolved, "transport", "\"console\"", "openlineage.yml:1");
    check(&resolved, "url", "\"http://a\"", "OPENLINEAGE_URL");
    let named = with_file.0.path().join(USER);
    let resolved = with_file.resolve(&[("OPENLINEAGE_CONFIG", named.to_str().unwrap())]);
    check(&resolved, "transport", "\"http\"", "openlineage.yml:3");
    let json = ("OPENLINEAGE__TRANSPORT__AUTH", r#"{"type":"api_key","apiKey":"k"}"#);
    check(&none.resolve(&[url, json]), "api_key", "\"***\"", "OPENLINEAGE__TRANSPORT__AUTH");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let error = |text: &str| Machine::new(&[(USER, text)]).loader(&[]).resolve().unwrap_err().to_string();
    let value = error("transport:\n  type: http\n  verify: maybe\n");
    assert!(value.contains("openlineage.verify") && value.contains("openlineage.yml:3"), "{value}");
    let syntax = error("transport:\n  - a\n b: [\n");
    assert!(syntax.contains("openlineage.yml:"), "{syntax}");
    let missing = Machine::new(&[]).loader(&[("OPENLINEAGE_CONFIG", "/nowhere/openlineage.yml")]);
    assert!(missing.resolve().unwrap_err().to_string().contains("/nowhere/openlineage.yml"));
    let disabled = [("OPENLINEAGE_CONFIG", "/nowhere/openlineage.yml"), ("OPENLINEAGE_DISABLED", "true")];
    assert!(Machine::new(&[]).resolve(&disabled).settings.openlineage.disabled);
}

#[test]
fn what_this_program_does_not_support_is_reported() {
    let refused = |text: &str| {
        let resolved = Machine::new(&[(USER, text)]).resolve(&[]);
        resolved.refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let headers = refused("transport:\n  type: http\n  url: http://a\n  custom_headers:\n    x-team: risk\n");
    assert!(
        headers.contains("transport.custom_headers.x-team") && headers.contains("openlineage.yml:5"),
        "{headers}"
    );
    let auth = refused("transport:\n  type: http\n  url: http://a\n  auth: {type: jwt, apiKey: k}\n");
    assert!(auth.contains("transport.auth.type") && auth.contains("api_key"), "{auth}");
    // The run warns about the type, once.
    assert_eq!(refused("transport:\n  type: kafka\n  topic: a\n  config: {b: c}\n"), "");
}

#[test]
fn a_project_sends_the_users_key_to_no_server_of_its_own() {
    let key = ("OPENLINEAGE_API_KEY", "sesame-17");
    let machine = Machine::new(&[(PROJECT, "transport: {type: http, url: 'https://elsewhere.example'}\n")]);
    let resolved = machine.resolve(&[key]);
    assert_eq!((&resolved.settings.openlineage.url, &resolved.settings.openlineage.api_key), (&None, &None));
    assert!(resolved.refused[0].to_string().contains("openlineage.url"), "{:?}", resolved.refused);
    let trusted = ("DAGLIGHT_TRUSTED_SERVERS", "https://elsewhere.example");
    assert!(machine.resolve(&[key, trusted]).settings.openlineage.api_key.is_some());
    // Without a key of the user there is nothing to protect.
    assert!(machine.resolve(&[]).settings.openlineage.url.is_some());
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_write_does_not_count() {
    use std::os::unix::fs::PermissionsExt as _;

    let machine = Machine::new(&[(PROJECT, "transport: {type: console}\n")]);
    let file = machine.0.path().join(PROJECT);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let resolved = machine.resolve(&[]);
    assert_eq!(resolved.settings.openlineage.transport, None);
    assert!(resolved.refused[0].to_string().contains("others may write it"), "{:?}", resolved.refused);
}
