//! What a query takes with it to the scheduler and the executors, and what these say in return.

use ballista_core::{config::BALLISTA_JOB_NAME, serde::protobuf::KeyValuePair};
use daglight_plan_diagnostics::Travelling;
use url::form_urlencoded;

/// How the id of an executor begins that makes the spans of its tasks: nothing else of an executor is a free text.
pub(super) const EXECUTOR_ID: &str = "daglight-";
/// The metric by which an executor says of a task that it makes the span of it. Only those of completed tasks are kept by the scheduler.
pub(super) const OWN_SPAN: &str = "daglight_span";

/// How the name of each job begins.
const NAME: &str = "daglight ";

/// The headers of a submission: the trace, and who asks.
pub(super) fn headers(travelling: Option<&Travelling>) -> Vec<(&'static str, String)> {
    let Some(travelling) = travelling else { return Vec::new() };
    let query = ("x-daglight-query", travelling.query_id.to_string());
    travelling.headers.iter().cloned().chain([query]).collect()
}

/// What the scheduler calls the job: the run, the node and the query.
pub(super) fn job_name(travelling: Option<&Travelling>) -> String {
    let Some(travelling) = travelling else { return "daglight".to_owned() };
    let header = |wanted: &str| {
        travelling.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str())
    };
    let parts = [header("x-daglight-run"), header("x-daglight-node")];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    format!("{NAME}{} query {}", parts.join(" "), travelling.query_id)
}

/// Whether a job is one of a run, by its [name](job_name).
pub(super) fn is_of_run(job_name: &str, run_id: &str) -> bool {
    let of_run = job_name.strip_prefix(NAME).and_then(|name| name.strip_prefix(run_id));
    !run_id.is_empty() && of_run.is_some_and(|rest| rest.starts_with(' '))
}

/// The setting that takes the headers to the executors. A scheduler passes on the settings that it knows, of which the name of the job is
/// the only free text. It shows the first of several values (`find` in `execute_query`, `scheduler_server/grpc.rs`), and
/// executors get the last (`update_from_key_value_pair`).
pub(super) fn setting(headers: &[(&'static str, String)]) -> Option<KeyValuePair> {
    let value = form_urlencoded::Serializer::new(String::new()).extend_pairs(headers).finish();
    (!headers.is_empty()).then(|| KeyValuePair { key: BALLISTA_JOB_NAME.to_owned(), value: Some(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_of_the_run_that_its_name_begins_with() {
        for name in ["daglight 0-1 pairs query 7", "daglight 0-1 query 7"] {
            assert!(is_of_run(name, "0-1"), "{name}");
        }
        for (name, run) in [
            ("daglight 0-12 pairs query 7", "0-1"),
            ("other 0-1 query 7", "0-1"),
            ("daglight 0-1", "0-1"),
            ("daglight  query 7", ""),
            ("", "0-1"),
        ] {
            assert!(!is_of_run(name, run), "{name}");
        }
    }
}
