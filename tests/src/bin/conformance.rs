//! Runs DataFusion's own tests, with the queries of TPC-H and ClickBench among them, and those of TPC-DS on a bare session and on an
//! observed one, and compares what becomes of each record; and the same files as scripts through `daglight run`, whose rows are
//! compared with those of the bare session.

use std::{fs, path::Path, process::Command, sync::Arc};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use daglight::prelude::{Dag, Node, Run, RunOptions, Telemetry};
use daglight_system_tests::{
    SLT_WORK, SltOutcome, SltRecord, slt_files, slt_folder, slt_records, tpcds_queries, write_slt_data,
};
use datafusion::{
    arrow::{
        array::RecordBatch,
        json::{WriterBuilder, writer::LineDelimited},
    },
    error::DataFusionError,
    execution::SessionStateBuilder,
    logical_expr::LogicalPlan,
    physical_plan::{common::collect, execute_stream},
    prelude::{SessionConfig, SessionContext},
};
use dev_services::Workspace;

/// Run DataFusion's own tests on a bare and on an observed session, and compare what becomes of each record
#[derive(Parser)]
struct Arguments {
    /// Only these files, by name such as `copy.slt` or `q64.sql`, or those whose path contains one of these, such as `tpcds/`
    only: Vec<String>,
    /// Run the statements that succeed as scripts through `daglight run` too, and compare the rows
    #[arg(long)]
    scripts: bool,
    /// Print every record that differs in full
    #[arg(long)]
    verbose: bool,
}

/// A file of tests.
struct File {
    name: String,
    records: Vec<SltRecord>,
}

/// As DataFusion's runner has it, so that plans do not depend on the machine.
const PARTITIONS: usize = 4;

/// How often a bare session repeats what an observed one did not do alike.
const REPETITIONS: usize = 8;

/// Settings that `daglight run` makes for itself, which a list of all settings shows.
const OWN_SETTINGS: [&str; 2] = ["datafusion.runtime.temp_directory", "datafusion.sql_parser.collect_spans"];

/// Rows that are shown of those that differ.
const SHOWN_ROWS: usize = 3;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It succeeded with these rows, each an object in JSON; a statement without rows has none.
    Rows(Vec<String>),
    Failed(String),
}

impl Outcome {
    fn is(&self, expected: SltOutcome) -> bool {
        matches!(self, Self::Rows(_)) == (expected == SltOutcome::Success)
    }
}

