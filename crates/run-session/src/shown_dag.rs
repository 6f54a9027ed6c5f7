//! The DAG as everything outside of the process gets it.

use daglight_capture_policy::{Policy, REDACTED, without_credentials};
use daglight_run_identity::{Dag, DagName};

/// A DAG as its runs show it, under a policy: names without credentials, tags as the policy has them. Its documentation is left
/// out.
pub fn shown_dag(dag: &Dag, policy: &Policy) -> Dag {
    with_shown_names(dag).with_notes(|_| None, shown_tag(policy))
}

/// The DAG with names without credentials, its own and those of its nodes.
pub(crate) fn with_shown_names(dag: &Dag) -> Dag {
    let shown = dag.clone().with_shown_names(without_credentials);
    match name_without_credentials(dag.name()) {
        Some(name) => shown.with_name(name),
        None => shown,
    }
}

/// The name of a DAG without credentials.
pub(crate) fn shown_name(name: &DagName) -> DagName {
    name_without_credentials(name).unwrap_or_else(|| name.clone())
}

/// What is shown of a node's tag, by its key and its text.
pub(crate) fn shown_tag(policy: &Policy) -> impl Fn(&str, &str) -> String {
    |key, text| policy.capture_named(key, policy.redactor().comment_text(text)).to_text()
}

/// The name that a DAG is recorded under where its own has a credential in it.
fn name_without_credentials(name: &DagName) -> Option<DagName> {
    let shown = without_credentials(name.as_str());
    (shown != name.as_str())
        .then(|| shown.parse().unwrap_or_else(|_| REDACTED.parse().expect("the name is valid")))
}
