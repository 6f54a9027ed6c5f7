//! A SQL script as an instrumented pipeline: statements, names, dependencies, tags, parameters, running in DAG order.
//!
//! [`Script::parse`] cuts a script into statements and reads the comments above them; a [`Pipeline`] makes a DAG of
//! them and runs it. What a run is belongs to `daglight-run-session`, what a DAG is to `daglight-run-identity`.

#[cfg(test)]
mod agreement;
mod check;
mod conflict;
mod dependencies;
mod describe;
mod directives;
mod kind;
mod literals;
mod locate;
mod location;
mod names;
mod near_directives;
mod outputs;
mod param_tables;
mod parameters;
mod parser_messages;
mod pipeline;
mod pipeline_error;
mod prepared;
mod recorded;
#[cfg(test)]
mod refusals;
mod relations;
mod run;
mod schedule;
mod script;
mod script_names;
mod session_names;
mod shown_rows;
mod source;
mod split;
mod sql_settings;
mod statement;
mod statement_run;
#[cfg(test)]
mod test_script;
mod undefined;
mod unsupported;

pub use conflict::Conflict;
pub use directives::{DirectiveError, ParameterDeclaration};
pub use kind::StatementKind;
pub use locate::SourceError;
pub use near_directives::ScriptWarning;
pub use parameters::{Parameter, ParameterType};
pub use pipeline::{Pipeline, PipelineOptions, Step};
pub use pipeline_error::PipelineError;
pub use run::{PipelineEvent, RunFailure, RunScriptOptions};
pub use script::{Script, ScriptError, ScriptProblem};
pub use shown_rows::ShownRows;
pub use source::Place;
pub use statement::{Placeholder, Statement};
pub use undefined::{UndefinedKind, UndefinedReason};
pub use unsupported::UnsupportedStatement;
