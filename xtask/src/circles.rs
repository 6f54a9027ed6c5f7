//! The check that no files of a crate use each other in a circle.
//!
//! Who wants to understand one file of a circle has to read them all, and none of them can move to another crate alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use dev_services::Workspace;

use crate::module_files::{self, Uses};

/// The files that are still in a circle, each with the folder of its crate. The list may only shrink.
const KNOWN: &[(&str, &str)] = &[];

/// The folders whose folders are crates, and the crates beside them.
const FOLDERS: [&str; 2] = ["crates", "tests"];
const CRATES: [&str; 1] = ["xtask"];
/// The files with which a crate begins. What both of them of one crate use, is read from each.
const ROOTS: [&str; 2] = ["lib.rs", "main.rs"];

/// Compares the circles of all crates with the list.
///
/// # Errors
/// With all breaches, one per line: a file that is in a circle and not in the list, or the other way around.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::locate()?;
    let (crates, breaches) = compare(workspace.root(), KNOWN)?;
    if breaches.is_empty() {
        eprintln!("circles: none that is new in {crates} crates");
        return Ok(());
    }
    bail!("files that use each other in a circle:\n{}", breaches.join("\n"))
}

/// The number of crates, and what is not as the list has it.
fn compare(root: &Path, known: &[(&str, &str)]) -> Result<(usize, Vec<String>)> {
    let mut unfound: BTreeSet<(&str, &str)> = known.iter().copied().collect();
    let mut breaches = Vec::new();
    let crates = crates(root)?;
    for folder in &crates {
        for file in ROOTS.map(|file| root.join(folder).join("src").join(file)) {
            if !file.exists() {
                continue;
            }
            let uses = module_files::uses(&file)?;
            for circle in circles(&uses) {
                if circle.iter().any(|file| !known.contains(&(folder, file))) {
                    breaches.push(described(folder, &circle, &uses));
                }
                unfound.retain(|(of, file)| of != folder || !circle.contains(*file));
            }
        }
    }
    breaches.extend(unfound.iter().map(|(folder, file)| {
        format!(
            "  {folder}: {file} is in no circle any more, and has to leave the list in xtask/src/circles.rs"
        )
    }));
    Ok((crates.len(), breaches))
}

