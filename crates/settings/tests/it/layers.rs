//! Tests that files, variables and code become settings with origins, or errors that suggest what to write instead.

use std::{fs, path::Path};

use daglight_capture_policy::Profile;
use daglight_settings::{Resolved, Settings, SettingsError, SettingsLoader};
use tempfile::TempDir;

/// A home folder with a project in it.
struct Machine(TempDir);

impl Machine {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("project/below")).unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn loader(&self, variables: &[(&str, &str)]) -> SettingsLoader {
        SettingsLoader::new()
            .with_directory(self.path().join("project/below"))
            .with_variables([("HOME", self.path().to_str().unwrap())])
            .with_variables(variables.iter().copied())
    }
}

const PROJECT: &str = "project/daglight.toml";
const USER: &str = ".config/daglight/daglight.toml";

#[track_caller]
fn check_origin(resolved: &Resolved, key: &str, value: &str, origin: &str) {
    let found = resolved.value(key).unwrap_or_else(|| panic!("{key} is not there"));
    assert_eq!(found.value.to_string(), value, "{key}");
    assert!(found.origin.to_string().ends_with(origin), "{key} is from {}", found.origin);
}

#[test]
fn later_layers_win_and_every_value_keeps_its_origin() {
    let machine = Machine::new(&[
        (
            ".hamilton.conf",
            "[other]\nMAX_LIST_LENGTH_CAPTURE = 1\n[SDK_CONSTANTS]\n# ours\nmax_list_length_capture = 3\n\
                            MAX_DICT_LENGTH_CAPTURE: 4\ncapture_data_statistics = False\nunknown = 1\n",
        ),
        (USER, "[capture]\nmax_dict_length = 5\n[tracker]\nusername = \"me@host\"\napi_key = \"hunter2\"\n"),
        (PROJECT, "team = \"risk\"\n\n[tracker]\nusername = \"ci@host\"\nproject_id = 7\n"),
    ]);
    let loader = machine
        .loader(&[
            ("HAMILTON_PROJECT_ID", "8"),
            ("DAGLIGHT_REDACT_KEYS", "iban, tax_id"),
            ("HAMILTON_UI_URL", " "),
        ])
        .with_value("option --dag-name", "dag_name", "a::b_v1");
    let resolved = loader.resolve().unwrap();
    check_origin(&resolved, "capture.max_list_length", "3", ".hamilton.conf:5");
    check_origin(&resolved, "capture.data_statistics", "false", ".hamilton.conf:7");
    check_origin(&resolved, "capture.max_dict_length", "5", "daglight/daglight.toml:2");
    check_origin(&resolved, "team", "\"risk\"", "project/daglight.toml:1");
    check_origin(&resolved, "tracker.username", "\"ci@host\"", "project/daglight.toml:4");
    check_origin(&resolved, "tracker.project_id", "8", "environment variable HAMILTON_PROJECT_ID");
    check_origin(&resolved, "capture.redact_keys", "[\"iban\",\"tax_id\"]", "DAGLIGHT_REDACT_KEYS");
    check_origin(&resolved, "dag_name", "\"a::b_v1\"", "option --dag-name");
    check_origin(&resolved, "capture.max_depth", "8", "default of profile dev");
    check_origin(&resolved, "tracker.ui_url", "null", "default of profile dev");
    assert_eq!(resolved.files.len(), 3);

    assert_eq!(resolved.settings.tracker.api_key.as_ref().unwrap().expose(), "hunter2");
    check_origin(&resolved, "tracker.api_key", "\"***\"", "daglight/daglight.toml:5");
    assert!(!format!("{resolved}{resolved:?}{}", resolved.to_json()).contains("hunter2"));
}

#[test]
fn the_sdk_file_is_where_the_variable_says() {
    let machine = Machine::new(&[("sdk.ini", "[SDK_CONSTANTS]\nMAX_LIST_LENGTH_CAPTURE = 9\n")]);
    let settings = machine.loader(&[("HAMILTON_CONFIG_URI", "~/sdk.ini")]).load().unwrap();
    assert_eq!(settings.capture.max_list_length, 9);
    let error = machine.loader(&[("HAMILTON_CONFIG_URI", "/nowhere.ini")]).load().unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration file /nowhere.ini");
}

