//! The tags of a run, the same on every signal.

use std::collections::BTreeMap;

use daglight_capture_policy::{Captured, Policy};
use daglight_otel_bridge::names::Key;
use daglight_run_bundle::WarningCode;
use daglight_run_identity::{GitFacts, RunId, hash_of_fields};
use datafusion::DATAFUSION_VERSION;

use crate::{run_state::RunState, shared::Shared, tag_names::free_name};

/// What stands where git knows nothing.
const UNKNOWN: &str = "unknown";

const SESSION_RUNTIME_HASH: &str = "session_runtime_hash";
const PLAN_SIGNATURE: &str = "plan_signature";
/// What the keys of the rules of the policy start with.
const POLICY_PREFIX: &str = "policy.";
/// Why the run did not succeed.
const ERROR: &str = "error";
/// What ended the run: a signal such as `SIGTERM`, or `stall`.
const INTERRUPTED_BY: &str = "interrupted_by";
/// Characters of a cause in its tag; the manifest has all of it.
const LONGEST_CAUSE: usize = 500;

/// The tags of every run, and the user's own, which cannot replace them: those of the settings, then those of the run.
pub(crate) fn run_tags(
    shared: &Shared,
    run_id: RunId,
    git: &GitFacts,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let (settings, policy) = (&shared.settings, &shared.policy);
    let known = |fact: &Option<String>| {
        fact.as_ref().map_or_else(|| UNKNOWN.to_owned(), |fact| policy.redactor().text(fact))
    };
    // First, so that those which every run has replace them: pages and filters depend on what these mean.
    let mut tags = own_tags(shared, own);
    tags.extend(shared.host().map(|host| host.tags()).unwrap_or_default());
    tags.extend([
        ("run_id".to_owned(), run_id.to_string()),
        ("environment".to_owned(), policy.redactor().text(&settings.environment)),
        ("commit".to_owned(), known(&git.commit)),
        ("branch".to_owned(), known(&git.branch)),
        ("repo".to_owned(), known(&git.repo)),
        ("dirty".to_owned(), git.dirty.map_or_else(|| UNKNOWN.to_owned(), |dirty| dirty.to_string())),
        ("runtime_profile".to_owned(), policy.profile().to_owned()),
        ("runtime_profile_hash".to_owned(), policy_hash(policy)),
        ("daglight.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("datafusion.version".to_owned(), DATAFUSION_VERSION.to_owned()),
    ]);
    tags.extend(policy_tags(policy));
    tags.extend(settings.team.as_ref().map(|team| ("team".to_owned(), policy.redactor().text(team))));
    tags.extend(session_tag(shared));
    tags
}

/// The user's own tags, as they may be shown.
fn own_tags(shared: &Shared, of_run: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shown = |name: &str, value: &str| shared.policy.capture_named(name, value).to_text();
    let own = shared.settings.tags.iter().chain(of_run);
    let name = |name: &str| shared.policy.redactor().text(name);
    own.map(|(key, value)| (name(key), shown(key, value))).collect()
}

/// Warns of the user's tags that have the name of one that every run has.
pub(crate) fn warn_of_replaced_tags(state: &RunState, of_run: &BTreeMap<String, String>) {
    for (name, value) in own_tags(&state.context.shared, of_run) {
        if state.context.tags.get(&name) != Some(&value) {
            let warning = format!("the tag {name:?} is left out: every run has one of that name");
            state.log.warn(WarningCode::TagLeftOut, warning);
        }
    }
}

/// The tags that are known at the end of a run, where they were not or are others than at its start.
pub(crate) fn late_tags(state: &RunState) -> BTreeMap<String, String> {
    let known = session_tag(&state.context.shared)
        .into_iter()
        .chain(plan_signature(state))
        .chain(cause_tags(state))
        .chain(state.core.stalls.tag(&state.context.tags));
    known.filter(|(tag, value)| state.context.tags.get(tag) != Some(value)).collect()
}

/// One hash over the plans of all queries, in the order of the DAG. A run that did not succeed has not planned all of
/// them: its hash is that of those it has planned, and says so, because it is comparable to no other.
fn plan_signature(state: &RunState) -> Option<(String, String)> {
    let dag = state.context.dag.get();
    let records = state.log.records();
    let nodes = dag.nodes().iter();
    let plans: Vec<&str> =
        nodes.filter_map(|node| records.plans.get(&node.name)).flatten().map(String::as_str).collect();
    // A run that failed has not planned all its queries: its hash must not be taken for that of a changed program.
    let is_whole = records.failure().is_none();
    (!plans.is_empty()).then(|| {
        let hash = hash_of_fields("daglight.plans.v1", plans);
        (PLAN_SIGNATURE.to_owned(), if is_whole { hash } else { format!("partial-{hash}") })
    })
}

/// Why the run did not succeed: the page of a run shows its tags, and nothing else where no node has failed. Tags of the
/// user's own stay.
fn cause_tags(state: &RunState) -> Vec<(String, String)> {
    let cause = state.log.records().failure().map(Captured::to_text);
    let interruption = state.core.interruption.get().filter(|_| state.log.records().is_interrupted());
    let signal = interruption.map(|interruption| interruption.cause.name().to_owned());
    let named = |name: &str| free_name(&state.context.tags, name);
    let cause = cause.map(|cause| (named(ERROR), cut(&cause)));
    cause.into_iter().chain(signal.map(|signal| (named(INTERRUPTED_BY), signal))).collect()
}

/// The page shows a tag on one line.
fn cut(text: &str) -> String {
    // A list of runs shows tags in one line.
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_CAUSE) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

fn session_tag(shared: &Shared) -> Option<(String, String)> {
    Some((SESSION_RUNTIME_HASH.to_owned(), shared.sessions.runtime_hash()?))
}

/// The policy in force. It may change from run to run, so it describes the run: the tracking server keeps the tags of a
/// version as its first run had them.
fn policy_tags(policy: &Policy) -> BTreeMap<String, String> {
    shown_rules(policy).map(|(key, rule)| (key.suffix().to_owned(), rule.to_text())).collect()
}

/// What the root span and the tags show of the policy, under its keys.
pub(crate) fn shown_rules(policy: &Policy) -> impl Iterator<Item = (Key, Captured)> {
    let key_of = |rule: &str| {
        Key::ALL.iter().copied().find(|key| key.suffix().strip_prefix(POLICY_PREFIX) == Some(rule))
    };
    policy.shown_rules().into_iter().filter_map(move |(rule, shown)| Some((key_of(rule)?, shown)))
}

/// The hash of all rules of a policy: the same rules have the same on every machine.
pub(crate) fn policy_hash(policy: &Policy) -> String {
    let rules = policy.rules();
    hash_of_fields("daglight.policy.v1", rules.iter().flat_map(|(name, rule)| [name.as_str(), rule.as_str()]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use daglight_capture_policy::Profile;
    use daglight_settings::Settings;

    use super::*;

    fn shared(settings: Settings) -> Shared {
        let policy = settings.policy();
        Shared::start(Default::default(), settings, policy, Vec::new())
    }

    #[test]
    fn every_run_has_its_tags_and_no_secret() {
        let of_settings = [("ticket", "A-0"), ("region", "north")];
        let mut settings = Settings::of_profile(Profile::Prod);
        settings.team = Some("risk".to_owned());
        settings.tags = of_settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let shared = shared(settings);
        let own = BTreeMap::from([
            ("api_key".to_owned(), "hunter2".to_owned()),
            ("run_id".to_owned(), "mine".to_owned()),
            ("ticket".to_owned(), "A-1".to_owned()),
            ("http://x:hunter2@h".to_owned(), "mine".to_owned()),
            ("place".to_owned(), "see https://ann:hunter2@h/1 and out/ann:hunter2@h/x".to_owned()),
            ("says".to_owned(), "'a value' with token=hunter2".to_owned()),
        ]);
        let run_id = RunId::new();
        let tags = run_tags(&shared, run_id, &GitFacts::default(), &own);
        assert_eq!(tags["run_id"], run_id.to_string());
        assert_eq!((tags["environment"].as_str(), tags["commit"].as_str()), ("prod", "unknown"));
        assert_eq!((tags["ticket"].as_str(), tags["api_key"].as_str()), ("A-1", "[redacted]"));
        assert_eq!(tags["region"], "north");
        assert_eq!((tags["team"].as_str(), tags["runtime_profile_hash"].len()), ("risk", 64));
        assert_eq!(tags["http://[redacted]@h"], "mine");
        // A tag is said on purpose: what is in it is shown, but no credential.
        assert_eq!(tags["place"], "see https://[redacted]@h/1 and out/[redacted]@h/x");
        assert_eq!(tags["says"], "'a value' with token=[redacted]");
        assert!(tags.contains_key("host.name") && !tags.contains_key(SESSION_RUNTIME_HASH));
    }

    #[test]
    fn what_names_a_run_has_no_credentials() {
        let mut settings = Settings::of_profile(Profile::Dev);
        settings.environment = "http://x:hunter2@h".to_owned();
        settings.team = Some("token=hunter2".to_owned());
        let tags = run_tags(&shared(settings), RunId::new(), &GitFacts::default(), &BTreeMap::new());
        assert_eq!(tags["environment"], "http://[redacted]@h");
        assert_eq!(tags["team"], "token=[redacted]");
    }

    #[test]
    fn the_machine_is_a_tag_only_where_it_may_be() {
        let mut settings = Settings::of_profile(Profile::Dev);
        settings.capture.host_facts = false;
        let tags = run_tags(&shared(settings), RunId::new(), &GitFacts::default(), &BTreeMap::new());
        assert!(!tags.keys().any(|tag| tag.starts_with("host.") || tag.starts_with("os.")), "{tags:?}");
    }

    #[test]
    fn policies_differ_in_tags_and_hash() {
        let dev = Policy::of_profile(Profile::Dev);
        let prod = Policy::of_profile(Profile::Prod);
        assert_ne!(policy_hash(&dev), policy_hash(&prod));
        assert_eq!(policy_tags(&prod)["policy.sql_text"], "without_literals");
        assert_eq!(policy_tags(&dev).len(), dev.shown_rules().len());
    }

    #[test]
    fn every_rule_that_is_shown_has_a_key_and_every_key_a_rule() {
        let rules = Policy::of_profile(Profile::Prod).shown_rules();
        let rules: BTreeSet<&str> = rules.iter().map(|(rule, _)| *rule).collect();
        let keys = Key::ALL.iter().filter_map(|key| key.suffix().strip_prefix(POLICY_PREFIX));
        // The hash is that of all rules.
        assert_eq!(rules, keys.filter(|key| *key != "hash").collect::<BTreeSet<_>>());
        assert!(rules.contains("paths"));
    }
}