/// The folders of all crates, from the root of the workspace on.
fn crates(root: &Path) -> Result<Vec<String>> {
    let mut crates = CRATES.map(str::to_owned).to_vec();
    for folder in FOLDERS {
        crates.push(folder.to_owned());
        for entry in fs::read_dir(root.join(folder)).with_context(|| format!("reading {folder}"))? {
            crates.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    crates.retain(|folder| root.join(folder).join("src").exists());
    crates.sort();
    Ok(crates)
}

/// The largest sets of files in which each can be reached from each other.
fn circles(uses: &Uses) -> Vec<BTreeSet<String>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in uses.keys() {
        next.entry(from).or_default().push(to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|file| (*file, reached(file, &next))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (file, there) in &reached {
        if !there.contains(file) || circles.iter().any(|circle| circle.contains(*file)) {
            continue;
        }
        let back = there.iter().filter(|other| reached.get(*other).is_some_and(|from| from.contains(file)));
        circles.push(back.map(|file| (*file).to_owned()).collect());
    }
    circles
}

/// What can be reached from a file; the file itself where it is in a circle.
fn reached<'a>(file: &str, next: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = next.get(file).cloned().unwrap_or_default();
    while let Some(file) = open.pop() {
        if let Some((file, onward)) = next.get_key_value(file)
            && reached.insert(*file)
        {
            open.extend(onward);
        }
    }
    reached
}

fn described(folder: &str, circle: &BTreeSet<String>, uses: &Uses) -> String {
    let mut lines = vec![format!("  {folder}: {} files", circle.len())];
    for ((from, to), names) in
        uses.iter().filter(|((from, to), _)| circle.contains(from) && circle.contains(to))
    {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        lines.push(format!("    {from} -> {to}: {}", names.join(", ")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace with the crate `planted` of these files, and what is found in it.
    fn found(files: &[(&str, &str)], known: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("tests")).unwrap();
        for (name, text) in files {
            let file = root.path().join("crates/planted/src").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        compare(root.path(), known).unwrap().1
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        assert_eq!(found(files, &[]), expected);
    }

    const TWO: [(&str, &str); 3] = [
        ("lib.rs", "mod a; mod b; pub use a::A;"),
        ("a.rs", "use crate::b::{self, B}; pub struct A(B);"),
        ("b.rs", "pub struct B; fn f() { let _ = crate::a::A; }"),
    ];
    const CIRCLE_OF_TWO: &str = "  crates/planted: 2 files\n    a.rs -> b.rs: B\n    b.rs -> a.rs: A";

    #[test]
    fn a_circle_is_found_with_the_edges_that_close_it() {
        check(&TWO, &[CIRCLE_OF_TWO]);
    }

    #[test]
    fn what_is_listed_passes_and_may_not_stay_listed_when_it_is_gone() {
        let both = [("crates/planted", "a.rs"), ("crates/planted", "b.rs")];
        assert_eq!(found(&TWO, &both), Vec::<String>::new());
        assert_eq!(found(&TWO, &both[..1]), [CIRCLE_OF_TWO]);
        let left = |file: &str| {
            format!("  {file} is in no circle any more, and has to leave the list in xtask/src/circles.rs")
        };
        assert_eq!(
            found(&TWO, &[both[0], both[1], ("crates/gone", "a.rs"), ("crates/planted", "lib.rs")]),
            [left("crates/gone: a.rs"), left("crates/planted: lib.rs")]
        );
    }

    #[test]
    fn three_files_make_one_circle_through_a_re_export_a_macro_and_an_alias() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c; pub use c::C as Last;"),
                ("a.rs", "use crate::b as other; pub struct A; fn f() { other::f() }"),
                ("b.rs", "pub fn f() { println!(\"{:?}\", crate::Last) }"),
                ("c.rs", "pub struct C(pub super::a::A);"),
            ],
            &["  crates/planted: 3 files\n    a.rs -> b.rs: f\n    b.rs -> c.rs: C\n    c.rs -> a.rs: A"],
        );
    }

    #[test]
    fn a_macro_and_a_function_that_is_called_as_its_file_are_names_too() {
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use a::a;"),
                ("a.rs", "pub fn a() { crate::b::b!() }"),
                ("b.rs", "macro_rules! b { () => { $crate::a() } } pub(crate) use b;"),
            ],
            &["  crates/planted: 2 files\n    a.rs -> b.rs: b\n    b.rs -> a.rs: a"],
        );
    }

    #[test]
    fn an_index_is_in_no_circle_and_a_module_that_uses_its_child_back_is() {
        check(
            &[
                ("lib.rs", "mod a; pub use a::{A, part::P};"),
                ("a.rs", "pub mod part; pub use part::P; pub struct A;"),
                ("a/part.rs", "pub struct P(super::A);"),
            ],
            &[],
        );
        check(
            &[
                ("lib.rs", "mod a;"),
                ("a/mod.rs", "mod part; pub struct A; fn f() { part::f() }"),
                ("a/part.rs", "use super::A; pub fn f() -> A { A }"),
            ],
            &["  crates/planted: 2 files\n    a/mod.rs -> a/part.rs: f\n    a/part.rs -> a/mod.rs: A"],
        );
    }

    #[test]
    fn a_part_of_a_type_of_the_module_above_makes_no_circle() {
        check(
            &[
                ("lib.rs", "mod a;"),
                ("a.rs", "mod part; pub struct A<T>(T); fn f() { part::f() }"),
                ("a/part.rs", "use super::A; pub fn f() {} impl<T: Into<u8>> A<T> { fn g() {} }"),
            ],
            &[],
        );
    }

    #[test]
    fn tests_may_use_everything() {
        check(
            &[
                ("lib.rs", "mod a; mod b; #[cfg(test)] mod c;"),
                ("a.rs", "use crate::b::B; #[cfg(test)] pub(crate) use crate::c::C; pub struct A(B);"),
                (
                    "b.rs",
                    "pub struct B { #[cfg(test)] a: crate::a::A, b: u8 } #[cfg(test)] mod tests { use crate::a::A; }\n\
                    #[cfg(test)] const fn f() -> crate::a::A { crate::a::A }",
                ),
                ("c.rs", "not looked at"),
            ],
            &[],
        );
    }

    #[test]
    fn what_follows_the_tests_is_read() {
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "use crate::b::B; pub struct A(B);"),
                ("b.rs", "#[cfg(test)] use crate::a::A as Other; pub struct B; use super::a::A;"),
            ],
            &[CIRCLE_OF_TWO],
        );
    }
}