const STAGING: &str = "profile = \"staging\"\n\n[profiles.staging]\nextends = \"prod\"\n\n\
                       [profiles.staging.capture]\nmax_list_length = 33\nmax_dict_length = 44\n";

#[test]
fn a_profile_of_ones_own_extends_a_built_in_one() {
    let machine = Machine::new(&[(PROJECT, STAGING)]);
    let resolved = machine.loader(&[("HAMILTON_MAX_DICT_LENGTH_CAPTURE", "55")]).resolve().unwrap();
    assert_eq!((resolved.base, resolved.settings.profile.as_str()), (Profile::Prod, "staging"));
    check_origin(&resolved, "environment", "\"staging\"", "default of profile prod");
    check_origin(&resolved, "capture.sql_text", "\"without_literals\"", "default of profile prod");
    check_origin(&resolved, "capture.max_list_length", "33", "project/daglight.toml:7");
    check_origin(&resolved, "capture.max_dict_length", "55", "HAMILTON_MAX_DICT_LENGTH_CAPTURE");

    let other = machine.loader(&[("HAMILTON_TELEMETRY_PROFILE", "ci")]).load().unwrap();
    assert_eq!(other, Settings::of_profile(Profile::Ci));
}

#[test]
fn the_project_changes_a_profile_of_the_user() {
    let machine =
        Machine::new(&[(USER, STAGING), (PROJECT, "[profiles.staging]\ncapture.max_list_length = 34\n")]);
    let settings = machine.loader(&[]).load().unwrap();
    assert_eq!((settings.capture.max_list_length, settings.capture.max_dict_length), (34, 44));
    assert!(!settings.capture.top_values);
}

#[test]
fn outputs_are_named_with_dots() {
    let file = "[outputs.\"semantic.risk_v1\"]\nowner = \"risk\"\ntags = { layer = \"gold\" }\n\
                columns = { \"a.b\" = \"Int64\" }\n";
    let machine = Machine::new(&[(PROJECT, file)]);
    let resolved = machine.loader(&[]).resolve().unwrap();
    let output = &resolved.settings.outputs["semantic.risk_v1"];
    assert_eq!((output.owner.as_deref(), output.columns["a.b"].as_str()), (Some("risk"), "Int64"));
    check_origin(&resolved, "outputs.\"semantic.risk_v1\".tags.layer", "\"gold\"", "daglight.toml:3");
}

#[test]
fn parameter_tables_have_rows_of_any_kind() {
    let file = "strict_registry = true\n[param_tables.weights]\nrows = [{ priority = \"high\", weight = 2.5, since = 2026-11-21 }]\n";
    let settings = Machine::new(&[(PROJECT, file)]).loader(&[]).load().unwrap();
    assert_eq!(settings.param_tables["weights"].columns, ["priority", "weight", "since"]);
    let row = &settings.param_tables["weights"].rows[0];
    assert_eq!(
        (&row["priority"], &row["weight"], &row["since"]),
        (&"high".into(), &2.5.into(), &"2026-11-21".into())
    );
    assert!(settings.strict_registry);
    check_error(
        "[param_tables.a]\nrows = [1]\n",
        &[],
        &["param_tables.a.rows", "found a list", "a list of tables"],
    );
}

