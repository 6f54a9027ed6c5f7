//! The command line.

use std::{num::NonZeroUsize, path::PathBuf};

use chrono::TimeDelta;
use clap::{
    Args as ClapArgs, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser as _},
};
use daglight::{
    bundle::Criterion,
    cluster::ClusterAddress,
    identity::{DagName, NodeSelector},
};

use crate::{
    given_token::GivenToken,
    option_values::{age, count, memory, milliseconds, parameter, port, positive, size, threads},
    set_up_args::{CompletionsArgs, InitArgs, ManArgs},
    worker_args::WorkerArgs,
};

/// Run telemetry for Apache DataFusion pipelines: the Hamilton UI, OpenTelemetry and a run bundle from one run.
#[derive(Debug, Parser)]
#[command(name = "daglight", bin_name = "daglight", version, max_term_width = 110)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run SQL scripts as an instrumented pipeline.
    Run(RunArgs),
    /// Show the pipeline that SQL scripts make, and which part of it would run, without running it.
    Plan(PlanArgs),
    /// Make the report of a bundle again, and print it.
    Report(ReportArgs),
    /// Show what changed between runs: time, rows, plans, findings, outputs and settings.
    ///
    /// Exit codes: 0, the runs were compared; 3, a `--fail-on` criterion was met.
    Compare(CompareArgs),
    /// Check whether a bundle is whole, or pack it into one file.
    Bundle(BundleArgs),
    /// List the runs of each pipeline with their time, rows, changes of plans and findings.
    History(HistoryArgs),
    /// Deliver what waits in bundles: records to the Hamilton UI, lineage events to a receiver of OpenLineage.
    ///
    /// Exit codes: 0, all records and lineage events of runs that had a server or receiver are delivered; runs that were
    /// recorded without a server are counted and keep waiting for one; 1, something still waits although its server or
    /// receiver is configured, or something failed; 2, wrong input, or something waits for a server or receiver that the run
    /// had, and none is configured now (HAMILTON_API_URL and so on, OPENLINEAGE_URL); 3, everything is delivered, but the server may still carry
    /// out a request that it did not answer with success: run the command again after the time shown, to verify what the
    /// server has.
    Sync(SyncArgs),
    /// Show the runs of a folder in a browser: their reports, comparisons, and running runs.
    ///
    /// The pages are for this machine only: they can be read at 127.0.0.1 and localhost, and pages of other sites cannot
    /// request them.
    Serve(ServeArgs),
    /// Ask bundles by SQL: their runs, nodes, queries, operators, spans, logs, artifacts, summaries and findings are tables.
    Query(QueryArgs),
    /// Write the spans of a bundle in the format of another viewer, or all that it holds as Parquet.
    Export(ExportArgs),
    /// Send the traces, metrics and logs of a bundle to an OpenTelemetry backend.
    Replay(ReplayArgs),
    /// List runs with their status, their age, and what waits for the tracker.
    Status(StatusArgs),
    /// Delete old bundles, except packed ones, those of running runs, and those with undelivered records for a tracking server that
    /// the run had or that is configured now.
    Prune(PruneArgs),
    /// Serve as a worker of a cluster: execute parts of the queries of `daglight run --cluster`.
    ///
    /// Whoever reaches the address can have queries executed: listen where only the machines of the cluster are.
    Worker(WorkerArgs),
    /// Check configuration, output folder, server, user, project and clock, and suggest fixes.
    Doctor,
    /// Show every setting in force and where its value comes from.
    Config(ConfigArgs),
    /// Write a commented `daglight.toml` to start from.
    Init(InitArgs),
    /// Print a script that lets a shell complete the commands and options of daglight.
    Completions(CompletionsArgs),
    /// Write the manual pages of daglight and its commands.
    Man(ManArgs),
}

