//! What exists when a statement is reached: what the script has defined so far, and the session.

use datafusion::execution::SessionState;

use crate::{pipeline::Pipeline, script_names::ScriptNames};

/// What the script has defined so far, and the session.
pub(crate) struct Defined<'a> {
    pub(crate) script: ScriptNames<'a>,
    pub(crate) state: &'a SessionState,
    pub(crate) pipeline: &'a Pipeline,
}

/// The name of the schema as written in a session with the default configuration.
pub(crate) fn name_of_schema((catalog, schema): (&str, &str)) -> String {
    if catalog == "datafusion" { schema.to_owned() } else { format!("{catalog}.{schema}") }
}