#[track_caller]
fn check_error(file: &str, variables: &[(&str, &str)], expected: &[&str]) -> SettingsError {
    let error = Machine::new(&[(PROJECT, file)]).loader(variables).load().unwrap_err();
    let message = error.to_string();
    for part in expected {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    error
}

#[test]
fn an_error_names_value_origin_and_what_is_allowed() {
    check_error(
        "",
        &[("HAMILTON_PROJECT_ID", "seven")],
        &["HAMILTON_PROJECT_ID", "\"seven\"", "a whole number, 1 or more"],
    );
    check_error(
        "\n[capture]\nmax_depth = 0\n",
        &[],
        &["capture.max_depth", "found 0", "from 1 to 100", "daglight.toml:3"],
    );
    check_error(
        "[capture]\nsql_text = \"all\"\n",
        &[],
        &["\"all\"", "whole, without_literals or none", "daglight.toml:2"],
    );
    check_error(
        "[heartbeat]\ninterval_seconds = 0.0\n",
        &[],
        &["heartbeat.interval_seconds", "found 0.0", "from 0.001 to 31536000"],
    );
    check_error(
        "[tracker]\nflush_seconds = 1e308\n",
        &[],
        &["tracker.flush_seconds", "above 0 and up to 31536000"],
    );
    check_error("[otel]\nnamespace = \"1st\"\n", &[], &["otel.namespace", "\"1st\"", "the first a letter"]);
    check_error("", &[("DAGLIGHT_TEAM", "\u{FFFD}")], &["team", "DAGLIGHT_TEAM"]);
    check_error(
        "[tracker]\napi_url = \"localhost:8241\"\n",
        &[],
        &["tracker.api_url", "localhost:8241", "http://"],
    );
    for wrong in ["https://jaeger/{trace}", "javascript:{trace_id}"] {
        check_error(
            &format!("[otel]\ntrace_url = \"{wrong}\"\n"),
            &[],
            &["otel.trace_url", wrong, "starts with http:// or https:// and has {trace_id} in it"],
        );
    }
    check_error("[capture]\nmax_depth = 2.0\n", &[], &["capture.max_depth", "found 2.0"]);
    check_error("[capture]\nmax_depth = 999999999999999999999\n", &[], &["found \"999999999999999999999\""]);
    check_error(
        "[capture]\nredact_keys = [\"a\", 7]\n",
        &[],
        &["capture.redact_keys", "found a list with 7 in it", "a list of names", "daglight.toml:2"],
    );
    check_error("[capture]\nredact_keys = [\"--\"]\n", &[], &["found a list with \"--\" in it"]);
    check_error("capture = 3\n", &[], &["capture", "found 3", "a table of settings", "daglight.toml:1"]);
    check_error("[capture\n", &[], &["daglight.toml:1"]);
    let empty = ["param_tables.p (", "daglight.toml:2", "either `rows` or a `file`"];
    check_error("\n[param_tables.p]\n", &[], &empty);
    check_error("\n[param_tables.p]\nrows = []\n", &[], &empty);
    check_error("\n[param_tables]\np.description = \"x\"\n", &[], &["param_tables.p (", "daglight.toml:3"]);
    for table in ["tags", "outputs.a.tags", "profiles.mine.tags"] {
        let profile =
            if table.starts_with("profiles") { "[profiles.mine]\nextends = \"dev\"\n" } else { "\n\n" };
        for name in ["", " "] {
            let file = format!("{profile}[{table}]\n\"{name}\" = \"x\"\n");
            check_error(&file, &[], &[&format!("setting {table} ("), "daglight.toml:4", "an empty name"]);
        }
    }
    check_error("[outputs.\"\"]\nowner = \"x\"\n", &[], &["setting outputs (", "daglight.toml:1"]);
    check_error("[outputs.a.columns]\nx = 1\n", &[], &["outputs.a.columns.x", "found 1", "daglight.toml:2"]);
}

#[test]
fn unknown_keys_get_the_nearest_known_name() {
    check_error(
        "[capture]\nmax_list_lenght = 3\n",
        &[],
        &["max_list_lenght", "did you mean capture.max_list_length?"],
    );
    check_error("max_list_length = 3\n", &[], &["did you mean capture.max_list_length?"]);
    check_error(
        "[trakcer]\nenabled = true\n",
        &[],
        &["\"trakcer\"", "did you mean tracker?", "daglight.toml:1"],
    );
    check_error(
        "",
        &[("DAGLIGHT_MAX_DEPHT", "3")],
        &["DAGLIGHT_MAX_DEPHT", "did you mean DAGLIGHT_MAX_DEPTH?"],
    );
    check_error("[outputs.\"a.b\"]\nownr = \"me\"\n", &[], &["did you mean outputs.a.b.owner?"]);
    check_error("[profiles.a]\nextend = \"dev\"\n", &[], &["profiles.a.extend", "did you mean extends?"]);
}

#[test]
fn unknown_keys_that_are_like_nothing_get_the_names_that_there_are() {
    check_error("zebra = 1\n", &[], &["\"zebra\"", "expected profile, dag_name, ", " or profiles"]);
    check_error("[bundle]\nzebra = 1\n", &[], &["expected output_dir, durability, ", " or keep_bytes"]);
    let file = "[profiles.a]\nextends = \"dev\"\nprofile = \"ci\"\n";
    check_error(file, &[], &["profiles.a.profile", "daglight.toml:3", "expected dag_name, ", " or extends"]);
}

#[test]
fn variables_with_another_beginning_are_not_ignored() {
    for (variable, meant) in [
        ("DAGLIGHT_PROFILE", "HAMILTON_TELEMETRY_PROFILE"),
        ("DAGLIGHT_MAX_LIST_LENGTH", "HAMILTON_MAX_LIST_LENGTH_CAPTURE"),
        ("DAGLIGHT_TRACKER_ENABLED", "HAMILTON_TRACKER_ENABLED"),
        ("DAGLIGHT_CAPTURE_MAX_DEPTH", "DAGLIGHT_MAX_DEPTH"),
        ("HAMILTON_API_KEYS", "HAMILTON_API_KEY"),
    ] {
        check_error("", &[(variable, "x")], &[variable, &format!("did you mean {meant}?")]);
    }
}

#[test]
fn wrong_profiles_are_answered_with_those_that_there_are() {
    let unknown = [("HAMILTON_TELEMETRY_PROFILE", "qa")];
    check_error("", &unknown, &["\"qa\"", "dev, ci or prod", "HAMILTON_TELEMETRY_PROFILE"]);
    // The file's own profile extends `prod`.
    let hidden = check_error(STAGING, &unknown, &["dev, ci, prod or staging", "HAMILTON_TELEMETRY_PROFILE"]);
    assert!(!hidden.to_string().contains("qa"), "{hidden}");
    check_error("[profiles.prod]\nextends = \"dev\"\n", &[], &["prod is built in", "daglight.toml:1"]);
    check_error("[profiles.a]\nextends = \"b\"\n", &[], &["profiles.a.extends", "\"b\"", "dev, ci or prod"]);
    check_error("[profiles.a]\n", &[], &["profiles.a.extends", "found nothing", "dev, ci or prod"]);
    check_error(
        "[profiles.a]\nextends = \"ci\"\ncapture.max_depht = 3\n",
        &[],
        &["profiles.a.capture.max_depht", "did you mean capture.max_depth?", "daglight.toml:3"],
    );
}

#[test]
fn no_error_shows_a_credential() {
    for file in [
        "[tracker]\napi_key = 12345\n",
        "[tracker]\napi_url = \"me:12345@host\"\n",
        "[tracker]\napi_key = 12345x\n",
        "[tracker]\napi_url = \"http://me:12345@host/\"\n",
        "[tracker]\napi_url = \"https://me:12@345@host?a=@\"\n",
        "[tracker]\nui_url = \"https://12345@host\"\n",
    ] {
        let error = check_error(file, &[], &["daglight.toml:2"]);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("12345") && !shown.contains("345@"), "{error:?}");
    }
    let in_url = "[tracker]\napi_url = \"http://me:12345@host/\"\n";
    check_error(
        in_url,
        &[],
        &["tracker.api_url", "daglight.toml:2", "without a user or a password", "@host/"],
    );
    // It is not a user.
    let machine = Machine::new(&[(PROJECT, "[tracker]\napi_url = \"http://host/a@b?c=d@e\"\n")]);
    assert!(SettingsLoader::new().with_directory(machine.path().join("project")).load().is_ok());
}

