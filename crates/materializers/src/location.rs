//! Deriving names from the locations of files.

use std::path::is_separator;

use daglight_capture_policy::{host_of_path_part, without_credentials};
use datafusion::datasource::listing::ListingTableUrl;

const SLASHES: [char; 2] = ['/', '\\'];

/// The extensions of compressed files, after that of the format.
const COMPRESSIONS: [&str; 7] = ["bz2", "gz", "lz4", "snappy", "xz", "zst", "zstd"];

/// The external name of files, derived from their location: the name of the file or folder without its extension. `sales.2024.csv`
/// becomes `sales.2024`, because the rest distinguishes it from `sales.2025.csv`.
pub fn name_of_files(location: &str) -> String {
    let part = naming_part(location);
    let is_compression = |ending: &str| COMPRESSIONS.iter().any(|known| ending.eq_ignore_ascii_case(known));
    // The digits of a date or a version are not a format.
    let is_format = |ending: &str| !ending.is_empty() && ending.chars().all(|c| c.is_ascii_alphabetic());
    without_ending(without_ending(&part, is_compression), is_format).to_owned()
}

fn without_ending(name: &str, is_one: impl Fn(&str) -> bool) -> &str {
    match name.rsplit_once('.') {
        Some((before, ending)) if !before.is_empty() && is_one(ending) => before,
        _ => name,
    }
}

/// The part of a location that names its content: the last one that is not a partition, because the `Ann` in `sales/customer=Ann/`
/// is a value, and names are shown where values may not be.
///
/// The user and the password of a URL are not part of a name, nor is its query, which may contain a signature. Other credentials
/// are replaced before the location is split: in lower case, or without the extension, they would no longer be recognisable.
pub fn naming_part(location: &str) -> String {
    let location = without_query(location);
    let (part, shown) = (plain_naming_part(location), without_credentials(location));
    // The visible part, such as the host after a password, is the best name.
    let part = if shown.contains(part) { part } else { plain_naming_part(&shown) };
    without_credentials(part)
}

fn plain_naming_part(location: &str) -> &str {
    let Some((_, url)) = location.split_once("://") else {
        let key = || parts(location).next()?.split('=').next();
        return without_user(last_part(location).or_else(key).unwrap_or_default());
    };
    let (authority, path) = url.split_once('/').unwrap_or((url, ""));
    // A password may contain an `@`.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    last_part(path).map_or(host, without_user)
}

/// A part of a path without user and password, for a URL that was treated as a path.
fn without_user(part: &str) -> &str {
    host_of_path_part(part).unwrap_or(part)
}

/// The folder before a pattern, if DataFusion treats the location as one because it contains `*`, `?` or `[`. `None` for any other
/// location.
pub fn folder_of_pattern(location: &str) -> Option<&str> {
    ListingTableUrl::parse(location).ok()?.get_glob().as_ref()?;
    let pattern = location.find(['*', '?', '['])?;
    // Split like the engine does: a backslash is an ordinary character except on Windows.
    Some(location[..pattern].rfind(is_separator).map_or("./", |slash| &location[..=slash]))
}

/// Where a `COPY` to this target writes: to the folder before a pattern, with other file names, or else to the target.
pub fn place_of_copy(target: &str) -> &str {
    folder_of_pattern(target).unwrap_or(target)
}

/// A location without the query and the fragment of a URL. In a path, `?` and `#` are ordinary characters.
pub fn without_query(location: &str) -> &str {
    match location.contains("://") {
        true => location.split(['?', '#']).next().unwrap_or_default(),
        false => location,
    }
}

/// The last part that is not a partition.
fn last_part(path: &str) -> Option<&str> {
    parts(path).find(|part| !part.contains('='))
}

/// The parts of a path, last one first.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split(SLASHES).rev().filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(location: &str, part: &str, name: &str) {
        assert_eq!((naming_part(location).as_str(), name_of_files(location).as_str()), (part, name));
    }

    #[test]
    fn the_credentials_of_a_url_are_in_no_name() {
        check("https://user:Pw@host/", "host", "host");
        check("https://user:P@w@host", "host", "host");
        check("https://user:Pw@host/day=1/", "host", "host");
        check("https://user:Pw@host/x.csv?sig=Pw/x", "x.csv", "x");
        check("https://user:Pw@host/x?sig=Pw", "x", "x");
        check("https://host/?sig=a/b", "host", "host");
        check("s3://key:Pw@bucket/dir/", "dir", "dir");
        check("s3://bucket/a.parquet#Pw", "a.parquet", "a");
        check("out/user:Pw@host", "host", "host");
        check("./user:P@w@host/", "host", "host");
        check("file:///out/user:Pw@host", "host", "host");
        check("out/http:/user:Pw@host/", "host", "host");
        check("out/user@host", "user@host", "user@host");
        check("out/user:@host", "user:@host", "user:@host");
    }

    #[test]
    fn credentials_in_the_names_of_files_are_in_no_name() {
        check("o/ghp_a1B2c3D4e5F6g7H8i9J0k1L2.csv", "[redacted]", "[redacted]");
        check("o/api_key:Zq01vX7k.json", "api_key:[redacted]", "api_key:[redacted]");
        check("o/token: Zq01vX7k.csv", "token: [redacted]", "token: [redacted]");
        check("o/secret-Zq01vX7k.csv", "secret-[redacted].csv", "secret-[redacted]");
        check("s3://b/password=Zq01vX7k/", "b", "b");
        check("o/token: a/Zq01vX7k.csv", "token: [redacted]", "token: [redacted]");
        check("o/token_counts-2024.csv", "token_counts-2024.csv", "token_counts-2024");
    }

    #[test]
    fn files_and_folders_name_what_is_there() {
        check("s3://b/out/Late-orders.parquet", "Late-orders.parquet", "Late-orders");
        check("out\\late.csv.gz", "late.csv.gz", "late");
        check("out/late//", "late", "late");
        check("out/.hidden", ".hidden", ".hidden");
        check("out/sales.2024.csv", "sales.2024.csv", "sales.2024");
        check("out/sales.2024.csv.zst", "sales.2024.csv.zst", "sales.2024");
        check("out/v1.2/", "v1.2", "v1.2");
        check("out/a.b.PARQUET", "a.b.PARQUET", "a.b");
        check("out/.csv", ".csv", ".csv");
        check("/", "", "");
    }

    #[test]
    fn a_pattern_is_written_into_the_folder_in_front_of_it() {
        for (target, folder) in [
            ("out/w[1].csv", Some("out/")),
            ("out/a?/b.csv", Some("out/")),
            ("*.csv", Some("./")),
            ("out/w.csv", None),
            ("out/w[.csv", None),
            #[cfg(unix)]
            ("out/a\\b*.csv", Some("out/")),
            ("https://host/x?y=*", None),
        ] {
            assert_eq!(folder_of_pattern(target), folder, "{target}");
        }
    }

    #[test]
    fn values_of_partitions_name_nothing() {
        check("sales/customer=Ann/day=2024-01-02/", "sales", "sales");
        check("sales/customer=Ann.parquet", "sales", "sales");
        check("s3://b/customer=Ann", "b", "b");
        check("customer=Ann/", "customer", "customer");
    }
}
