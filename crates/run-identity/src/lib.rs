//! The identity of runs and pipelines: ids, names, the description of the DAG with its hashes, and facts about git, continuous
//! integration and the machine.
//!
//! Building a [`Dag`] decides the version (`dag_hash`, `code_hash`); running it makes a run with a [`RunId`]. The same
//! pipeline has the same hashes on every machine and for every order of declaration.
//!
//! What may be captured of a run belongs to `daglight-capture-policy`; sending these names belongs to `daglight-tracker-client` and
//! `daglight-otel-bridge`.

mod run_id;
mod dag_name;

mod dag;
mod dag_builder;
mod version;
mod hash;
mod hexadecimal;
mod selection;
mod selector_names;
mod drawing;

mod git;
mod host;

pub use dag::{Code, Dag, Node, NodeKind};
pub use dag_builder::{DagBuilder, DagError, NodeBuilder};
pub use dag_name::{DagName, DagNameError};
pub use drawing::Drawing;
pub use git::GitFacts;
pub use hash::hash_of_fields;
pub use hexadecimal::hexadecimal;
pub use host::HostFacts;
pub use run_id::{InvalidRunId, RunId};
pub use selection::{NodeSelector, NothingSelected, SelectorError};
