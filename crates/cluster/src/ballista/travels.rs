//! What a query takes with it to the scheduler.

use daglight_plan_diagnostics::Travelling;

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
    format!("daglight {} query {}", parts.join(" "), travelling.query_id)
}
