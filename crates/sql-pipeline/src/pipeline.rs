//! A script as a DAG, with the parameters it reads and the order its statements can run in.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use daglight_materializers::{ParamTable, Registry};
use daglight_run_identity::{Dag, DagName, DagNameError};
use daglight_run_session::Panic;
use datafusion::{error::DataFusionError, execution::context::SessionContext, logical_expr::LogicalPlan};
use serde_json::Value;

use crate::{
    dependencies::{self, Links},
    describe::{Parts, describe},
    effect::Effect,
    locate::SourceError,
    names::{self, name_of_relation},
    outputs::{StatementOutput, outputs},
    param_tables::{self, UsedParamTable},
    parameter::{Parameter, ParameterDeclaration},
    parameters,
    pipeline_error::PipelineError,
    quoted_parameters::quoted_parameter,
    script::Script,
    statement::Statement,
};

/// The options for creating a pipeline.
#[derive(Debug, Clone, Default)]
pub struct PipelineOptions {
    /// The DAG's name. By default the script's file name without its extension.
    pub dag_name: Option<DagName>,
    /// Values of parameters, by name without `$`. They take precedence over the defaults in the script.
    pub parameters: BTreeMap<String, String>,
    /// Parameter tables. Each one that the script reads is registered before the first statement, and becomes an input node with
    /// its name.
    pub param_tables: Vec<ParamTable>,
    /// Tags and documentation for the nodes of outputs.
    pub registry: Registry,
    /// Whether the session reads files by their names, `SELECT * FROM 'orders.parquet'`, as after
    /// [`SessionContext::enable_url_table`]. A name without a table then refers to a file.
    pub reads_files: bool,
}

/// A script with its nodes, dependencies and parameters.
///
/// Each parameter is an input node called `$name`. A table that no statement defines is left to the catalog of the session that
/// runs the script.
#[derive(Debug, Clone)]
pub struct Pipeline {
    script: Script,
    dag: Dag,
    steps: Vec<Step>,
    parameters: BTreeMap<String, Parameter>,
    pub(crate) param_tables: Vec<UsedParamTable>,
    /// All given names, for suggesting corrections of misspelled ones.
    pub(crate) given_param_tables: Vec<String>,
    /// See [`Pipeline::tables`].
    tables: BTreeSet<String>,
    pub(crate) reads_files: bool,
}

/// A statement in the order of running.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Its index in [`Script::statements`].
    pub statement: usize,
    /// Its node; `None` for setup, which runs after everything before it and before everything after it.
    pub node: Option<String>,
    /// The steps that must end before it starts, if statements run concurrently.
    pub after: BTreeSet<usize>,
    /// The steps without which it cannot run: those that it reads from, and those that create what it drops.
    pub(crate) needs: BTreeSet<usize>,
    /// Those of them whose output exists only in the session, and is lost when that ends.
    pub(crate) needs_in_session: BTreeSet<usize>,
    /// The output of its statement.
    pub(crate) output: Option<StatementOutput>,
}

