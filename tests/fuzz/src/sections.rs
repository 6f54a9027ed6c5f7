//! Inputs that are several texts.

use std::{fs, path::Path};

/// The texts of an input, with their names. What stands above the first name is nothing.
pub fn sections(input: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    let mut rest = input;
    while let Some(start) = find(rest, b"== ") {
        let named = &rest[start + 3..];
        let end = find(named, b"\n").unwrap_or(named.len());
        let content = &named[(end + 1).min(named.len())..];
        let until = find(content, b"\n== ").map_or(content.len(), |at| at + 1);
        found.push((&named[..end], &content[..until]));
        rest = &content[until..];
    }
    found
}

/// Writes the files of an input, of those that are named, and removes the others.
pub fn fill(folder: &Path, files: &[&str], input: &[u8]) {
    for file in files {
        let _ = fs::remove_file(folder.join(file));
    }
    for (name, content) in sections(input) {
        if let Some(file) = files.iter().find(|file| file.as_bytes() == name) {
            write(&folder.join(file), content);
        }
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("the folder of a file");
    fs::write(path, content).expect("a file of an input");
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