#[derive(Default)]
struct Counts {
    files: usize,
    records: usize,
    passed: usize,
    unstable: usize,
    differing: usize,
    scripts: usize,
    script_rows: usize,
    script_failures: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let shipped = slt_folder()?;
    // The program is run from another folder than this one.
    let program = Workspace::locate()?.daglight()?;
    let folder = tempfile::tempdir()?;
    let work = folder.path().join(SLT_WORK);
    fs::create_dir_all(work.join("test_files"))?;
    std::os::unix::fs::symlink(shipped.with_file_name("data"), work.join("data"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(write_slt_data(folder.path()))?;
    std::env::set_current_dir(&work)?;
    let counts = runtime.block_on(compare(&arguments, &files(&arguments, &shipped)?, &program))?;
    let Counts { files, records, passed, unstable, differing, .. } = counts;
    println!(
        "{files} files, {records} records: {passed} passed on both, {unstable} are not the same twice on a bare session, \
         {differing} differing"
    );
    if arguments.scripts {
        let Counts { scripts, script_rows, script_failures, .. } = counts;
        println!(
            "{scripts} scripts through daglight run: {script_rows} rows compared, {script_failures} failed"
        );
    }
    ensure!(differing == 0 && counts.script_failures == 0, "not the same as a bare session");
    Ok(())
}

/// The files that are wanted.
fn files(arguments: &Arguments, shipped: &Path) -> Result<Vec<File>> {
    let is_named = |name: &str, only: &String| match Path::new(only).extension() {
        Some(_) => Path::new(name).ends_with(only),
        None => name.contains(only),
    };
    let is_wanted =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| is_named(name, only));
    let mut files = Vec::new();
    for path in slt_files(shipped)? {
        let name = path.strip_prefix(shipped)?.to_string_lossy().into_owned();
        if is_wanted(&name) {
            files.push(File { records: slt_records(&path)?, name });
        }
    }
    for query in tpcds_queries(is_wanted)? {
        files.push(File { name: query.name, records: query.records });
    }
    ensure!(!files.is_empty(), "there is no such file in {}", shipped.display());
    Ok(files)
}

async fn compare(arguments: &Arguments, files: &[File], program: &Path) -> Result<Counts> {
    let telemetry = Telemetry::from_env()?;
    let mut dag = Dag::builder("datafusion::sqllogictest_v1")?;
    for (index, _) in files.iter().enumerate() {
        dag = dag.loader(node_of(index)).end();
    }
    let run = telemetry.start_run(&dag.build()?, RunOptions::default());
    let mut counts = Counts::default();
    for (index, File { name, records }) in files.iter().enumerate() {
        let bare = outcomes(&bare_session(), records).await;
        let observed = observed_outcomes(&telemetry, &run, index, records).await?;
        counts.files += 1;
        counts.records += records.len();
        let mut differing: Vec<usize> =
            (0..records.len()).filter(|index| bare[*index] != observed[*index]).collect();
        let is_passed =
            |index: &usize| bare[*index] == observed[*index] && bare[*index].is(records[*index].expected);
        counts.passed += (0..records.len()).filter(is_passed).count();
        // What a bare session does not do twice cannot be compared: times, random numbers, which of equal rows come first.
        for _ in 0..REPETITIONS {
            if differing.is_empty() {
                break;
            }
            let again = outcomes(&bare_session(), records).await;
            let before = differing.len();
            differing.retain(|index| again[*index] == bare[*index] && !of_time(&records[*index].sql));
            counts.unstable += before - differing.len();
        }
        counts.differing += differing.len();
        for index in differing {
            let record = &records[index];
            println!("{name}:{}: {}", record.line, shortened(&record.sql, arguments.verbose));
            println!("  bare     {}", shortened(&format!("{:?}", bare[index]), arguments.verbose));
            println!("  observed {}", shortened(&format!("{:?}", observed[index]), arguments.verbose));
        }
        if arguments.scripts {
            script(program, name, records, &mut counts).await?;
        }
    }
    run.finish().await;
    telemetry.shutdown();
    Ok(counts)
}

fn node_of(index: usize) -> String {
    format!("file_{index}")
}

fn config() -> SessionConfig {
    SessionConfig::new().with_target_partitions(PARTITIONS)
}

fn bare_session() -> SessionContext {
    let state = SessionStateBuilder::new().with_config(config()).with_default_features().build();
    SessionContext::new_with_state(state)
}

async fn observed_outcomes(
    telemetry: &Telemetry,
    run: &Run,
    index: usize,
    records: &[SltRecord],
) -> Result<Vec<Outcome>> {
    let session = telemetry.session(SessionStateBuilder::new().with_config(config()).with_default_features());
    let work = async |_: Node| Ok::<_, std::convert::Infallible>(outcomes(&session, records).await);
    let Ok(outcomes) = run.node(&node_of(index), work).await;
    Ok(outcomes)
}

async fn outcomes(session: &SessionContext, records: &[SltRecord]) -> Vec<Outcome> {
    // What a test writes is there from the last time.
    let _absent = fs::remove_dir_all("test_files/scratch");
    let mut outcomes = Vec::new();
    for record in records {
        outcomes.push(match rows(session, &record.sql).await {
            Ok((_, batches)) => {
                let mut rows = lines(&batches).unwrap_or_else(|error| vec![format!("not shown: {error}")]);
                if record.any_order {
                    rows.sort();
                }
                Outcome::Rows(rows)
            }
            Err(error) => Outcome::Failed(error.strip_backtrace()),
        });
    }
    outcomes
}

/// The plan of a statement and its rows, as DataFusion's runner gets them.
async fn rows(
    session: &SessionContext,
    sql: &str,
) -> Result<(LogicalPlan, Vec<RecordBatch>), DataFusionError> {
    let plan = session.state().create_logical_plan(sql).await?;
    let frame = session.execute_logical_plan(plan.clone()).await?;
    let task = Arc::new(frame.task_ctx());
    let stream = execute_stream(frame.create_physical_plan().await?, task)?;
    Ok((plan, collect(stream).await?))
}

fn lines(batches: &[RecordBatch]) -> Result<Vec<String>, DataFusionError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(String::from_utf8_lossy(&writer.into_inner()).lines().map(str::to_owned).collect())
}

/// Whether a statement shows how long something took.
fn of_time(sql: &str) -> bool {
    sql.to_lowercase().contains("explain analyze")
}

fn shortened(text: &str, is_whole: bool) -> String {
    if is_whole { text.to_owned() } else { text.chars().take(300).collect() }
}