#[test]
fn variables_of_others_are_left_alone() {
    let variables =
        [("DAGLIGHT_BINARY", "/x"), ("HAMILTON_TELEMETRY_ENABLED", "no"), ("HAMILTON_PROJECT_ID", " ")];
    assert_eq!(SettingsLoader::new().with_variables(variables).load().unwrap(), Settings::default());
}

#[test]
fn a_file_further_up_counts_within_the_repository_or_the_home_folder() {
    let found = |files: &[(&str, &str)], home: &str| {
        let machine = Machine::new(files);
        let home = machine.path().join(home);
        let loader = SettingsLoader::new().with_directory(machine.path().join("project/below"));
        loader.with_variables([("HOME", home.to_str().unwrap())]).load().unwrap().team
    };
    let team = |name: &str| Some(name.to_owned());
    let (top, here) =
        (("daglight.toml", "team = \"top\""), ("project/below/daglight.toml", "team = \"here\""));
    let project = (PROJECT, "team = \"project\"");
    assert_eq!(found(&[top, project], "elsewhere"), None);
    assert_eq!(found(&[top, project, here], "elsewhere"), team("here"));
    assert_eq!(found(&[top, project, ("project/.git", "gitdir: x")], "elsewhere"), team("project"));
    assert_eq!(found(&[top, ("project/.git/HEAD", "")], ""), None);
    assert_eq!(found(&[top], ""), team("top"));
    assert_eq!(found(&[top], "project"), None);
}

