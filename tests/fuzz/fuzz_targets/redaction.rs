//! Whatever a text says, looking for credentials in it ends, in a time that grows with its length, and finds all of them at once.
//!
//! An input is the text. Where its length is a multiple of 16, a policy of its own learns from the text first; where it is a multiple of
//! 64, a long text of it is read as well.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a fuzz target ends at its first surprise")]

use std::sync::LazyLock;

use daglight_capture_policy::{
    Policy, Profile, Types, printable, printable_error, printable_lines, printable_message, shown_width,
    without_credentials, without_error_values, without_typed_literals,
};
use libfuzzer_sys::fuzz_target;

/// Bytes of a long text: what is quadratic takes longer for it than an input may.
const LONG: usize = 64 << 10;

/// Made once, because that takes longer than a text.
static POLICIES: LazyLock<[Policy; 3]> = LazyLock::new(|| Profile::ALL.map(Policy::of_profile));

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    POLICIES.iter().for_each(|policy| read(policy, &text));
    if !text.is_empty() && input.len().is_multiple_of(16) {
        for policy in Profile::ALL.map(Policy::of_profile) {
            policy.redactor().learn(&text);
            policy.redactor().learn_plan(&text);
            read(&policy, &text);
            if input.len().is_multiple_of(64) {
                read_long(&policy, &text.repeat(LONG.div_ceil(text.len())));
            }
        }
    }
});

fn read(policy: &Policy, text: &str) {
    let redactor = policy.redactor();
    let shown = redactor.text(text);
    assert_eq!(redactor.text(&shown), shown, "of {text:?}");
    let (public, without_values) = (without_credentials(text), without_error_values(text));
    assert_eq!(without_credentials(&public), public, "of {text:?}");
    let _ = (redactor.name_text(text), redactor.comment_text(text), redactor.source_line(text));
    let _ = (redactor.setting_value(text), redactor.hides_option(text), redactor.hides_column(text));
    let _ = (redactor.console_text(text), redactor.console_error(text), printable_error(text));
    let _ =
        (printable(text), printable_lines(&without_values), printable_message(text, 40), shown_width(text));
    let _ = without_typed_literals(text, Types::Shown);
    let _ = (policy.capture(text), policy.capture_path(text), policy.capture_stack(text.lines()));
    let _ = (policy.capture_sql(text), policy.capture_error(text), policy.capture_documentation(text));
    let _ = redactor.script_line(text, 1 + text.lines().count() / 2, 3);
    let _ = (redactor.sql_text(text), redactor.plan_text(text), redactor.error_text(text));
}

fn read_long(policy: &Policy, text: &str) {
    let redactor = policy.redactor();
    redactor.learn(text);
    let _ =
        (redactor.text(text), redactor.sql_text(text), redactor.plan_text(text), redactor.error_text(text));
    let _ = (redactor.name_text(text), redactor.comment_text(text), policy.capture(text));
    let _ = (printable_message(text, 40), without_typed_literals(text, Types::Shown));
}
