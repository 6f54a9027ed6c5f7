//! Files and folders, independent of their spelling in a script.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use datafusion::{datasource::listing::ListingTableUrl, object_store::path::Path as ObjectPath};

/// A file, a folder or a pattern for files, as DataFusion interprets the text of a location: relative to the working directory,
/// with `file://` and percent escapes decoded, and with symbolic links resolved as they are when the script is read.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    /// The store and the path in it, with a slash after every part.
    key: String,
    /// Including its pattern, if any.
    url: Option<ListingTableUrl>,
}

impl Location {
    pub(crate) fn of(text: &str) -> Self {
        let Ok(url) = ListingTableUrl::parse(text) else {
            return Self { key: as_key("", text.split('/')), url: None };
        };
        let store = url.object_store();
        let path = url.prefix();
        let key = match url.scheme() {
            "file" => {
                let path = real_path(&Path::new("/").join(path.as_ref()));
                as_key(store.as_str(), path.to_string_lossy().split('/'))
            }
            _ => as_key(store.as_str(), path.as_ref().split('/')),
        };
        Self { key, url: Some(url) }
    }

    /// Whether this may read what is written to `other`: one equals or contains the other, and a file matches the pattern, if any.
    fn may_hold(&self, other: &Self) -> bool {
        let Some(below) = other.key.strip_prefix(&self.key) else { return self.key.starts_with(&other.key) };
        match &self.url {
            Some(url) if url.get_glob().is_some() && other.is_file() => {
                let below = below.split_terminator('/').map(Into::into);
                let file = ObjectPath::from_iter(url.prefix().parts().chain(below));
                url.contains(&file, true) || url.contains(&file, false)
            }
            _ => true,
        }
    }

    /// Whether `COPY` writes a single file with this name. Without a file extension it creates a folder.
    fn is_file(&self) -> bool {
        self.url.as_ref().is_some_and(|url| !url.is_collection() && url.file_extension().is_some())
    }
}

fn as_key<'a>(store: &str, parts: impl Iterator<Item = &'a str>) -> String {
    let store = store.trim_end_matches('/');
    let parts = parts.filter(|part| !part.is_empty() && *part != ".");
    parts.fold(format!("{store}/"), |key, part| key + part + "/")
}

/// The path with symbolic links resolved, as far as it exists.
fn real_path(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return missing.iter().rev().fold(real, |path, part| path.join(part));
        }
        if let Some(Component::Normal(part)) = ancestor.components().next_back() {
            missing.push(part.to_owned());
        }
    }
    path.to_owned()
}

/// Entries at locations, found by overlap with other locations.
#[derive(Debug, Default)]
pub(crate) struct LocationIndex {
    at: BTreeMap<String, Vec<(Location, usize)>>,
}

impl LocationIndex {
    pub(crate) fn insert(&mut self, location: Location, entry: usize) {
        self.at.entry(location.key.clone()).or_default().push((location, entry));
    }

    /// The entries whose location may contain what is written to `target`.
    pub(crate) fn that_hold(&self, target: &Location) -> Vec<usize> {
        self.around(target)
            .flatten()
            .filter(|(location, _)| location.may_hold(target))
            .map(|(_, entry)| *entry)
            .collect()
    }

    /// The last entry at each location from which `reader` may read.
    pub(crate) fn last_held_by(&self, reader: &Location) -> Vec<usize> {
        let entries = self.around(reader).filter_map(|entries| entries.last());
        entries.filter(|(location, _)| reader.may_hold(location)).map(|(_, entry)| *entry).collect()
    }

    /// The entries whose location `reader` may read from.
    pub(crate) fn held_by(&self, reader: &Location) -> Vec<usize> {
        self.around(reader)
            .flatten()
            .filter(|(location, _)| reader.may_hold(location))
            .map(|(_, entry)| *entry)
            .collect()
    }

