//! The command line of the process.

use std::ffi::OsString;

use crate::{Captured, Policy};

impl Policy {
    /// Lets the arguments of the process through, the program first, as one line; none unless `capture.command_line` is on.
    /// What stands behind the name of a credential is redacted, as in `--password=x` and `--api-key x`.
    pub fn capture_command_line(&self, arguments: impl IntoIterator<Item = OsString>) -> Option<Captured> {
        let shown = |argument: OsString| {
            let argument = argument.to_string_lossy();
            let is_word = !argument.is_empty() && !argument.contains(char::is_whitespace);
            if is_word { argument.into_owned() } else { format!("'{argument}'") }
        };
        self.shows_command_line().then(|| {
            let line: Vec<String> = arguments.into_iter().map(shown).collect();
            self.capture(line.join(" "))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{CaptureSettings, Policy, Profile};

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
    }
}