impl Command {
    /// Whether standard output is for one JSON document.
    pub(crate) fn prints_json(&self) -> bool {
        match self {
            Self::Run(RunArgs { json, .. })
            | Self::Plan(PlanArgs { json, .. })
            | Self::Report(ReportArgs { json, .. })
            | Self::Compare(CompareArgs { json, .. })
            | Self::History(HistoryArgs { json, .. })
            | Self::Status(StatusArgs { json, .. })
            | Self::Config(ConfigArgs { json, .. }) => *json,
            Self::Bundle(_)
            | Self::Serve(_)
            | Self::Query(_)
            | Self::Export(_)
            | Self::Sync(_)
            | Self::Replay(_)
            | Self::Prune(_)
            | Self::Worker(_)
            | Self::Doctor
            | Self::Init(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
        }
    }
}

/// A pipeline of SQL, and the selected part.
#[derive(Debug, ClapArgs)]
pub(crate) struct ScriptArgs {
    /// The scripts, together one pipeline; `-` is standard input. Each CREATE, COPY, INSERT and SELECT is a node of it.
    #[arg(value_name = "FILE.sql", required_unless_present_any = ["commands", "files"])]
    pub(crate) scripts: Vec<PathBuf>,
    /// Another script, as `datafusion-cli` has it: the same as FILE.sql, behind those.
    #[arg(long = "file", short = 'f', value_name = "FILE.sql")]
    pub(crate) files: Vec<PathBuf>,
    /// SQL to run after the files.
    #[arg(long = "command", short = 'c', value_name = "SQL", allow_hyphen_values = true)]
    pub(crate) commands: Vec<String>,
    /// The pipeline's name, by convention namespace::name_vN. Default: the name of the first script.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) dag_name: Option<DagName>,
    /// What may be captured and where it goes: dev, ci, prod or a profile of daglight.toml. Default: dev.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) profile: Option<String>,
    /// The value of a placeholder `$name` in the scripts.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter, allow_hyphen_values = true)]
    pub(crate) parameters: Vec<(String, String)>,
    /// Only these nodes: `orders`, `+orders` with all that it needs, `orders+` with all that needs it, `tag:layer=gold`;
    /// several separated by spaces, or by repeating the option. The grammar is that of dbt.
    #[arg(long, value_name = "NODES", allow_hyphen_values = true)]
    pub(crate) select: Vec<NodeSelector>,
    /// Exclude these nodes.
    #[arg(long, value_name = "NODES", allow_hyphen_values = true)]
    pub(crate) exclude: Vec<NodeSelector>,
    /// Run only what did not complete in that run: nodes that failed or did not run. A bundle, a folder (its last run counts),
    /// or the id of a run in the output folder.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["select", "exclude"])]
    pub(crate) retry: Option<PathBuf>,
}

impl ScriptArgs {
    /// The files of the pipeline, in their order.
    pub(crate) fn all_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.scripts.iter().chain(&self.files)
    }
}

#[derive(Debug, ClapArgs)]
#[command(override_usage = "daglight run [OPTIONS] <FILE.sql>...\n       daglight run [OPTIONS] -c <SQL>...")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) script: ScriptArgs,
    /// The folder for the bundle. Default: `out`.
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// A tag of the run. Tags of every run stand under `[tags]` in daglight.toml.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = parameter, allow_hyphen_values = true)]
    pub(crate) tags: Vec<(String, String)>,
    /// How many independent nodes may run at the same time. With 1, statements run in the order of the script.
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive, allow_hyphen_values = true)]
    pub(crate) jobs: NonZeroUsize,
    /// When a node fails, keep running nodes that do not depend on it.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// How the rows of queries are printed.
    #[arg(long, value_name = "FORMAT", default_value = "table", allow_hyphen_values = true)]
    pub(crate) format: RowFormat,
    /// How many rows of each query are printed. All rows are computed; a line below a table says how many more there are.
    /// Default: 20 of a table, all in the other formats.
    #[arg(long, alias = "rows", value_name = "COUNT", value_parser = count::<usize>, allow_hyphen_values = true)]
    pub(crate) max_rows: Option<usize>,
    /// Memory that queries may take, such as 4GB or 512MB; what needs more is written to the disk where DataFusion can.
    /// Default: no limit.
    #[arg(long, value_name = "BYTES", value_parser = memory, allow_hyphen_values = true)]
    pub(crate) memory_limit: Option<usize>,
    /// The folder for what does not fit into memory. Default: a temporary folder of the system.
    #[arg(long, value_name = "DIR")]
    pub(crate) spill_dir: Option<PathBuf>,
    /// Threads that compute, and partitions of each query. Default: one for each processor.
    #[arg(long, value_name = "N", value_parser = threads, allow_hyphen_values = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Execute queries on a cluster: `df://HOST:PORT,HOST:PORT`, workers as `daglight worker` serves them, or `ballista://HOST:PORT`, a
    /// scheduler of Ballista. What cannot be distributed runs here, and the report says why.
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(crate) cluster: Option<ClusterAddress>,
    /// Fail when outputs do not match the semantic registry in daglight.toml.
    #[arg(long)]
    pub(crate) strict_registry: bool,
    /// Show only warnings and errors, and for a run that fails, how it ended and where to look at it. The rows of queries are
    /// still printed.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print the finish report as JSON on standard output, and nothing else there. If nothing ran, it is an object with
    /// `error`.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

/// How the rows of queries are printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// A table for people.
    Table,
    /// Comma-separated values with a line of names.
    Csv,
    /// One JSON array of objects for each query.
    Json,
    /// One JSON object in each line.
    Ndjson,
}

