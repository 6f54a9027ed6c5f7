//! The way from a run to its trace in the user's tracing backend.

use daglight_capture_policy::{Captured, Policy};
use daglight_otel_bridge::StageSpan;
use daglight_settings::Settings;
use maud::html;

/// The page of a span in the tracing backend, where the settings say how it is made.
pub(crate) fn trace_url(settings: &Settings, span: &StageSpan) -> Option<String> {
    let template = settings.otel.trace_url.as_deref()?;
    Some(template.replace("{trace_id}", &span.trace_id()).replace("{span_id}", &span.span_id()))
}

/// A link to that page, in HTML. Hamilton's page shows tags as texts, so that this is what can be clicked.
pub(crate) fn trace_link(settings: &Settings, span: &StageSpan, policy: &Policy) -> Option<Captured> {
    let url = trace_url(settings, span).filter(|url| is_web(url))?;
    Some(policy.capture(anchor(&url)))
}

/// The page inserts what it gets as it is.
fn anchor(url: &str) -> String {
    html! { a href=(url) target="_blank" rel="noreferrer" { (url) } }.into_string()
}

fn is_web(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_shown_whatever_the_template_holds() {
        assert_eq!(
            anchor("http://x/\"><script>'&"),
            "<a href=\"http://x/&quot;&gt;&lt;script&gt;'&amp;\" target=\"_blank\" rel=\"noreferrer\">\
             http://x/&quot;&gt;&lt;script&gt;'&amp;</a>"
        );
        assert!(is_web("https://jaeger/trace/1") && !is_web("javascript:alert(1)"));
    }
}
