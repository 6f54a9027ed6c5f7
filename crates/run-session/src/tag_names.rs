//! Names of tags that the user may have given a meaning.

use std::collections::BTreeMap;

/// The name of a tag of ours that the user may have given a meaning: then ours has another.
pub(crate) fn free_name(tags: &BTreeMap<String, String>, name: &str) -> String {
    match tags.contains_key(name) {
        true => format!("daglight.{name}"),
        false => name.to_owned(),
    }
}
