//! Random nested values, through each profile.

use daglight_capture_policy::{CaptureSettings, Captured, Policy, Profile, Redactor};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

/// The text in every value under a hidden key, and nowhere else.
const CANARY: &str = "cAnArY";

fn hidden_key() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "authorization",
        "cookie",
        "password",
        "secret",
        "token",
        "api_key",
        "patient_id",
    ]);
    let spelling = vec((any::<bool>(), prop::sample::select(vec!["", "", "-", "_", ".", " "])), 24);
    (name, "[a-z]{0,3}[-_.]", spelling).prop_map(|(name, prefix, spelling)| {
        let spelled = name.chars().zip(spelling).fold(String::new(), |mut key, (c, (upper, between))| {
            key.extend(if upper { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] });
            key + between
        });
        prefix + &spelled
    })
}

/// A text with a credential of each kind that is recognised by shape, and the part of it that must not leak.
fn credential() -> impl Strategy<Value = (String, &'static str)> {
    prop::sample::select(vec![
        ("postgres://me:HUNTER2@db/x", "HUNTER2"),
        ("https://HUNTER2@host:8443/x?y=1", "HUNTER2"),
        ("Bearer HUNTER2.abc-def", "HUNTER2"),
        ("Authorization: Basic bWU6SFVOVEVSMg==", "bWU6SFVOVEVSMg"),
        ("basic bWU6SFVOVEVSMg==", "bWU6SFVOVEVSMg"),
        ("-----BEGIN EC PRIVATE KEY-----\nHUNTER2\n-----END EC PRIVATE KEY-----", "HUNTER2"),
        ("AKIAHUNTER2HUNTER2AB", "HUNTER2"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "K7MDENG"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJIVU5URVIyIn0.c2lnbmVk", "eyJzdWIiOiJIVU5URVIyIn0"),
        ("ghp_HUNTER2HUNTER2HUNTER2HUNTER2", "HUNTER2"),
    ])
    .prop_map(|(text, secret)| (text.to_owned(), secret))
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        20 => Just(Value::Null),
        20 => any::<bool>().prop_map(Value::from),
        20 => any::<i64>().prop_map(Value::from),
        20 => any::<f64>().prop_map(Value::from),
        40 => ".{0,40}".prop_map(Value::from),
        1 => (".", 0..30_000_usize).prop_map(|(text, times)| text.repeat(times).into()),
    ]
}

/// The value with the canary in each of its texts, and in place of every other leaf.
fn with_canary(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(with_canary).collect(),
        Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, with_canary(value))).collect(),
        Value::String(text) => format!("{CANARY}{text}").into(),
        _ => CANARY.into(),
    }
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(10, 400, 60, |inner| {
        let entry = prop_oneof![
            4 => ("[^a-zA-Z]{0,3}[a-f]{0,8}", inner.clone()),
            1 => (hidden_key(), inner.clone().prop_map(with_canary)),
        ];
        prop_oneof![
            vec(inner, 0..60).prop_map(Value::from),
            vec(entry, 0..60).prop_map(|entries| entries.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn check_limits(value: &Value, limits: &CaptureSettings, depth: usize) {
    let text = |text: &str| {
        let kept = text.split("[… ").next().unwrap_or_default();
        assert!(kept.chars().count() <= limits.max_string_length, "{} characters", kept.chars().count());
    };
    match value {
        Value::String(found) => text(found),
        Value::Array(items) => {
            assert!(depth < limits.max_depth, "{value} is nested {depth} deep");
            assert!(items.len() <= limits.max_list_length + 1, "{} items", items.len());
            items.iter().for_each(|item| check_limits(item, limits, depth + 1));
        }
        Value::Object(entries) => {
            assert!(depth < limits.max_depth, "{value} is nested {depth} deep");
            assert!(entries.len() <= limits.max_dict_length + 1, "{} keys", entries.len());
            for (key, value) in entries {
                text(key);
                check_limits(value, limits, depth + 1);
            }
        }
        _ => {}
    }
}

fn capture(profile: Profile, value: &Value) -> (Captured, CaptureSettings) {
    let redact_keys = vec!["patient-id".to_owned()];
    let settings = CaptureSettings { redact_keys, ..CaptureSettings::of_profile(profile) };
    (Policy::new(profile.name(), settings.clone(), []).capture(value.clone()), settings)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn every_limit_holds_and_nothing_hidden_leaves(value in value()) {
        for profile in Profile::ALL {
            let (captured, limits) = capture(profile, &value);
            check_limits(captured.as_value(), &limits, 0);
            let json = captured.as_value().to_string();
            prop_assert!(json.len() <= limits.max_attribute_bytes, "{} bytes", json.len());
            prop_assert!(!json.contains(CANARY), "{json}");
        }
    }

    #[test]
    fn small_attributes_hold_too(value in value(), max_attribute_bytes in 256..2_000_usize) {
        let settings = CaptureSettings { max_attribute_bytes, ..CaptureSettings::of_profile(Profile::Dev) };
        let json = Policy::new("dev", settings, []).capture(value).as_value().to_string();
        prop_assert!(json.len() <= max_attribute_bytes, "{} bytes of {max_attribute_bytes}", json.len());
    }

    #[test]
    fn credentials_go_from_within_texts_and_from_keys(
        (credential, secret) in credential(), before in "[ a-zé,;(\n]{0,30}", after in "[a-zé,;)\n]{0,30}", depth in 0..6_usize,
    ) {
        let text = format!("{before} {credential} {after}");
        let nested = (0..depth).fold(Value::from(text.as_str()), |inside, _| json!([{ "a": inside }]));
        for value in [json!({ text.as_str(): 1 }), json!([{ "a": { text.as_str(): [] } }]), nested] {
            for profile in Profile::ALL {
                let json = capture(profile, &value).0.as_value().to_string();
                prop_assert!(!json.contains(secret), "{json}");
            }
        }
    }

    #[test]
    fn columns_hold_the_limit_of_bytes(value in value(), names in vec(".{0,60}", 1..40), max_attribute_bytes in 600..4_000_usize) {
        let settings = CaptureSettings { max_attribute_bytes, ..CaptureSettings::of_profile(Profile::Dev) };
        let columns = names.into_iter().map(|name| (name, json!({ "name": "n", "facts": value }))).collect();
        let captured = Policy::new("dev", settings, []).capture_columns(columns, |name, _| json!({ "name": name }));
        let json = captured.as_value().to_string();
        prop_assert!(json.len() <= max_attribute_bytes, "{} bytes of {max_attribute_bytes}", json.len());
    }

    #[test]
    fn a_redacted_text_stays_as_it_is(text in "([a-zA-Z/=:,;@'\"\\\\{}\\[\\] \n.-]|://|token|Bearer |key=|: |password){0,40}") {
        for redactor in [Redactor::default(), Policy::of_profile(Profile::Prod).redactor().clone()] {
            let once = redactor.text(&text);
            prop_assert_eq!(redactor.text(&once), once);
        }
    }

    #[test]
    fn values_after_hidden_keys_of_texts_are_hidden(
        before in "[ a-z,;(\n]{0,10}", key in hidden_key(), sign in "(=|: ?)", after in "[ \n][a-z ]{0,10}",
    ) {
        let redactor = Redactor::new(["patient-id"]);
        let key = key.replace(' ', "");
        let text = redactor.text(&format!("{before} {key}{sign}{CANARY}{after}"));
        prop_assert!(!text.contains(CANARY), "{text}");
    }
}