#[derive(Debug, ClapArgs)]
#[command(
    override_usage = "daglight plan [OPTIONS] <FILE.sql>...\n       daglight plan [OPTIONS] -c <SQL>..."
)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) script: ScriptArgs,
    /// How the pipeline is shown.
    #[arg(long, value_name = "FORMAT", default_value = "tree", allow_hyphen_values = true)]
    pub(crate) format: DagFormat,
    /// As `--format json`.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

/// How a pipeline is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DagFormat {
    /// A tree of outputs with their inputs.
    Tree,
    /// A flowchart of Mermaid.
    Mermaid,
    /// A graph of Graphviz.
    Dot,
    /// One JSON document.
    Json,
}

/// The run that a command is for.
#[derive(Debug, ClapArgs)]
pub(crate) struct NamedRun {
    /// The run: a bundle's folder or a file in it, a packed bundle, a folder above bundles for the last run there, or the id of a
    /// run in the output folder. Default: the setting bundle.output_dir, `out`.
    #[arg(value_name = "RUN")]
    pub(crate) bundle: Option<PathBuf>,
}

/// The runs that a command is for.
#[derive(Debug, ClapArgs)]
pub(crate) struct NamedRuns {
    /// The runs: a folder with bundles below it or packed in it, a bundle, a packed one, or the id of a run in the output folder.
    /// Default: the setting bundle.output_dir, `out`.
    #[arg(value_name = "RUNS")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(crate) run: NamedRun,
    /// Print the report as JSON instead of Markdown.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompareArgs {
    /// One or more baseline runs, then the run: each a bundle, a packed one, a folder (its last run counts), or the id of a run
    /// in the output folder. A single folder: its last run and the one before it of the same pipeline. Default: the setting
    /// bundle.output_dir, `out`.
    #[arg(value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Fail with exit code 3 if one of these criteria is met: slower=20%, rows-changed=5%, plan-changed, schema-changed, drift, finding=ID,
    /// failed; separate several with commas.
    #[arg(long, value_name = "CRITERIA", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) fail_on: Vec<Criterion>,
    /// Differences below this are noise, in milliseconds: they meet no criterion and are not listed. Default: 100 for criteria, and
    /// `findings.compared_ms` for what is listed.
    #[arg(long, value_name = "MILLISECONDS", value_parser = milliseconds, allow_hyphen_values = true)]
    pub(crate) min_ms: Option<f64>,
    /// Print the comparison as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write the comparison as one HTML page.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BundleArgs {
    #[command(subcommand)]
    pub(crate) command: BundleCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Compare the files of bundles with their manifests, read them, and add up what was delivered, waits and was dropped.
    ///
    /// Exit codes: 0, no faults; 1, faults, one per line on standard output.
    Verify(VerifyArgs),
    /// Pack a bundle into one compressed file, for a ticket. Every command that takes a bundle also accepts such a file.
    Pack(PackArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) runs: NamedRuns,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PackArgs {
    #[command(flatten)]
    pub(crate) run: NamedRun,
    /// The new file. Default: the id of the run with .tar.gz in the working directory.
    #[arg(long, value_name = "FILE.tar.gz")]
    pub(crate) to: Option<PathBuf>,
    /// Leave out the text of SQL and plans, of errors, checks and warnings, previews of rows, values of parameters and the command
    /// line; of the files, the report, the data summaries, and what servers get: the tracker's records and lineage events. Names
    /// of nodes, tables, columns and files stay, and so do tags, times and counts.
    #[arg(long)]
    pub(crate) without_sql: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) runs: NamedRuns,
    /// Show only runs of this pipeline.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) dag_name: Option<String>,
    /// How many of the last runs of each pipeline to show.
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = positive, allow_hyphen_values = true)]
    pub(crate) last: NonZeroUsize,
    /// Print the runs as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) runs: NamedRuns,
    /// The port; 0 chooses a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8117, value_parser = port, allow_hyphen_values = true)]
    pub(crate) port: u16,
    /// Require this token: at least eight letters, digits, `-`, `_` or `.`. It keeps other users of this machine out.
    // Any text is taken here and checked later: clap would repeat what it refuses.
    #[arg(long, value_name = "TOKEN", env = "DAGLIGHT_SERVE_TOKEN", hide_env_values = true, allow_hyphen_values = true,
        value_parser = OsStringValueParser::new().map(GivenToken::new))]
    pub(crate) token: Option<GivenToken>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  daglight query
  daglight query \"SELECT run_id, status, duration_ms FROM runs ORDER BY started_at DESC\"
  daglight query out \"SELECT operator, sum(compute_ms) AS ms FROM operators GROUP BY operator ORDER BY ms DESC\"")]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    pub(crate) runs: NamedRuns,
    /// One query, in the SQL of DataFusion; `-` reads it from standard input. Without it, the tables are listed with their columns.
    /// It may be given alone, for the runs of the default.
    pub(crate) sql: Option<String>,
    /// How the rows are printed.
    #[arg(long, value_name = "FORMAT", default_value = "table", allow_hyphen_values = true)]
    pub(crate) format: RowFormat,
    /// How many rows are printed. Default: 20 of a table, all in the other formats.
    #[arg(long, value_name = "COUNT", value_parser = count::<usize>, allow_hyphen_values = true)]
    pub(crate) max_rows: Option<usize>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) run: NamedRun,
    /// perfetto: the trace event format, for ui.perfetto.dev. speedscope: for speedscope.app. otlp: one OTLP/JSON document, for
    /// Jaeger and other backends. parquet: the tables of `daglight query`, a file each, in a new folder.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) format: FormatName,
    /// The signal of the format otlp; no other format has it. Default: traces.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) signal: Option<SignalName>,
    /// The new file, or the new folder of parquet. Default: standard output, which parquet cannot be written to.
    #[arg(long, value_name = "PATH")]
    pub(crate) to: Option<PathBuf>,
}

