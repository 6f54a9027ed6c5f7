//! What the documentation has of the settings is what the code says.

use std::fs;

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
