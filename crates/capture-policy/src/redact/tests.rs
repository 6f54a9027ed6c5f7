//! Tests of what is removed from texts, and what is kept.

use std::{sync::mpsc, thread, time::Duration};

use super::*;
use crate::{Policy, Profile};

#[track_caller]
pub(crate) fn check(text: &str, expected: &str) {
    let redactor = Redactor::default();
    assert_eq!(redactor.text(text), expected);
    assert_eq!(redactor.text(expected), expected, "redacted a second time");
}

/// If a thread requests a second read lock while holding one, it deadlocks as soon as a writer comes in between.
#[test]
fn texts_are_redacted_while_others_teach() {
    let redactor = Redactor::default();
    let (done, is_done) = mpsc::channel();
    let (reader, writer) = (redactor.clone(), redactor);
    // Both on their own threads, so that a deadlock fails the test instead of hanging it.
    let reads = thread::spawn(move || {
        for _ in 0..1_000 {
            drop((reader.plan_text("n@0 = hunter1"), reader.error_text("no hunter2")));
        }
        done.send(()).expect("the test waits");
    });
    thread::spawn(move || {
        while !reads.is_finished() {
            (0..100).for_each(|number| writer.hide(&format!("hunter{number}")));
        }
    });
    is_done.recv_timeout(Duration::from_secs(60)).expect("nobody waits for ever");
}

#[test]
fn users_and_passwords_in_urls() {
    check("postgres://me:pw@db:5432/x", "postgres://[redacted]@db:5432/x");
    check("postgres://me:p,w@db:5432/x", "postgres://[redacted]@db:5432/x");
    check("postgres://me:p/w@db:5432/x", "postgres://[redacted]@db:5432/x");
    check("https://token@host/a@b", "https://[redacted]@host/a@b");
    check("see https://host/a?token=abc&b=1", "see https://host/a?token=[redacted]&b=1");
    check(
        "s3://b/k?X-Amz-Signature=0f&X-Amz-Date=1",
        "s3://b/k?X-Amz-Signature=[redacted]&X-Amz-Date=[redacted]",
    );
    check(
        "https://h/x.csv?AWSAccessKeyId=a&Signature=s&Expires=1",
        "https://h/x.csv?AWSAccessKeyId=[redacted]&Signature=[redacted]&Expires=1",
    );
    check("[::1]:80 http://[::1]:80/a@b", "[::1]:80 http://[::1]:80/a@b");
}

#[test]
fn of_a_huge_message_the_beginning_is_shown() {
    let message = format!("the server said {} password=hunter2", "e ".repeat(1_000_000));
    let shown = Redactor::default().error_text(&message);
    assert!(shown.len() < 40_000 && shown.starts_with("the server said e e"), "{}", shown.len());
    assert!(shown.ends_with("bytes more)"), "{}", &shown[shown.len() - 40..]);
    let one_word = Redactor::default().error_text(&"e".repeat(1_000_000));
    assert!(one_word.len() < 40, "{}", one_word.len());
}

#[test]
fn values_behind_keys() {
    check("password=hunter2 user=me", "password=[redacted] user=me");
    check("PASSWORD = 'it''s me', x", "PASSWORD = '[redacted]', x");
    check("Server=db;Pwd=a,b;Database=x", "Server=db;Pwd=[redacted];Database=x");
    check("f(token=abc, user=me)", "f(token=[redacted], user=me)");
    check("--api-key abc --rows 3", "--api-key [redacted] --rows 3");
    check("db_password: correct horse\nrows: 3", "db_password: [redacted]\nrows: 3");
    check(
        "OPTIONS ('aws.secret_access_key' 'a b', 'format.x' 'y')",
        "OPTIONS ('aws.secret_access_key' '[redacted]', 'format.x' 'y')",
    );
    check("CREATE USER me PASSWORD 'x'", "CREATE USER me PASSWORD '[redacted]'");
    check("u.password != Utf8(\"a b\") AND n@0 = c", "u.password != [redacted] AND n@0 = c");
    check("predicate=token@2 <> abc, n@0 > 5", "predicate=token@2 <> [redacted], n@0 > 5");
}