#[cfg(unix)]
mod of_others {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    fn machine() -> Machine {
        Machine::new(&[(PROJECT, "team = \"risk\"\n")])
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[track_caller]
    fn check(machine: &Machine, variables: &[(&str, &str)], refused: Option<&str>) {
        let resolved = machine.loader(variables).resolve().unwrap();
        assert_eq!(resolved.settings.team.is_none(), refused.is_some(), "{:?}", resolved.refused);
        let said = resolved.refused.iter().map(ToString::to_string).collect::<String>();
        assert!(said.contains(refused.unwrap_or_default()), "{said}");
        assert_eq!(said.contains("project/daglight.toml"), refused.is_some(), "{said}");
        assert_eq!(resolved.to_json()["refused"].as_array().unwrap().len(), resolved.refused.len());
    }

    #[test]
    fn a_file_that_others_may_write_does_not_count() {
        let machine = machine();
        let (file, folder) = (machine.path().join(PROJECT), machine.path().join("project"));
        check(&machine, &[], None);
        set_mode(&file, 0o646);
        check(&machine, &[], Some("others may write it (mode 646)"));
        set_mode(&file, 0o644);
        set_mode(&folder, 0o757);
        check(&machine, &[], Some("others may write its folder (mode 757)"));
        let trusted = folder.to_str().unwrap();
        check(&machine, &[("DAGLIGHT_TRUSTED_FOLDERS", trusted)], None);
        check(&machine, &[("DAGLIGHT_TRUSTED_FOLDERS", "/nowhere:*")], None);
        check(&machine, &[("DAGLIGHT_TRUSTED_FOLDERS", "/nowhere")], Some("others may write"));
    }

    /// Only root can change the owner of files; the tests run as root in the environment that checks this.
    #[test]
    fn a_file_of_another_user_does_not_count() {
        let machine = machine();
        let (file, folder) = (machine.path().join(PROJECT), machine.path().join("project"));
        chown(&file, Some(4711), None).expect("these tests run as root");
        check(&machine, &[], Some("it belongs to user 4711"));
        check(&machine, &[("SUDO_UID", "4711")], None);
        check(&machine, &[("DAGLIGHT_TRUSTED_FOLDERS", folder.to_str().unwrap())], None);
        chown(&file, Some(0), None).unwrap();
        chown(&folder, Some(4711), None).unwrap();
        check(&machine, &[], Some("its folder belongs to user 4711"));
        let user = format!("trusted_folders = [{folder:?}]\n");
        fs::create_dir_all(machine.path().join(".config/daglight")).unwrap();
        fs::write(machine.path().join(USER), user).unwrap();
        check(&machine, &[], None);
    }

