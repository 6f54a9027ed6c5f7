//! What a query takes with it to workers, as headers.

use daglight_plan_diagnostics::Travelling;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The stage and the task, which are the same for nobody else of the query.
pub(crate) const STAGE: HeaderName = HeaderName::from_static("x-daglight-stage");
pub(crate) const TASK: HeaderName = HeaderName::from_static("x-daglight-task");
/// The id that the engine gave the query.
pub(crate) const ENGINE_QUERY: HeaderName = HeaderName::from_static("x-daglight-engine-query");

/// The headers of a query. What cannot be one is left out.
pub(crate) fn headers(travelling: &Travelling) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &travelling.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers.insert(HeaderName::from_static("x-daglight-query"), HeaderValue::from(travelling.query_id));
    headers
}
