//! `daglight compare`: what changed between runs, and whether that should fail a CI pipeline.

use std::{fs::File, io::Read as _, path::Path, process::ExitCode};

use daglight::{
    bundle::{Bundle, ComparedRun, Comparison, ComparisonPage, Manifest, ReportOptions},
    policy::{in_one_line, printable},
};
use serde_json::json;

use crate::{
    args::CompareArgs,
    bundles::{NamedBundle, last_and_before, no_runs, one_bundle, runs_folder, warn_of_damages},
    config::report_options,
    failure::Failure,
    private_file,
    say::{self, note, say},
};

/// The exit code if a criterion is met.
const TRIPPED: u8 = 3;

/// How a page begins.
const PAGE: &[u8] = b"<!DOCTYPE html>";

/// The default number of milliseconds below which a difference meets no criterion.
const NOISE_MS: f64 = 100.0;

pub(crate) fn compare(args: &CompareArgs) -> Result<ExitCode, Failure> {
    if args.html.as_deref() == Some(Path::new("-")) {
        return Err(Failure::input(
            "--html writes a file: expected its name; standard output has the comparison as text, or by --json",
        ));
    }
    if let Some(path) = &args.html {
        keep_what_is_no_page(path)?;
    }
    let options = report_options();
    let mut runs = Vec::new();
    let named = if args.runs.is_empty() { vec![runs_folder(None)?] } else { args.runs.clone() };
    if let [folder] = named.as_slice() {
        let Some(bundles) = last_two(folder)? else {
            note!("{}", no_runs(folder));
            if args.json {
                say!("null");
            }
            return Ok(ExitCode::SUCCESS);
        };
        for bundle in bundles {
            runs.push(read(&bundle, &options)?);
        }
    } else {
        for named in &named {
            runs.push(read(&one_bundle(named)?, &options)?);
        }
    }
    let comparison = runs.split_last().and_then(|(run, baselines)| Comparison::new(baselines, run));
    let Some(mut comparison) = comparison else {
        return Err(Failure::input("there is nothing to compare with"));
    };
    if let Some(min_ms) = args.min_ms {
        comparison.named_from_ms = min_ms;
    }
    let min_ms = args.min_ms.unwrap_or(NOISE_MS);
    let tripped: Vec<(String, String)> = args
        .fail_on
        .iter()
        .flat_map(|criterion| {
            let met = comparison.meets(criterion, min_ms);
            met.into_iter().map(|what| (criterion.to_string(), what))
        })
        .collect();
    if args.json {
        let tripped: Vec<_> =
            tripped.iter().map(|(criterion, what)| json!({"criterion": criterion, "what": what})).collect();
        let document = json!({ "comparison": comparison, "tripped": tripped });
        say::document(&serde_json::to_string_pretty(&document).map_err(Failure::work)?);
    } else {
        say::document(comparison.to_text().trim_end());
    }
    if let Some(path) = &args.html {
        let failed_on = tripped.iter().map(|(criterion, what)| format!("{criterion}: {what}")).collect();
        let page = comparison.to_html_of(&ComparisonPage::default().failed_on(failed_on));
        private_file::write(path, page.as_bytes())
            .map_err(|error| Failure::work(format!("cannot write {}: {error}", path.display())))?;
        note!("written: {}", path.display());
    }
    for criterion in &args.fail_on {
        if let Some(why) = comparison.unjudged(criterion) {
            note!("warning: {criterion} could not be judged: {why}");
        }
    }
    for (criterion, what) in &tripped {
        note!("failed on {criterion}: {what}");
    }
    Ok(if tripped.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(TRIPPED) })
}

/// CI replaces the page of its last comparison. Anything else at that path is there by mistake, such as a script.
fn keep_what_is_no_page(path: &Path) -> Result<(), Failure> {
    // Not a pipe or a device, which has no content to lose.
    if !path.is_file() {
        return Ok(());
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PAGE.len() as u64).read_to_end(&mut start));
    if read.is_ok() && (start.is_empty() || start.eq_ignore_ascii_case(PAGE)) {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{} exists and is not an HTML page: choose a new file for --html",
        path.display()
    )))
}

fn read(bundle: &NamedBundle, options: &ReportOptions) -> Result<ComparedRun, Failure> {
    let run = ComparedRun::read_with(bundle, options).map_err(Failure::work)?;
    warn_of_damages(bundle.shown(), &run.report);
    Ok(run)
}

/// The last run below a folder, and the previous one of the same pipeline that ran all nodes that it ran. `None` if the folder has
/// no runs yet.
fn last_two(folder: &Path) -> Result<Option<[NamedBundle; 2]>, Failure> {
    let Some((last, before)) = last_and_before(folder, compared_with)? else {
        return Ok(None);
    };
    let before = before.ok_or_else(|| match Manifest::read(&last) {
        // Without a fallback: a user who asks about the newest run must not get the result of an older one.
        Err(error) => Failure::work(format!(
            "the newest run of {}, {}, cannot be compared with another of its pipeline: {}",
            folder.display(),
            last.shown(),
            in_one_line(&error)
        )),
        Ok(manifest) => Failure::input(format!(
            "{} has no other run of the pipeline {} that ran the nodes of its last run: expected two runs, or a folder with two of them",
            folder.display(),
            printable(&manifest.identity.dag_name)
        )),
    })?;
    Ok(Some([before, last]))
}

/// Whether a run is one that the last run of its folder is compared with.
fn compared_with(last: &Bundle) -> impl Fn(&Bundle) -> bool + use<> {
    let last = Manifest::read(last).ok();
    move |before| match (Manifest::read(before), &last) {
        (Ok(before), Some(last)) => {
            before.identity.dag_name == last.identity.dag_name && before.ran_all_of(last)
        }
        _ => false,
    }
}