#[test]
fn connection_strings_and_many_keys_in_a_line() {
    check("Server=db;Pwd=correct horse;Database=x", "Server=db;Pwd=[redacted];Database=x");
    check(&format!("Pwd={} a;Database=x", "ö".repeat(100)), "Pwd=[redacted];Database=x");
    check(&format!("Pwd=a{};Database=x", "ö".repeat(200)), "Pwd=[redacted];Database=x");
    let many = "token=a ".repeat(50_000);
    assert_eq!(Redactor::default().text(&many), "token=[redacted] ".repeat(50_000));
}

#[test]
fn headers_of_any_scheme() {
    check("Authorization: Bearer abc.def", "Authorization: [redacted]");
    check(
        "authorization: Digest username=\"u\", response=\"r\"\nHost: x",
        "authorization: [redacted]\nHost: x",
    );
    check("curl -H 'Authorization: Token abc' https://x", "curl -H 'Authorization: [redacted]' https://x");
    check("Set-Cookie: a=b; Path=/", "Set-Cookie: [redacted]");
    check("x-auth-token: [a] b", "x-auth-token: [redacted]");
    check("sent Bearer abc.def, got 401", "sent Bearer [redacted], got 401");
    check("Basic dXNlcjpwYXNz", "Basic [redacted]");
    check("Basic statistics of Basic Columns", "Basic statistics of Basic Columns");
}