impl Pipeline {
    /// Creates the DAG of a script.
    ///
    /// # Errors
    /// When two nodes have the same name, a table is defined twice, a parameter has no value or an invalid one, or a value is given
    /// for an unknown parameter. A script without statements is a DAG without nodes.
    pub fn new(script: Script, options: PipelineOptions) -> Result<Self, PipelineError> {
        let parameters = read_parameters(&script, &options.parameters)?;
        // Names depend only on the text of the script, everything else on the values it runs with.
        let valued = match script.has_literal_places() {
            true => Some(script.with_values(&parameters).map_err(PipelineError::Value)?),
            false => None,
        };
        let as_written = script;
        let script = valued.as_ref().unwrap_or(&as_written);
        // If a parameter is used in a setting, its value may change where statements end.
        let is_cut_alike = as_written.statements().len() == script.statements().len();
        let named = if is_cut_alike { &as_written } else { script };
        let place = |index: usize| Box::new(script.start_of(&script.statements()[index]));
        let first_line = |index: usize| script.line_of(&script.statements()[index]);
        let links = dependencies::links(script).map_err(|twice| PipelineError::AlreadyDefined {
            relation: name_of_relation(&twice.relation),
            first_line: first_line(twice.first),
            place: place(twice.second),
        })?;
        let param_tables = param_tables::used(script, &options.param_tables);
        let given_param_tables = options.param_tables.iter().map(|table| table.name().to_owned()).collect();
        let inputs = parameters.values().map(Parameter::node_name);
        let inputs = inputs.chain(param_tables.iter().map(|used| used.table.name().to_owned())).collect();
        let nodes = names::node_names(named, &inputs).map_err(|twice| match twice.first {
            Some(first) => PipelineError::DuplicateName {
                name: twice.name,
                first_line: first_line(first),
                place: place(twice.second),
            },
            None => PipelineError::NamedLikeInput { name: twice.name, place: place(twice.second) },
        })?;
        let dag_name = match options.dag_name {
            Some(name) => name,
            None => name_of_script(script.path()).map_err(PipelineError::DagName)?,
        };
        let outputs = outputs(named);
        let parts = Parts {
            script,
            nodes: &nodes,
            links: &links,
            outputs: &outputs,
            parameters: &parameters,
            param_tables: &param_tables,
            registry: &options.registry,
        };
        let dag = describe(dag_name, &parts)?;
        let steps = nodes
            .into_iter()
            .zip(links)
            .zip(outputs)
            .enumerate()
            .map(|(statement, ((node, links), output))| {
                let Links { dependencies, in_session: needs_in_session, after } = links;
                let needs = &dependencies | &needs_in_session;
                Step { statement, node, after, needs, needs_in_session, output }
            })
            .collect();
        let script = valued.unwrap_or(as_written);
        let defined = script.statements().iter().filter_map(|statement| match &statement.relations.effect {
            Effect::Define { relation, .. } => Some(relation.table.to_string()),
            _ => None,
        });
        let tables = defined.collect();
        let reads_files = options.reads_files;
        Ok(Self { script, dag, steps, parameters, param_tables, given_param_tables, tables, reads_files })
    }

    /// The names, without a schema, of the tables and views that statements define. A session that reads files by their names must
    /// not treat these as folders: `CREATE TABLE orders` next to a folder `orders` would find an existing table.
    pub fn tables(&self) -> &BTreeSet<String> {
        &self.tables
    }

    /// The script.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The DAG: what the tracker shows as a version.
    pub fn dag(&self) -> &Dag {
        &self.dag
    }

    /// The statements in the order of the script.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The parameters that the script reads, by name.
    pub fn parameters(&self) -> &BTreeMap<String, Parameter> {
        &self.parameters
    }

    /// The inputs of a run of this pipeline: the values of its parameters, by the names `$name` of their nodes, and its parameter
    /// tables.
    pub fn inputs(&self) -> BTreeMap<String, Value> {
        let parameters =
            self.parameters.values().map(|parameter| (parameter.node_name(), parameter.text.clone().into()));
        let tables =
            self.param_tables.iter().map(|used| (used.table.name().to_owned(), used.table.as_input()));
        parameters.chain(tables).collect()
    }

    /// The statement of a step.
    pub fn statement(&self, step: &Step) -> &Statement {
        &self.script.statements()[step.statement]
    }

    /// The plan of a step's statement with the values of the parameters inserted. A plan's hash must be computed before that.
    ///
    /// # Errors
    /// When a value does not have the type that the plan expects.
    pub fn bind(&self, step: &Step, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let statement = self.statement(step);
        if statement.placeholders.len() == statement.literals.len() {
            return Ok(plan);
        }
        parameters::bind(plan, statement, &self.parameters)
    }

    /// The plan of a step's statement, with the values of the parameters inserted.
    pub(crate) async fn plan(
        &self,
        step: &Step,
        session: &SessionContext,
    ) -> Result<LogicalPlan, DataFusionError> {
        let statement = self.statement(step);
        let state = session.state();
        let refused = match state.statement_to_plan(statement.parse()?).await {
            Ok(plan) => return self.bind(step, plan),
            Err(refused) => refused,
        };
        // Some places need a literal when the plan is created, such as the arguments of a table function.
        let has_placeholders = statement.placeholders.len() > statement.literals.len();
        let literal = if has_placeholders { statement.with_all_literals(&self.parameters) } else { None };
        match literal {
            Some(literal) => state.statement_to_plan(literal).await,
            None => Err(refused),
        }
    }

