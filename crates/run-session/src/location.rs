//! Where files are, as far as it is shown.

use std::path::Path;

use daglight_capture_policy::Policy;

/// A location as the policy shows it.
#[expect(
    clippy::disallowed_methods,
    reason = "locations are shown below the folder that the process works in"
)]
pub(crate) fn shown_location(location: &str, policy: &Policy) -> Option<String> {
    shown_below(std::env::current_dir().ok().as_deref(), location, policy)
}

/// Below the working directory it is relative to that; a URL loses its query, which may be a signature.
fn shown_below(working_dir: Option<&Path>, location: &str, policy: &Policy) -> Option<String> {
    let shown = match location.split_once("://") {
        Some((scheme, _)) if scheme != "file" => {
            location.split(['?', '#']).next().unwrap_or(location).to_owned()
        }
        file => {
            let path = file.map_or(location, |(_, path)| path);
            let below = working_dir.and_then(|dir| Path::new(path).strip_prefix(dir).ok());
            let slash = if path.ends_with('/') { "/" } else { "" };
            below.map_or_else(|| path.to_owned(), |below| format!("{}{slash}", below.display()))
        }
    };
    policy.capture_path(&shown).map(|path| path.to_text())
}

/// Where a statement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatementPlace {
    /// The file, as far as the policy shows it.
    pub(crate) file: Option<String>,
    /// Its first line, from 1.
    pub(crate) line: usize,
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::ShownPath;
    use daglight_settings::Settings;

    use super::*;

    #[track_caller]
    fn check(location: &str, whole: &str, file_name: &str) {
        let shown = |paths| {
            let mut settings = Settings::default();
            settings.capture.paths = paths;
            shown_below(Some(Path::new("/home/ann/shop")), location, &settings.policy())
        };
        assert_eq!(shown(ShownPath::Whole).as_deref(), Some(whole));
        assert_eq!(shown(ShownPath::FileName).as_deref(), Some(file_name));
        assert_eq!(shown(ShownPath::None), None);
    }

    #[test]
    fn locations_are_shown_as_far_as_the_policy_allows() {
        check("out/sales.parquet", "out/sales.parquet", "sales.parquet");
        check("file:///home/ann/shop/out/sales/", "out/sales/", "sales");
        check("/data/sales.csv", "/data/sales.csv", "sales.csv");
        check("s3://bucket/sales/2024.parquet", "s3://bucket/sales/2024.parquet", "2024.parquet");
        check("https://host/sales.csv?signature=abc", "https://host/sales.csv", "sales.csv");
    }
}
