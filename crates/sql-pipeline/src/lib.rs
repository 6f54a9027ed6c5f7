//! A SQL script as an instrumented pipeline: statements, names, dependencies, tags, parameters, running in DAG order.
//!
//! [`Script::parse`] splits a script into statements and reads the comments above them; a [`Pipeline`] turns them into a DAG and
//! runs it. Runs belong to `daglight-run-session`, DAGs to `daglight-run-identity`.

// Reading a script: its text, its statements, the comments around them.
mod directive;
mod directives;
mod expectation;
mod location;
mod near_directives;
mod parser_messages;
mod script;
mod script_error;
mod source;
mod split;
mod sql_settings;
mod statement;
mod unsupported;
mod unwritten;

// What each statement does, and to which relations.
mod effect;
mod files_by_name;
mod kind;
mod literals;
mod object_names;
mod parameter;
mod parameter_type;
mod parameters;
mod prepared;
mod quoted_parameters;
mod relations;
mod script_names;
mod table_functions;

// What would certainly fail, found before the first statement runs.
mod check;
mod conflict;
mod conflicts;
mod defined;
mod session_names;
mod undefined;

// The script as a DAG.
mod dependencies;
mod describe;
mod names;
mod outputs;
mod param_tables;
mod part;
mod pipeline;
mod pipeline_error;

// Running it.
mod elsewhere;
mod expectations;
mod locate;
mod recorded;
mod run;
mod run_options;
mod schedule;
mod shown_rows;
mod scratch;
mod statement_run;
mod stored_table;

// Tests over whole scripts.
#[cfg(test)]
mod agreement;
#[cfg(test)]
mod damaged_scripts;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod test_script;

pub use conflict::Conflict;
pub use directive::DirectiveError;
pub use expectation::Expectation;
pub use kind::StatementKind;
pub use locate::SourceError;
pub use near_directives::ScriptWarning;
pub use parameter::{Parameter, ParameterDeclaration};
pub use parameter_type::ParameterType;
pub use part::{Part, PartError};
pub use pipeline::{Pipeline, PipelineOptions, Step};
pub use pipeline_error::PipelineError;
pub use run::RunFailure;
pub use run_options::{PipelineEvent, RowsWanted, RunScriptOptions};
pub use scratch::remove_scratch;
pub use script::Script;
pub use script_error::{ScriptError, ScriptProblem};
pub use shown_rows::ShownRows;
pub use source::{LineOfScript, Place};
pub use statement::{Placeholder, Statement};
pub use undefined::{UndefinedKind, UndefinedReason};
pub use unsupported::UnsupportedStatement;
