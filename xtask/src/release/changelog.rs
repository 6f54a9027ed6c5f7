//! The changelog of a release.

use anyhow::{Context, Result, ensure};
use semver::Version;

const UNRELEASED: &str = "## Unreleased\n";

/// The changelog with what is unreleased as that of a version, below a new and empty list.
pub(super) fn released(changelog: &str, version: &Version, date: &str) -> Result<String> {
    let (before, after) =
        changelog.split_once(UNRELEASED).context("CHANGELOG.md has no heading `## Unreleased`")?;
    let entries = after.split("\n## ").next().unwrap_or_default();
    ensure!(entries.lines().any(|line| line.starts_with("- ")), "nothing is listed under Unreleased");
    let heading = format!("## {version} - ");
    ensure!(!changelog.contains(&heading), "{version} is in CHANGELOG.md already");
    Ok(format!("{before}{UNRELEASED}\n{heading}{date}\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str =
        "# Changelog\n\n## Unreleased\n\n### Added\n- A thing.\n\n## 0.1.0 - 2026-01-01\n\n- All.\n";

    #[test]
    fn what_is_unreleased_becomes_that_of_the_version() {
        let released = released(CHANGELOG, &Version::new(0, 2, 0), "2026-02-03").unwrap();
        let expected = CHANGELOG.replace("## Unreleased\n", "## Unreleased\n\n## 0.2.0 - 2026-02-03\n");
        assert_eq!(released, expected);
    }

    #[test]
    fn nothing_new_and_a_version_that_is_there_are_refused() {
        let empty = CHANGELOG.replace("- A thing.\n", "");
        let error =
            |text: &str, minor| released(text, &Version::new(0, minor, 0), "today").unwrap_err().to_string();
        assert_eq!(error(&empty, 2), "nothing is listed under Unreleased");
        assert_eq!(error(CHANGELOG, 1), "0.1.0 is in CHANGELOG.md already");
        assert_eq!(error("# Changelog\n", 2), "CHANGELOG.md has no heading `## Unreleased`");
    }
}
