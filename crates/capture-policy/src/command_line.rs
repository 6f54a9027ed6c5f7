//! The command line of the process.

use std::ffi::OsString;

use crate::{captured::Captured, policy::Policy};

/// Options that are followed by an input as `NAME=VALUE`.
const INPUT_OPTIONS: [&str; 2] = ["--param", "--params"];

impl Policy {
    /// Captures the arguments of the process, the program first, as one line; `None` unless `capture.command_line` is on. The value
    /// after the name of a credential is redacted, as in `--password=x` and `--api-key x`. The value of a parameter is replaced by
    /// `?` under every policy: which parameters are credentials is known only when the script is read, and the inputs of the run
    /// contain their values as far as the policy allows.
    pub fn capture_command_line(&self, arguments: impl IntoIterator<Item = OsString>) -> Option<Captured> {
        let shown = |argument: OsString| {
            let argument = argument.to_string_lossy();
            let is_word = !argument.is_empty() && !argument.contains(char::is_whitespace);
            if is_word { argument.into_owned() } else { format!("'{argument}'") }
        };
        self.shows_command_line().then(|| {
            let line: Vec<String> = without_inputs(arguments).map(shown).collect();
            self.capture(line.join(" "))
        })
    }
}

fn without_inputs(arguments: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut is_input = false;
    arguments.into_iter().map(move |argument| {
        let text = argument.to_string_lossy();
        let follows_option = std::mem::replace(&mut is_input, INPUT_OPTIONS.contains(&&*text));
        let option = text.split_once('=').map(|(option, _)| option);
        let option = option.filter(|option| !follows_option && INPUT_OPTIONS.contains(option));
        let start = option.map_or(0, |option| option.len() + 1);
        if !follows_option && option.is_none() {
            return argument;
        }
        let (option, input) = text.split_at(start);
        match input.split_once('=') {
            Some((name, _)) => format!("{option}{name}=?").into(),
            None => format!("{option}?").into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::{capture_settings::CaptureSettings, policy::Policy, profile::Profile};

    #[test]
    fn arguments_are_shown_where_that_is_allowed_and_credentials_never() {
        let shown = |command_line: bool, arguments: &[&str]| {
            let capture = CaptureSettings { command_line, ..CaptureSettings::of_profile(Profile::Dev) };
            let line = Policy::new("dev", capture, []).capture_command_line(arguments.iter().map(Into::into));
            line.map(|line| line.to_text())
        };
        assert_eq!(shown(false, &["daglight", "run"]), None);
        assert_eq!(shown(true, &["daglight", "run", "a b.sql"]).as_deref(), Some("daglight run 'a b.sql'"));
        for credential in
            [&["--password=hunter2"][..], &["--api-key", "hunter2"], &["https://ann:hunter2@host/"]]
        {
            let line = shown(true, &[&["etl"], credential].concat()).unwrap();
            assert!(line.contains("[redacted]") && !line.contains("hunter2"), "{line}");
        }
        let line = shown(
            true,
            &[
                "etl",
                "--param",
                "p=zqmk x",
                "--param=$q=zqmk=x",
                "--param",
                "--param=zqmk",
                "--params",
                "zqmk",
                "a=b",
            ],
        );
        let expected = "etl --param p=? --param=$q=? --param --param=? --params ? a=b";
        assert_eq!(line.as_deref(), Some(expected));
    }
}