    /// The entries at the folders above a location, at the location itself, and below it.
    fn around(&self, location: &Location) -> impl Iterator<Item = &Vec<(Location, usize)>> {
        let key = &location.key;
        let above =
            key.match_indices('/').map(|(index, _)| &key[..=index]).filter(move |above| *above != key);
        let below = self.at.range(key.clone()..).take_while(move |(other, _)| other.starts_with(key));
        above.filter_map(|above| self.at.get(above)).chain(below.map(|(_, entries)| entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reader: &str, written: &str, expected: bool) {
        let (reader, written) = (Location::of(reader), Location::of(written));
        let mut index = LocationIndex::default();
        index.insert(written.clone(), 7);
        assert_eq!(reader.may_hold(&written), expected, "{reader:?} {written:?}");
        assert_eq!(
            index.held_by(&reader),
            if expected { vec![7] } else { Vec::new() },
            "{reader:?} {written:?}"
        );
        let mut index = LocationIndex::default();
        index.insert(reader.clone(), 7);
        assert_eq!(
            index.that_hold(&written),
            if expected { vec![7] } else { Vec::new() },
            "{reader:?} {written:?}"
        );
    }

    #[test]
    fn one_place_has_many_spellings() {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let here = here.to_string_lossy();
        for spelling in [
            "out/x",
            "out/x/",
            "./out/x",
            "./out/../out/x/",
            "out//x//",
            "out/./x",
            &format!("{here}/out/x"),
            &format!("file://{here}/out/x/"),
            &format!("file://{here}/other/../out/x"),
            &format!("FILE://{here}/out/%78"),
        ] {
            check(spelling, "out/x", true);
            check("out/x/", spelling, true);
            check("out/xy", spelling, false);
            check("out/", spelling, true);
            check("out/x/part.csv", spelling, true);
        }
        check(&format!("file://{here}/out/c%20d/"), "out/c d/a.csv", true);
        // A percent sign in a path is literal.
        check("out/c%20d/", "out/c d/a.csv", false);
    }

    #[test]
    fn folders_hold_files_and_partitions() {
        check("out/", "out/year=2024/month=1/a.parquet", true);
        check("out/year=2024/", "out/", true);
        check("out/year=2024/", "out/year=2025/", false);
        check("a/b", "a/bc", false);
        check("/a/b", "a/b", false);
        check("file:///", "a/b", true);
    }

    #[test]
    fn patterns_hold_files_of_their_names() {
        check("out/*.csv", "out/x.csv", true);
        check("out/*.csv", "out/x.parquet", false);
        check("out/*.csv", "out/", true);
        check("out/*.csv", "out/folder", true);
        check("out/x[12].csv", "./out/x1.csv", true);
        check("out/x[12].csv", "out/x3.csv", false);
        check("out/x?.csv", "out/x3.csv", true);
        check("out/*/x.csv", "out/a/x.csv", true);
        check("out/*/x.csv", "elsewhere/a/x.csv", false);
        check("out/**/x.csv", "out/a/b/x.csv", true);
        check("out/*.csv", "out/year=2024/x.csv", true);
    }

    #[test]
    fn objects_are_compared_as_text() {
        check("s3://bucket/a/", "s3://bucket/a/x.parquet", true);
        check("s3://bucket/a/../b/", "s3://bucket/b/x.parquet", true);
        check("s3://bucket/a%20b/", "s3://bucket/a b/x.parquet", true);
        check("s3://bucket/a/", "s3://other/a/x.parquet", false);
        check("gs://bucket/a/", "s3://bucket/a/x.parquet", false);
        check("s3://bucket/a//b/", "s3://bucket/a//b/x.parquet", true);
    }

    #[test]
    fn symbolic_links_lead_to_one_place() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| format!("{}/{path}", dir.path().display());
        std::fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        check(&at("link/"), &at("real/a/b.csv"), true);
        check(&at("real/a/"), &at("link/a/b.csv"), true);
        check(&at("link/*.csv"), &at("real/b.csv"), true);
        check(&at("link/*.csv"), &at("real/b.parquet"), false);
    }
}
