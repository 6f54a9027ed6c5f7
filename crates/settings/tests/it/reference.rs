//! Tests that the documentation of the settings matches the code.

use std::{fs, path::Path};

#[path = "../../examples/reference.rs"]
#[expect(dead_code, reason = "the example writes the files")]
mod example;

#[test]
fn the_documentation_is_current() {
    for (path, expected) in example::files().unwrap() {
        let found = fs::read_to_string(&path).unwrap_or_default();
        let differing =
            expected.lines().zip(found.lines().chain([""])).find(|(expected, found)| expected != found);
        assert!(
            found == expected,
            "{} is not current (first difference: {differing:?}); to make it again: {}",
            path.display(),
            example::COMMAND
        );
    }
}

/// Samples of terminal sessions in the documentation must not depend on a machine.
#[test]
fn samples_in_the_documentation_are_of_no_machine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            match path.extension() {
                None if path.is_dir() => folders.push(path),
                Some(ending) if ending == "md" || ending == "json" => pages.push(path),
                _ => {}
            }
        }
    }
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for place in ["/work/", "/root/", "/tmp/dg", "/Users/", "/workspace/"] {
            assert!(!text.contains(place), "{} has a path below {place}", page.display());
        }
    }
}
