//! The options of `COPY` in a plan. DataFusion prints them without quotes and in any order, so they cannot be read as SQL:
//! `CopyTo: format=csv output_url=s3://b/x options: (aws.secret_access_key abc, aws.endpoint http://127.0.0.1:9)`.

use std::ops::Range;

const OPENS: &str = " options: (";

/// The position of the options in a plan, without the parentheses. They may have several lines, such as those of a private key.
pub(crate) fn place(plan: &str) -> Option<Range<usize>> {
    let copy = plan.find("CopyTo: ")?;
    let line_end = plan[copy..].find('\n').map_or(plan.len(), |end| copy + end);
    let start = copy + plan[copy..line_end].find(OPENS)? + OPENS.len();
    // The input of the operator follows on an indented line.
    let length = plan[start..]
        .find(")\n ")
        .or_else(|| plan[start..].trim_end().strip_suffix(')').map(str::len))
        .unwrap_or(plan.len() - start);
    Some(start..start + length)
}

/// The positions of the values of hidden options.
pub(crate) fn secrets(options: &str, hides: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut is_hidden = false;
    let mut at = 0;
    for item in options.split_inclusive(", ") {
        let end = at + item.trim_end_matches(' ').trim_end_matches(',').len();
        match key(item) {
            Some(key) => {
                is_hidden = hides(key);
                let start = at + key.len() + 1;
                if is_hidden && start < end {
                    found.push(start..end);
                }
            }
            // The rest of a value with a comma.
            None if is_hidden => match found.last_mut() {
                Some(last) => last.end = end,
                None => found.push(at..end),
            },
            None => {}
        }
        at += item.len();
    }
    found
}

/// The key of an item, if it begins an option: DataFusion puts each key into a namespace.
fn key(item: &str) -> Option<&str> {
    let (key, _) = item.split_once(' ')?;
    let is_key = key.contains('.') && key.chars().all(|c| c.is_alphanumeric() || "._-:".contains(c));
    is_key.then_some(key)
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    #[track_caller]
    fn check(options: &str, expected: &str) {
        let plan = |options: &str| {
            format!(
                "CopyTo: format=csv output_url=s3://b/x options: ({options})\n  Projection: Int64(1) AS a"
            )
        };
        let redactor = Redactor::default();
        assert_eq!(redactor.plan_text(&plan(options)), plan(expected));
        redactor.learn_plan(&plan(options));
        assert_eq!(
            redactor.error_text("GET http://127.0.0.1:9/b in us-east-1: true, after 5 retries"),
            "GET http://127.0.0.1:9/b in us-east-1: true, after 5 retries"
        );
    }

    #[test]
    fn only_credentials_are_hidden_in_any_order() {
        let options = [
            ("aws.access_key_id Zq9akid21x", "aws.access_key_id [redacted]"),
            ("aws.secret_access_key Zq9sak22x", "aws.secret_access_key [redacted]"),
            ("aws.session_token Zq9tok23x", "aws.session_token [redacted]"),
            ("aws.endpoint http://127.0.0.1:9", "aws.endpoint http://127.0.0.1:9"),
            ("aws.allow_http true", "aws.allow_http true"),
            ("aws.region us-east-1", "aws.region us-east-1"),
        ];
        for first in 0..options.len() {
            let mut options = options;
            options.rotate_left(first);
            let join = |items: Vec<&str>| items.join(", ");
            check(
                &join(options.iter().map(|(given, _)| *given).collect()),
                &join(options.iter().map(|(_, shown)| *shown).collect()),
            );
            let redactor = Redactor::default();
            let given = join(options.iter().map(|(given, _)| *given).collect());
            redactor
                .learn_plan(&format!("CopyTo: format=csv output_url=x options: ({given})\n  Projection: a"));
            assert_eq!(redactor.text("Zq9akid21x Zq9sak22x Zq9tok23x"), "[redacted] [redacted] [redacted]");
            options.reverse();
            check(
                &join(options.iter().map(|(given, _)| *given).collect()),
                &join(options.iter().map(|(_, shown)| *shown).collect()),
            );
        }
    }

    #[test]
    fn a_credential_may_contain_what_separates_options() {
        check(
            "aws.secret_access_key Zq9sak22x, Zq (a) b, c, format.delimiter ;",
            "aws.secret_access_key [redacted], format.delimiter ;",
        );
        check("aws.token Zq9tok23x\nZq9sak22x, format.a b", "aws.token [redacted], format.a b");
        check("format.a Zq9tok23x Zq9sak22x", "format.a Zq9tok23x Zq9sak22x");
    }
}