    #[test]
    fn a_link_to_a_file_of_another_user_does_not_count() {
        let machine = machine();
        let other = tempfile::tempdir().unwrap();
        let file = machine.path().join(PROJECT);
        fs::rename(&file, other.path().join("daglight.toml")).unwrap();
        std::os::unix::fs::symlink(other.path().join("daglight.toml"), &file).unwrap();
        check(&machine, &[], None);
        set_mode(other.path(), 0o777);
        check(&machine, &[], Some("others may write its folder"));
    }
}

const OWN_KEY: (&str, &str) = (USER, "[tracker]\napi_key = \"hunter2\"\nusername = \"me@host\"\n");

#[track_caller]
fn check_key(files: &[(&str, &str)], variables: &[(&str, &str)], refused: Option<&str>) {
    let resolved = Machine::new(files).loader(variables).resolve().unwrap();
    let tracker = &resolved.settings.tracker;
    assert_eq!(tracker.api_url.is_none(), refused.is_some(), "{:?}", resolved.refused);
    assert_eq!(tracker.api_key.is_none(), refused.is_some());
    // An incomplete connection would be an error, although runs should just wait.
    let is_named = tracker.project.is_some() || tracker.project_id.is_some() || tracker.username.is_some();
    assert!(!(is_named && refused.is_some()), "{tracker:?}");
    let said = resolved.refused.iter().map(ToString::to_string).collect::<String>();
    assert!(said.contains(refused.unwrap_or_default()) && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_project_gets_no_key_for_a_server_of_its_own() {
    let server = (PROJECT, "[tracker]\napi_url = \"https://their.example\"\n");
    check_key(&[OWN_KEY, server], &[], Some("tracker.api_url"));
    let with_project = "[tracker]\napi_url = \"https://their.example\"\nproject_id = 7\nproject = \"shop\"\n";
    check_key(&[OWN_KEY, (PROJECT, with_project)], &[], Some("tracker.api_url"));
    check_key(&[server], &[("HAMILTON_API_KEY", "hunter2")], Some("project/daglight.toml:2"));
    let in_profile = "profile = \"theirs\"\n[profiles.theirs]\nextends = \"dev\"\ntracker.api_url = \"https://their.example\"\n";
    check_key(&[OWN_KEY, (PROJECT, in_profile)], &[], Some("tracker.api_url"));
    let trusted = [("DAGLIGHT_TRUSTED_SERVERS", "https://a.example, https://their.example/")];
    check_key(&[OWN_KEY, server], &trusted, None);
    check_key(
        &[OWN_KEY, server],
        &[("DAGLIGHT_TRUSTED_SERVERS", "https://their.example.org")],
        Some("api_url"),
    );
    let by_user = "[tracker]\napi_key = \"hunter2\"\ntrusted_servers = [\"https://their.example\"]\n";
    check_key(&[(USER, by_user), server], &[], None);
    let of_user = "[tracker]\napi_key = \"hunter2\"\napi_url = \"https://their.example\"\n";
    check_key(&[(USER, of_user), server], &[], None);
    // The project's own key, and a server of the user.
    check_key(
        &[(PROJECT, "[tracker]\napi_url = \"https://their.example\"\napi_key = \"theirs\"\n")],
        &[],
        None,
    );
    check_key(&[OWN_KEY], &[("HAMILTON_API_URL", "https://mine.example")], None);
    // Anyone could answer in place of the server.
    let unverified = (PROJECT, "tracker.verify = false\n");
    check_key(
        &[OWN_KEY, unverified],
        &[("HAMILTON_API_URL", "https://mine.example")],
        Some("tracker.verify"),
    );
    let authority = (PROJECT, "tracker.ca_file = \"their.pem\"\n");
    check_key(
        &[OWN_KEY, authority],
        &[("HAMILTON_API_URL", "https://mine.example")],
        Some("tracker.ca_file"),
    );
}

#[test]
fn a_project_names_its_server_where_there_is_no_key_to_keep() {
    let server = (PROJECT, "[tracker]\napi_url = \"https://their.example\"\n");
    let resolved = Machine::new(&[server]).loader(&[]).resolve().unwrap();
    assert_eq!(resolved.refused, []);
    assert_eq!(resolved.settings.tracker.api_url.as_deref(), Some("https://their.example"));
    // An empty variable sets nothing.
    let resolved = Machine::new(&[server]).loader(&[("HAMILTON_API_KEY", "")]).resolve().unwrap();
    assert_eq!(resolved.refused, []);
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf_8_is_called_that() {
    use std::os::unix::ffi::OsStringExt as _;

    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(b"o\xff".to_vec()));
    let error = SettingsLoader::new().with_value("option --output-dir", "bundle.output_dir", &path);
    let error = error.load().unwrap_err();
    assert_eq!(
        error.to_string(),
        "setting bundle.output_dir (option --output-dir): the value cannot be used"
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("invalid UTF-8"), "{source}");
    let replaced = String::from_utf8_lossy(b"o\xff").into_owned();
    let error = SettingsLoader::new().with_variables([("DAGLIGHT_OUTPUT_DIR", replaced)]).load().unwrap_err();
    assert!(error.to_string().contains("not valid UTF-8"), "{error}");
}

#[test]
fn a_project_cannot_say_whom_to_trust() {
    for text in ["trusted_folders = [\"/\"]\n", "[tracker]\ntrusted_servers = [\"https://their.example\"]\n"]
    {
        let error = Machine::new(&[(PROJECT, text)]).loader(&[]).load().unwrap_err();
        assert!(matches!(error, SettingsError::NotForProjects { .. }), "{error}");
        assert!(error.to_string().contains("DAGLIGHT_TRUSTED_"), "{error}");
    }
}

#[test]
#[cfg(unix)]
fn files_that_have_no_end_or_are_huge_are_refused_at_once() {
    let machine = Machine::new(&[(PROJECT, &"a".repeat((1 << 20) + 1))]);
    let error = machine.loader(&[]).load().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("more than 1048576 bytes"), "{cause}");
    for named in ["/dev/zero", "/", "/dev/tty"] {
        let error = Machine::new(&[]).loader(&[("HAMILTON_CONFIG_URI", named)]).load().unwrap_err();
        assert!(matches!(error, SettingsError::Unreadable { .. }), "{error}");
    }
}

/// An error, as shown for the given profile settings in other layers.
#[track_caller]
fn check_shown(file: &str, variables: &[(&str, &str)], is_shown: bool) {
    let error = Machine::new(&[(PROJECT, file)]).loader(variables).resolve().unwrap_err();
    let text = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    assert_eq!(text.contains("zqmk"), is_shown, "{text}");
    assert!(
        text.contains("expected") && (text.contains("daglight.toml:") || text.contains("variable")),
        "{text}"
    );
}

#[test]
fn errors_repeat_values_only_where_production_is_not_said() {
    const PROD: (&str, &str) = ("HAMILTON_TELEMETRY_PROFILE", "prod");
    const DEV: (&str, &str) = ("HAMILTON_TELEMETRY_PROFILE", "dev");
    const OWN: (&str, &str) = ("HAMILTON_TELEMETRY_PROFILE", "mine");
    const WRONG: (&str, &str) = ("HAMILTON_TELEMETRY_PROFILE", "zqmk");
    for file in [
        "strict_registry = \"zqmk\"",
        "strict_registry = [\"zqmk\"]",
        "[capture]\nmax_depth = \"zqmk\"",
        "[capture]\nredact_keys = [{ a = \"zqmk\" }, \"zqmk\", \"\"]\nmax_depth = \"zqmk\"",
        "[tracker]\napi_url = \"http//zqmk\"",
        "[bundle]\ndurability = \"zqmk\"",
        "tags = \"zqmk\"",
        "[outputs.a]\ntags = \"zqmk\"",
    ] {
        check_shown(file, &[PROD], false);
        check_shown(&format!("profile = \"prod\"\n{file}"), &[], false);
        check_shown(&format!("{file}\n[profiles.mine]\nextends = \"prod\""), &[OWN], false);
        // A layer with higher precedence decides.
        if !file.contains("redact_keys") {
            check_shown(&format!("profile = \"prod\"\n{file}"), &[DEV], true);
            check_shown(file, &[], true);
            check_shown(&format!("{file}\n[profiles.mine]\nextends = \"ci\""), &[OWN], true);
        }
    }
    check_shown("", &[PROD, ("HAMILTON_PROJECT_ID", "zqmk")], false);
    check_shown("", &[("HAMILTON_PROJECT_ID", "zqmk")], true);
    // The profile is unknown: prod is assumed if any layer selects it, and otherwise only typed values are shown.
    check_shown("", &[WRONG], true);
    check_shown("profile = \"prod\"", &[WRONG], false);
    check_shown("profile = \"mine\"\n[profiles.mine]\nextends = \"prod\"", &[WRONG], false);
    check_shown("[profiles.mine]\nextends = \"zqmk\"", &[OWN], true);
    check_shown("[profiles.mine]\nextends = \"zqmk\"", &[PROD], false);
    check_shown("[capture]\nmax_depth = \"zqmk\"", &[("HAMILTON_TELEMETRY_PROFILE", "nope")], true);
    check_shown("[tracker]\napi_url = \"zqmk\"", &[("HAMILTON_TELEMETRY_PROFILE", "nope")], false);
}

#[test]
fn a_number_of_a_setting_that_is_a_number_is_shown_under_every_profile() {
    const PROD: (&str, &str) = ("HAMILTON_TELEMETRY_PROFILE", "prod");
    let said = |file: &str, variables: &[(&str, &str)]| {
        let machine = Machine::new(&[(PROJECT, file)]);
        machine.loader(variables).load().unwrap_err().to_string()
    };
    let of_variable = said("", &[PROD, ("DAGLIGHT_MAX_DEPTH", "200")]);
    assert!(of_variable.ends_with("found \"200\""), "{of_variable}");
    let of_file =
        said("[profiles.mine.capture]\nmax_depth = 200\n[profiles.mine]\nextends = \"prod\"", &[PROD]);
    assert!(of_file.ends_with("found 200"), "{of_file}");
    let in_prod = said("profile = \"prod\"\n[tracker]\nproject_id = \"zqmk\"", &[]);
    assert!(in_prod.ends_with("found a value that is not shown"), "{in_prod}");
}

#[test]
fn a_date_is_the_value_of_no_setting() {
    for (file, expected) in [
        ("environment = 2020-01-01", "found the date or time 2020-01-01, which is a text only in quotes"),
        ("[tags]\nday = 2020-01-01T10:00:00Z", "found the date or time 2020-01-01T10:00:00Z, which is"),
        ("[capture]\nredact_keys = [2020-01-01]", "found the date or time 2020-01-01"),
        ("[capture]\nmax_depth = 07:32:00", "found the date or time 07:32:00"),
        ("[tracker]\napi_key = 2020-01-01", "found a value that is not shown"),
        ("[profiles.a]\nextends = \"dev\"\nenvironment = 2020-01-01", "found the date or time 2020-01-01"),
    ] {
        let error = Machine::new(&[(PROJECT, file)]).loader(&[]).load().unwrap_err();
        assert!(error.to_string().contains(expected), "{file}: {error}");
        assert!(error.file().is_some_and(|(_, line)| line.is_some()), "{error:?}");
    }
    let table = "[param_tables.days]\nrows = [{ day = 2020-01-01 }]";
    assert!(Machine::new(&[(PROJECT, table)]).loader(&[]).load().is_ok());
}

#[test]
fn a_value_brings_no_line_of_its_own_into_the_table() {
    let machine =
        Machine::new(&[(PROJECT, "team = \"a\\nfake  line\\r\\u009b\\u202e\"\n[tags]\n\"x\\ny\" = \"z\"\n")]);
    let shown = machine.loader(&[]).resolve().unwrap().to_string();
    assert!(shown.contains("a\\nfake  line\\r\\u009b\\u202e") && shown.contains("tags.x\\ny"), "{shown}");
}