/// Runs the statements of a file that succeed as one script, and compares what it prints with the rows of a bare session.
async fn script(program: &Path, name: &str, records: &[SltRecord], counts: &mut Counts) -> Result<()> {
    let session = bare_session();
    let _absent = fs::remove_dir_all("test_files/scratch");
    let (mut statements, mut expected) = (Vec::new(), Vec::new());
    for record in records {
        // A text in the middle of a script must not be what ends it.
        let sql = record.sql.trim().trim_end_matches(';');
        // What it prints is not the same twice, or not that of a bare session.
        if of_time(sql) || of_functions(sql) {
            continue;
        }
        let Ok((plan, batches)) = rows(&session, sql).await else { continue };
        if prints(&plan, sql) {
            // What the writer of this program cannot show cannot be compared.
            let Ok(rows) = lines(&batches) else { continue };
            expected.extend(rows);
        }
        statements.push(sql.to_owned());
    }
    if statements.is_empty() {
        return Ok(());
    }
    let _absent = fs::remove_dir_all("test_files/scratch");
    // The last line of a statement may be a comment.
    fs::write("script.sql", statements.join("\n;\n") + "\n;\n")?;
    let output = Command::new(program)
        .args(["run", "script.sql", "--output-dir", "out", "--format", "ndjson", "--quiet", "--threads"])
        .arg(PARTITIONS.to_string())
        .env("HAMILTON_TRACKER_ENABLED", "false")
        // A bare session draws no trees, as `datafusion-cli` does.
        .env("DATAFUSION_EXPLAIN_FORMAT", "indent")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let _absent = fs::remove_dir_all("out");
    let mut printed: Vec<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    for rows in [&mut printed, &mut expected] {
        rows.retain(|row| !OWN_SETTINGS.iter().any(|setting| row.contains(setting)));
        rows.sort();
    }
    counts.scripts += 1;
    counts.script_rows += expected.len();
    if !output.status.success() {
        counts.script_failures += 1;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let error =
            said.lines().skip_while(|line| !line.starts_with("error")).take(3).collect::<Vec<_>>().join(" ");
        println!("{name} as a script: {} {}", output.status, shortened(&error, false));
    } else if printed != expected && is_stable(&statements, &expected).await {
        counts.script_failures += 1;
        let missing = without(&expected, &printed);
        println!(
            "{name} as a script: {} of {} rows are not among the {} that are printed, such as",
            missing.len(),
            expected.len(),
            printed.len()
        );
        let other = without(&printed, &expected);
        missing.iter().take(SHOWN_ROWS).for_each(|row| println!("  bare     {}", shortened(row, false)));
        other.iter().take(SHOWN_ROWS).for_each(|row| println!("  observed {}", shortened(row, false)));
    }
    Ok(())
}

/// The rows that are not among others, which are sorted.
fn without<'r>(rows: &'r [String], others: &[String]) -> Vec<&'r String> {
    rows.iter().filter(|row| others.binary_search(row).is_err()).collect()
}

/// Whether a bare session returns these rows each time. What it does not cannot be compared.
async fn is_stable(statements: &[String], expected: &[String]) -> bool {
    for _ in 0..REPETITIONS {
        if shown_rows(statements).await != expected {
            return false;
        }
    }
    true
}

/// The rows that a bare session returns for statements that succeed, sorted.
async fn shown_rows(statements: &[String]) -> Vec<String> {
    let session = bare_session();
    let _absent = fs::remove_dir_all("test_files/scratch");
    let mut shown = Vec::new();
    for statement in statements {
        if let Ok((plan, batches)) = rows(&session, statement).await
            && prints(&plan, statement)
        {
            shown.extend(lines(&batches).unwrap_or_default());
        }
    }
    shown.retain(|row| !OWN_SETTINGS.iter().any(|setting| row.contains(setting)));
    shown.sort();
    shown
}

/// Whether a statement lists the functions of the session, of which `daglight run` has those of `datafusion-cli`.
fn of_functions(sql: &str) -> bool {
    let sql = sql.to_lowercase();
    sql.contains("show functions") || sql.contains("information_schema.routines where function_type")
}

/// Whether `daglight run` prints what a statement returns, and that is the same each time. A statement that writes returns a
/// count, which is not printed.
fn prints(plan: &LogicalPlan, sql: &str) -> bool {
    !matches!(plan, LogicalPlan::Copy(_) | LogicalPlan::Dml(_) | LogicalPlan::Ddl(_)) && !of_time(sql)
}