/// A format of `daglight export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    Perfetto,
    Speedscope,
    Otlp,
    Parquet,
}

/// A signal of `daglight export --format otlp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignalName {
    Traces,
    Metrics,
    Logs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    pub(crate) runs: NamedRuns,
    /// How long to try, in seconds, for all bundles together.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = count::<u64>, allow_hyphen_values = true)]
    pub(crate) timeout: u64,
    /// Ask this scheduler of Ballista, `ballista://HOST:PORT`, for the jobs that runs have left there, and cancel those that still run.
    /// No other scheduler is asked, whatever a bundle says.
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(crate) cluster: Option<ClusterAddress>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) run: NamedRun,
    /// The backend's OTLP endpoint, such as http://localhost:4318. Default: OTEL_EXPORTER_OTLP_ENDPOINT.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// OTLP protocol. Default: OTEL_EXPORTER_OTLP_PROTOCOL, or http/protobuf.
    #[arg(long, value_name = "NAME", value_parser = ["http/protobuf", "http/json", "grpc"], allow_hyphen_values = true)]
    pub(crate) protocol: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) runs: NamedRuns,
    /// Print the list as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pub(crate) runs: NamedRuns,
    /// Delete bundles of runs that started longer ago: 90m, 12h, 2d or 1w; a number alone is days. Default: the setting
    /// bundle.keep_days.
    #[arg(long, value_name = "AGE", value_parser = age, allow_hyphen_values = true)]
    pub(crate) older_than: Option<TimeDelta>,
    /// Keep this many of the newest bundles. Default: the setting bundle.keep_count.
    #[arg(long, value_name = "COUNT", value_parser = count::<usize>, allow_hyphen_values = true)]
    pub(crate) keep: Option<usize>,
    /// Delete the oldest bundles until the rest takes no more than this, such as 500MB or 20GB. Default: the setting
    /// bundle.keep_bytes.
    #[arg(long, value_name = "BYTES", value_parser = size, allow_hyphen_values = true)]
    pub(crate) max_bytes: Option<u64>,
    /// Also delete bundles with records that the tracking server does not have yet.
    #[arg(long)]
    pub(crate) even_waiting: bool,
    /// Dry run: print what would be deleted.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete without asking. Without this, the command asks if it runs on a terminal.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConfigArgs {
    /// The profile to show: dev, ci, prod or one of daglight.toml. Default: the one in force.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) profile: Option<String>,
    /// Print the settings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the JSON schema of daglight.toml instead.
    #[arg(long, conflicts_with_all = ["profile", "json"])]
    pub(crate) schema: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use daglight::settings::byte_size;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_size_may_have_a_unit() {
        for text in ["1024", "64kb", "1.5GB", "2 TiB", "512m"] {
            assert_eq!(size(text).ok(), byte_size(text), "{text}");
            assert_eq!(memory(text).ok().map(|bytes| bytes as u64), byte_size(text), "{text}");
            let prune = ["daglight", "prune", "--max-bytes", text];
            let run = ["daglight", "run", "x.sql", "--memory-limit", text];
            assert!(Args::try_parse_from(prune).is_ok() && Args::try_parse_from(run).is_ok(), "{text}");
        }
        for text in ["-1GB", "1XB", "GB", "1e300GB", "NaN", ""] {
            assert!(size(text).is_err() && memory(text).is_err(), "{text}");
        }
        assert_eq!((size("0"), memory("0").is_err()), (Ok(0), true));
    }
}
