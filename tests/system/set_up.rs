//! What a user has before the first run: completions, manual pages, a file of settings to start from.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use daglight_system_tests::{Checkout, Daglight};
use dev_services::Groff;

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What bash offers behind a line, as it does when somebody presses the tab key.
fn completed(script: &Path, words: &[&str]) -> Vec<String> {
    let line = words.join(" ");
    let asked = format!(
        "source {script}; COMP_WORDS=({words}); COMP_CWORD={last}; COMP_LINE='{line}'; COMP_POINT={point}
        function=$(complete -p daglight | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        $function daglight \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
        printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script = script.display(),
        words = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        last = words.len() - 1,
        point = line.len(),
    );
    let output = output(Command::new("bash").args(["--norc", "-c", &asked]));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let checkout = Checkout::new();
    let script = checkout.path().join("daglight.bash");
    let printed = Daglight::new(&checkout, ["completions", "bash"]).finish().ended_with(0).stdout;
    fs::write(&script, printed).expect("a script");

    assert_eq!(completed(&script, &["daglight", "com"]), ["compare", "completions"]);
    assert_eq!(completed(&script, &["daglight", "bundle", "ve"]), ["verify"]);
    assert_eq!(completed(&script, &["daglight", "compare", "--fail"]), ["--fail-on"]);
    let formats = completed(&script, &["daglight", "export", "x", "--format", ""]);
    assert_eq!(formats, ["perfetto", "speedscope", "otlp", "parquet"]);
}

#[test]
fn manual_pages_are_shown_without_warnings() {
    let checkout = Checkout::new();
    let pages = checkout.path().join("pages");
    Daglight::new(&checkout, ["man", "pages"]).finish().ended_with(0);
    let groff = Groff::find().expect("groff");
    let mut shown = 0;
    for page in fs::read_dir(&pages).expect("pages").flatten() {
        let mut man = Command::new(groff.program());
        man.args(["-man", "-Tutf8", "-ww", "-P-cbou"]).arg(page.path());
        let output = output(&mut man);
        let (text, errors) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success() && errors.is_empty(), "{page:?}: {errors}");
        assert!(text.contains("SYNOPSIS") && text.contains("daglight"), "{page:?}: {text}");
        shown += 1;
    }
    assert!(shown > 15, "{shown}");
}

#[test]
fn init_writes_settings_once_and_replaces_them_when_it_is_told_to() {
    let checkout = Checkout::new();
    let file = checkout.path().join("project/daglight.toml");
    Daglight::new(&checkout, ["init", "project"]).finish().ended_with(0);
    let template = fs::read_to_string(&file).expect("a file");
    assert!(template.contains("\n[tracker]\n"), "{template}");

    fs::write(&file, "team = \"risk\"\n").expect("a file");
    let refused = Daglight::new(&checkout, ["init", "project"]).finish().ended_with(2);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&file).expect("a file"), "team = \"risk\"\n");
    Daglight::new(&checkout, ["init", "project", "--force"]).finish().ended_with(0);
    assert_eq!(fs::read_to_string(&file).expect("a file"), template);

    let left = fs::read_dir(checkout.path().join("project")).expect("a folder").count();
    assert_eq!(left, 1, "nothing else is left there");
    // It counts, and changes nothing.
    Daglight::new(&checkout, ["init"]).finish().ended_with(0);
    let config = Daglight::new(&checkout, ["config"]).finish().ended_with(0);
    assert!(config.stdout.contains("daglight.toml"), "{}", config.stdout);
}

#[test]
fn a_run_without_a_server_is_no_warning_and_says_in_one_line_how_it_gets_one() {
    let checkout = Checkout::new();
    Daglight::new(&checkout, ["init"]).finish().ended_with(0);
    let pipeline = checkout.pipeline("quiet", "-- node: one\nCREATE VIEW one AS SELECT 1 AS a;\n");
    let finished = Daglight::new(&checkout, ["run".as_ref(), pipeline.as_os_str()]).finish().ended_with(0);
    let about: Vec<&str> = finished.stderr.lines().filter(|line| line.contains("HAMILTON_API_URL")).collect();
    assert_eq!(about.len(), 1, "{}", finished.stderr);
    assert!(!finished.stderr.contains("warning"), "{}", finished.stderr);
}
