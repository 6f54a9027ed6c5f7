//! The tags of a run, the same on every signal.

use std::collections::BTreeMap;

use daglight_capture_policy::{Policy, Settings};
use daglight_run_identity::{GitFacts, RunId};
use datafusion::DATAFUSION_VERSION;

/// What stands where git knows nothing.
const UNKNOWN: &str = "unknown";

/// The tags of every run, then the user's own, which cannot replace them.
pub(crate) fn run_tags(
    settings: &Settings,
    policy: &Policy,
    run_id: RunId,
    git: &GitFacts,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let mut tags: BTreeMap<String, String> = own
        .iter()
        .map(|(key, value)| (key.clone(), policy.capture_named(key, value.as_str()).to_text()))
        .collect();
    tags.extend([
        ("run_id".to_owned(), run_id.to_string()),
        ("environment".to_owned(), settings.environment.clone()),
        ("commit".to_owned(), known(&git.commit)),
        ("branch".to_owned(), known(&git.branch)),
        ("repo".to_owned(), known(&git.repo)),
        ("dirty".to_owned(), git.dirty.map_or_else(|| UNKNOWN.to_owned(), |dirty| dirty.to_string())),
        ("runtime_profile".to_owned(), settings.profile.clone()),
        ("daglight.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("datafusion.version".to_owned(), DATAFUSION_VERSION.to_owned()),
    ]);
    if let Some(team) = &settings.team {
        tags.insert("team".to_owned(), team.clone());
    }
    tags
}

/// The policy in force, as tags of the DAG's version.
pub(crate) fn policy_tags(settings: &Settings) -> BTreeMap<String, String> {
    let capture = &settings.capture;
    BTreeMap::from([
        ("policy.profile".to_owned(), settings.profile.clone()),
        ("policy.data_statistics".to_owned(), capture.data_statistics.to_string()),
        ("policy.top_values".to_owned(), capture.top_values.to_string()),
        ("policy.sql_text".to_owned(), capture.sql_text.name().to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::Profile;

    use super::*;

    #[test]
    fn every_run_has_its_tags_and_no_secret() {
        let settings = Settings::of_profile(Profile::Prod);
        let own = BTreeMap::from([
            ("api_key".to_owned(), "hunter2".to_owned()),
            ("run_id".to_owned(), "mine".to_owned()),
            ("ticket".to_owned(), "A-1".to_owned()),
        ]);
        let run_id = RunId::new();
        let tags = run_tags(&settings, &Policy::new(&settings), run_id, &GitFacts::default(), &own);
        assert_eq!(tags["run_id"], run_id.to_string());
        assert_eq!((tags["environment"].as_str(), tags["commit"].as_str()), ("prod", "unknown"));
        assert_eq!((tags["ticket"].as_str(), tags["api_key"].as_str()), ("A-1", "[redacted]"));
    }
}