    /// The place in the script to which an error of a step refers.
    pub fn locate(&self, step: &Step, error: DataFusionError) -> SourceError {
        self.script.locate(self.statement(step), step.node.as_deref(), error)
    }
}

impl Pipeline {
    /// The error of a step whose statement ended without its own error, for example by a panic.
    pub(crate) fn failed_by(&self, step: &Step, message: String, panic: Option<Panic>) -> SourceError {
        let statement = self.statement(step);
        SourceError {
            place: Box::new(self.script.start_of(statement)),
            node: step.node.clone(),
            message,
            cause: panic.map(|panic| Arc::new(panic) as _),
        }
    }
}

fn name_of_script(path: &str) -> Result<DagName, DagNameError> {
    let stem = Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_default().try_into()
}

fn read_parameters(
    script: &Script,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Parameter>, PipelineError> {
    let declarations: BTreeMap<&str, &ParameterDeclaration> =
        script.declarations().iter().map(|declared| (declared.name.as_str(), declared)).collect();
    let statements = script.statements().iter();
    let placeholders =
        statements.flat_map(|statement| statement.placeholders.iter().map(move |read| (statement, read)));
    let read: BTreeSet<&str> =
        placeholders.clone().map(|(_, placeholder)| placeholder.name.as_str()).collect();

    let is_unread =
        |name: &str| !read.contains(name) && (given.contains_key(name) || declarations.contains_key(name));
    if let Some(error) = parameter_in_text(script, is_unread) {
        return Err(error);
    }
    if let Some(name) = given.keys().find(|name| !read.contains(name.as_str())) {
        return Err(PipelineError::UnknownParameter {
            path: script.path().to_owned(),
            name: name.clone(),
            nearest: nearest(name, read.iter().copied()),
        });
    }
    if let Some(unused) = script.declarations().iter().find(|declared| !read.contains(declared.name.as_str()))
    {
        return Err(PipelineError::UnusedDeclaration {
            name: unused.name.clone(),
            nearest: nearest(&unused.name, read.iter().copied()),
            place: Box::new(script.place(unused.file, unused.line, unused.column)),
        });
    }
    let mut parameters = BTreeMap::new();
    for (statement, placeholder) in placeholders {
        let name = &placeholder.name;
        if parameters.contains_key(name) {
            continue;
        }
        let declaration = declarations.get(name.as_str()).copied();
        let text = given.get(name).map(String::as_str);
        match (Parameter::new(name, text, declaration), declaration) {
            (Some(parameter), _) => {
                parameters.insert(name.clone(), parameter);
            }
            (None, Some(declared)) => {
                return Err(PipelineError::ParameterType {
                    name: name.clone(),
                    value: text.unwrap_or_default().to_owned(),
                    wanted: declared.kind().name(),
                    place: Box::new(script.place(declared.file, declared.line, declared.column)),
                });
            }
            (None, None) => {
                return Err(PipelineError::MissingParameter {
                    name: name.clone(),
                    place: Box::new(script.place_in(statement, placeholder.line, placeholder.column)),
                });
            }
        }
    }
    Ok(parameters)
}

/// A parameter within a text, if a value is given or declared that nothing reads, or if it cannot mean anything else.
fn parameter_in_text(script: &Script, is_unread: impl Fn(&str) -> bool) -> Option<PipelineError> {
    script.statements().iter().filter(|statement| statement.text.contains('$')).find_map(|statement| {
        let found = quoted_parameter(&statement.tokens(), &is_unread)?;
        let (line, column) = found.at;
        let place = Box::new(script.place_in(statement, line as usize, column as usize));
        Some(PipelineError::ParameterInText { name: found.name, instead: found.instead, place })
    })
}

/// The candidate most similar to `name` but not equal to it, if one is similar enough to be meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .filter(|candidate| *candidate != name)
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Redactor;

    use super::*;

    fn pipeline(sql: &str, given: &[(&str, &str)]) -> Result<Pipeline, PipelineError> {
        let parameters = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Pipeline::new(
            Script::parse("dir/sales.sql", sql).unwrap(),
            PipelineOptions { parameters, ..PipelineOptions::default() },
        )
    }

    #[track_caller]
    fn check_refused(sql: &str, given: &[(&str, &str)], expected: &str) {
        let error = pipeline(sql, given).unwrap_err();
        assert_eq!(error.shown_by(&Redactor::default()), expected);
        let (message, debug) = (error.to_string(), format!("{error:?}"));
        assert!(!message.contains('\n') && !message.contains("last week") && debug == message, "{message}");
    }

    const SCRIPT: &str = "\
-- Orders from this day on.
-- param: from_date = 1995-01-01

SET datafusion.execution.batch_size = 4096;

-- Every order.
-- tag: layer=raw
CREATE EXTERNAL TABLE orders STORED AS PARQUET LOCATION 'orders.parquet';

-- Recent ones.
CREATE VIEW recent AS SELECT * FROM orders WHERE day >= $from_date;

COPY recent TO 'out/recent.parquet';

SELECT count(*) FROM recent;
";

    #[test]
    fn statements_and_parameters_become_nodes() {
        let pipeline = pipeline(SCRIPT, &[]).unwrap();
        let dag = pipeline.dag();
        let found: Vec<String> = dag
            .nodes()
            .iter()
            .map(|node| {
                format!(
                    "{} {} {} {}",
                    node.name,
                    node.kind.name(),
                    node.output_type,
                    node.dependencies.join(",")
                )
            })
            .collect();
        assert_eq!(dag.name().to_string(), "sales");
        assert_eq!(
            found,
            [
                "$from_date input date ",
                "orders data_loader table ",
                "recent transform view orders,$from_date",
                "recent_parquet data_saver parquet recent",
                "output_1 transform result recent",
            ]
        );
        let orders = dag.node("orders").unwrap();
        assert_eq!(orders.documentation.as_deref(), Some("Every order."));
        assert_eq!(orders.tags["layer"], "raw");
        assert_eq!(orders.code.as_ref().map(|code| (code.first_line, code.last_line)), Some((8, 8)));
        assert_eq!(dag.node("output_1").unwrap().tags["output"], "rows");
        assert_eq!(
            dag.node("$from_date").unwrap().documentation.as_deref(),
            Some("Orders from this day on.")
        );
        assert_eq!(dag.files()["dir/sales.sql"], SCRIPT);
        let nodes: Vec<Option<&str>> = pipeline.steps().iter().map(|step| step.node.as_deref()).collect();
        assert_eq!(nodes, [None, Some("orders"), Some("recent"), Some("recent_parquet"), Some("output_1")]);
    }

    #[test]
    fn values_and_comments_make_no_version_but_settings_and_defaults_do() {
        let version = |sql: &str, given: &[(&str, &str)]| {
            let pipeline = pipeline(sql, given).unwrap();
            (pipeline.dag().dag_hash().to_owned(), pipeline.dag().code_hash().to_owned())
        };
        let first = version(SCRIPT, &[]);
        assert_eq!(version(SCRIPT, &[("from_date", "1996-01-01")]), first);
        assert_eq!(version(&SCRIPT.replace("Recent ones.", "New ones."), &[]), first);
        assert_ne!(version(&SCRIPT.replace("4096", "8192"), &[]).1, first.1);
        assert_ne!(version(&SCRIPT.replace("1995-01-01", "1995-01-02"), &[]).1, first.1);
        assert_eq!(version("SELECT $x", &[("x", "1")]), version("SELECT $x", &[("x", "1.5")]));
    }

    /// Hashes identify a version across runs, so they must not change with a new Daglight.
    #[test]
    fn hashes_stay() {
        let sql = "-- Orders.
-- param: from_date = 1995-01-01

SET datafusion.execution.batch_size = 4096;
CREATE SCHEMA s;
-- node: base
-- tag: layer=raw, owner=me
CREATE TABLE S.Orders AS SELECT value AS X, DATE '1996-01-01' AS d FROM generate_series(1, 10) AS t;
/* a view */
CREATE OR REPLACE VIEW recent AS WITH o AS (SELECT * FROM s.orders) SELECT * FROM o WHERE d >= $from_date;
INSERT INTO s.orders SELECT * FROM recent;
SELECT count(*), $region FROM recent r JOIN s.orders USING (x);
EXPLAIN SELECT * FROM recent;
SELECT * FROM information_schema.tables;
DROP VIEW recent;
";
        let parameters = [("region".to_owned(), "ASIA".to_owned())].into();
        let options = PipelineOptions { parameters, ..PipelineOptions::default() };
        let pipeline = Pipeline::new(Script::parse("e2.sql", sql).unwrap(), options).unwrap();
        assert_eq!(
            (pipeline.dag().dag_hash(), pipeline.dag().code_hash()),
            (
                "b81bc8aa0735ff146310e2526c3e70a4d12e639403e6bd4d5b8a1e2876c4e1ef",
                "fb83febcb035ceae05bdc27d62da79d6bbee94bd84256fb83a17cb79e09e3368"
            )
        );
    }

    #[test]
    fn parameters_are_checked_before_anything_runs() {
        check_refused(
            "SELECT 1,\n $region",
            &[],
            "dir/sales.sql:2:2: the parameter `region` has no value: write --param region=VALUE, or `-- param: region = VALUE` in the \
             script\n2 |  $region\n  |  ^",
        );
        check_refused(
            "SELECT $region",
            &[("regoin", "ASIA")],
            "dir/sales.sql: no statement reads a parameter `regoin`; did you mean `region`?",
        );
        check_refused("SELECT 1", &[("x", "1")], "dir/sales.sql: no statement reads a parameter `x`");
        check_refused(
            "-- param: regoin = ASIA\nSELECT $region",
            &[("region", "x")],
            "dir/sales.sql:1:4: no statement reads the parameter `regoin`; did you mean `region`?\n\
             1 | -- param: regoin = ASIA\n  |    ^",
        );
        check_refused(
            "-- param: n = 3\nSELECT now() - INTERVAL '$n days'",
            &[],
            "dir/sales.sql:2:25: `$n` stands within a text, where it is not read as a parameter: write INTERVAL $n DAY\n\
             2 | SELECT now() - INTERVAL '$n days'\n  |                         ^",
        );
        check_refused(
            "SELECT a FROM t WHERE b = '$region'",
            &[("region", "ASIA")],
            "dir/sales.sql:1:27: `$region` stands within a text, where it is not read as a parameter: write $region \
             without quotes\n1 | SELECT a FROM t WHERE b = '$region'\n  |                           ^",
        );
        check_refused(
            SCRIPT,
            &[("from_date", "last week")],
            "parameter `from_date` expects a date (its default at dir/sales.sql:2:4 is one), found \"last week\"",
        );
    }

    #[test]
    fn names_and_definitions_are_unique() {
        check_refused(
            "-- node: x\nSELECT 1;\n-- node: x\nSELECT 2",
            &[],
            "dir/sales.sql:4:1: the name \"x\" is taken by the node at line 2\n4 | SELECT 2\n  | ^",
        );
        check_refused(
            "CREATE VIEW v AS SELECT 1;\nCREATE VIEW v AS SELECT 2",
            &[],
            "dir/sales.sql:2:1: \"v\" is defined already, at line 1: write CREATE OR REPLACE, drop it first, or give \
             this one another name\n2 | CREATE VIEW v AS SELECT 2\n  | ^",
        );
        let replaced =
            pipeline("CREATE VIEW v AS SELECT 1; CREATE OR REPLACE VIEW v AS SELECT 2; SELECT * FROM v", &[]);
        assert_eq!(replaced.unwrap().dag().node("output_1").unwrap().dependencies, ["v_2"]);
    }

    #[test]
    fn a_script_without_statements_has_no_nodes() {
        for sql in ["", "-- nothing", ";;"] {
            let pipeline = pipeline(sql, &[]).unwrap();
            assert_eq!((pipeline.steps().len(), pipeline.dag().nodes().len()), (0, 0), "{sql}");
        }
    }
}