#[test]
fn json_in_texts() {
    check(r#"got {"password": "a \" b", "n": 1}"#, r#"got {"password": "[redacted]", "n": 1}"#);
    check(r#"{\"api_key\":\"abc\",\"n\":1}"#, r#"{\"api_key\":\"[redacted]\",\"n\":1}"#);
    check(r#"{"secret": {"a": ["}", 1]}, "n": 1}"#, r#"{"secret": [redacted], "n": 1}"#);
    check(r#"{"token": 12345, "n": 1}"#, r#"{"token": [redacted], "n": 1}"#);
    check(r#"{"token": "", "n": 1}"#, r#"{"token": "", "n": 1}"#);
}

#[test]
fn scripts_and_nodes_may_have_the_name_of_a_credential() {
    for text in [
        "cannot read the script etl/token.sql: No such file or directory (os error 2)",
        "secrets.sql:1:13: Expected: identifier, found: WHERE",
        "etl/password_resets.sql:16:1: tokens: Arrow error: Divide by zero error",
        "error: stdin:2:7: api_key: Error during planning: table not found",
        "command_2:1:8: password: Execution error: x",
        "Usage: daglight serve --token <TOKEN> [DIR]",
        "cannot open credentials.json: Permission denied",
    ] {
        check(text, text);
    }
    check("a.sql:3:1: t: token: abc", "a.sql:3:1: t: token: [redacted]");
    check("secrets.sql:1:1: token=abc is wrong", "secrets.sql:1:1: token=[redacted] is wrong");
    check("config.yml:3:1: password: abc", "config.yml:3:1: password: [redacted]");
    check("--token <abc> --rows 3", "--token <[redacted]> --rows 3");
    check("--token ABC", "--token [redacted]");
    check("secrets.sql=abc", "secrets.sql=[redacted]");
}

#[test]
fn private_keys_and_what_follows_them() {
    check("a -----BEGIN RSA PRIVATE KEY-----\nabc", "a [redacted]");
    check(
        "a -----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\nb -----BEGIN CERTIFICATE-----",
        "a [redacted]\nb -----BEGIN CERTIFICATE-----",
    );
}

#[test]
fn keys_by_their_shape() {
    check("key AKIAABCDEFGHIJKLMNOP end", "key [redacted] end");
    check("(wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY)", "([redacted])");
    check("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln x", "[redacted] x");
    check("id.eyJhbGciOiJSU0Eif.OKOa.48V1.5eym8.XFBoM", "id.[redacted]");
    check("s3://b/dump-AKIAABCDEFGHIJKLMNOP.csv", "s3://b/dump-[redacted].csv");
    check("my_key_ghp_0123456789abcdefghij", "my_key_[redacted]");
    check("sk_live_0123456789abcdef0123", "[redacted]");
    check("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[redacted]");
    check(
        "commit 4a9114be9f0c4a9114be9f0c4a9114be9f0c4a91",
        "commit 4a9114be9f0c4a9114be9f0c4a9114be9f0c4a91",
    );
}

#[test]
fn what_is_known_goes_everywhere_and_is_not_shown_itself() {
    let redactor = Redactor::default();
    let clone = redactor.clone();
    for secret in ["hunter2", "hunter2000", "abc", "redacted"] {
        redactor.hide(secret);
    }
    assert_eq!(
        clone.text("n != Utf8(\"hunter2000\") abc hunter2"),
        "n != Utf8(\"[redacted]\") abc [redacted]"
    );
    assert_eq!(clone.text("[redacted]"), "[redacted]");
    assert!(!format!("{clone:?}").contains("hunter2"));
}

#[test]
fn ordinary_texts_stay_as_they_are() {
    for text in [
        "SELECT 'a', \"b\"\n FROM t;",
        "https://host/path?q=1",
        "SELECT token, password FROM users",
        "std::token::Kind",
        "the bearer",
        "Grüße: größer",
        "",
    ] {
        check(text, text);
    }
}

#[test]
fn configured_keys_are_hidden_too() {
    let redactor = Redactor::new(["patient-id"]);
    assert!(redactor.hides_key("PATIENT_ID"));
    assert!(!redactor.hides_key("patient_name"));
    assert!(redactor.hides_key("X-Api-Key") && redactor.hides_key("dbPassword") && redactor.hides_key("Sig"));
    assert!(!redactor.hides_key("plan_signature") && !redactor.hides_key("author"));
}

#[test]
fn keys_are_hidden_in_every_spelling() {
    let redactor = Redactor::default();
    for key in [
        "apiKey",
        "accessToken",
        "clientSecret",
        "API KEY",
        "x_api-key",
        "aws.secret.access.key",
        "PGPASSWORD",
        "db_pwd",
        "dbPwd",
        "smtpPass",
        "X-Auth",
        "p.w.d",
        "id_jwt",
        "sessionCookie",
        "privateKeyPem",
    ] {
        assert!(redactor.hides_key(key), "{key}");
    }
    for key in ["author", "passed", "bypass", "authority", "pwdless", "signal", "key", "keyboard", ""] {
        assert!(!redactor.hides_key(key), "{key}");
    }
}

#[test]
fn credentials_go_before_what_they_are_known_by() {
    let policy = crate::Policy::of_profile(crate::Profile::Prod);
    let redactor = policy.redactor();
    redactor.learn("SELECT 'http:', 'https://x'");
    for url in ["http://x:hunter2pw@h/", "postgres://x:hunter2pw@h/db", "https://x:hunter2pw@h"] {
        for text in [
            format!("-- tag: u={url}\nSELECT 1"),
            format!("/* see u={url} */ SELECT 1"),
            format!("SELECT 1 AS \"u={url}\""),
            format!("No field named \"u={url}\"."),
            format!("Projection: \"u={url}\""),
        ] {
            for shown in [
                redactor.text(&text),
                redactor.sql_text(&text),
                redactor.plan_text(&text),
                redactor.name_text(&text),
                redactor.error_text(&text),
                redactor.comment_text(&text),
                redactor.source_line(&text),
                redactor.console_text(&text),
                policy.capture_path(&text).map(|path| path.to_text()).unwrap_or_default(),
            ] {
                assert!(!shown.contains("hunter2pw"), "{text}: {shown}");
            }
        }
    }
}

#[test]
fn a_text_that_was_redacted_stays_as_it_is() {
    for text in ["apikey\\\":/:w@t/"] {
        for profile in Profile::ALL {
            let policy = Policy::of_profile(profile);
            let shown = policy.redactor().text(text);
            assert_eq!(policy.redactor().text(&shown), shown, "{profile:?}: {text:?}");
        }
    }
}
