//! The script of a page with its data, and the policy that blocks everything else.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::{report::Report, timeline_lanes::TimelineLanes};

/// The script that every page runs before its own.
pub const SCRIPT: &str = include_str!("page.js");

/// The scripts of a report or a comparison, in order.
pub(crate) const SCRIPTS: [&str; 2] = [SCRIPT, include_str!("report.js")];

/// A Content-Security-Policy that allows only this style sheet and these scripts, and fetches nothing: it protects the page even if an
/// escape were forgotten.
pub fn policy(style: &str, scripts: &[&str]) -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let scripts: Vec<String> = scripts.iter().map(|script| hash(script)).collect();
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(style),
        scripts.join(" ")
    )
}

/// The data for the script, as JSON that cannot be parsed as markup.
pub(crate) fn data(report: &Report) -> String {
    let data = TimelineLanes::of(report).data(report.duration_ms.unwrap_or(0.0));
    // In a script element only `<` can start markup, such as `</script>` and `<!--`; in JSON it occurs only in strings.
    data.to_string().replace('<', "\\u003c")
}

/// The data of a page without a timeline.
pub(crate) fn no_data() -> String {
    TimelineLanes::default().data(0.0).to_string()
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::printable;
    use serde_json::{Value, json};

    use super::*;
    use crate::planted;

    #[test]
    fn texts_in_the_data_end_no_script_and_hide_nothing() {
        for hostile in ["</script><script>alert(1)</script>", "<!--<script>", "\u{202e}x\u{2028}\u{0}"] {
            let data = data(&planted::report(hostile));
            assert!(!data.contains('<'), "{data}");
            assert!(!data.contains("\\u202e") || data.contains("\\\\u202e"), "{data}");
            let read: Value = serde_json::from_str(&data).unwrap();
            assert_eq!(read["heads"], json!([["nodes", 0], ["stages", 2]]));
            for bar in [0, 1] {
                assert_eq!(read["bars"][bar][1], &*printable(hostile));
            }
        }
    }

    #[test]
    fn the_policy_has_the_hash_of_what_it_lets_run() {
        // The example of the specification: https://www.w3.org/TR/CSP3/#external-hash
        let policy = policy("", &["alert('Hello, world.');", ""]);
        let expected = "script-src 'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=' \
                        'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";
        assert!(policy.contains(expected), "{policy}");
    }
}
