//! The check of the documentation: each page is in the table of contents, each link leads to something that is there, each test
//! that a promise is proved by exists, and code that a page quotes is that of its file.
//!
//! `docs` is a book of mdBook and is read on code hosts as well. Both call headings by the same rule, so an anchor has one name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use dev_services::Workspace;
use toml::Table;

use crate::markdown::{FENCE, anchors, code_spans, links, prose};

const README: &str = "README.md";
const BOOK: &str = "docs/";
/// The table of contents, by the name that mdBook gives it.
const SUMMARY: &str = "docs/SUMMARY.md";
const SETTINGS: &str = "docs/book.toml";
/// The names of the pages that mdBook writes under another name, or not at all.
const RENAMED: [&str; 2] = ["README.md", "SUMMARY.md"];
/// How the header of a table ends whose last column names tests.
const PROVED_BY: &str = "| proved by |";
/// What names the file that a block of code is of.
const QUOTED_FROM: &str = "<!-- Of ";
/// Where tests are that are named without their file.
const SYSTEM_TESTS: &str = "tests/system";

/// Compares the pages with the table of contents and with the repository.
///
/// # Errors
/// With all breaches, one per line.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::locate()?;
    let pages = pages(workspace.root())?;
    let breaches = breaches(workspace.root(), &pages);
    if breaches.is_empty() {
        eprintln!("book: {} pages, all links lead somewhere", pages.len());
        return Ok(());
    }
    bail!("the documentation is not whole:\n  {}", breaches.join("\n  "))
}

/// The texts of the pages, by their paths in the repository.
type Pages = BTreeMap<String, String>;

fn pages(root: &Path) -> Result<Pages> {
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("reading {path}"));
    let mut pages = Pages::from([(README.to_owned(), read(README)?)]);
    let mut folders = vec![BOOK.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).with_context(|| format!("listing {folder}"))? {
            let entry = entry?;
            let path = format!("{folder}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(path + "/");
            } else if path.ends_with(".md") {
                let text = read(&path)?;
                pages.insert(path, text);
            }
        }
    }
    Ok(pages)
}

fn breaches(root: &Path, pages: &Pages) -> Vec<String> {
    let mut breaches = breaches_of_contents(pages);
    breaches.extend(missing_redirects(root, pages));
    for (page, text) in pages {
        let of_link =
            |link: &String| Some(format!("{page}: {link} {}", wrong_with(root, pages, page, link)?));
        breaches.extend(links(text).iter().filter_map(of_link));
        let missing = tests_named(text).into_iter().filter(|test| !is_test(root, test));
        breaches.extend(missing.map(|test| format!("{page}: there is no test {test}")));
        let foreign = quotations(text).into_iter().filter(|quotation| !is_quoted(root, quotation));
        breaches.extend(
            foreign.map(|(file, code)| format!("{page}: {file} does not have {:?}", first_line(&code))),
        );
    }
    breaches
}

fn breaches_of_contents(pages: &Pages) -> Vec<String> {
    let Some(contents) = pages.get(SUMMARY) else { return vec![format!("{SUMMARY} is missing")] };
    let mut listed = BTreeSet::new();
    let mut breaches = Vec::new();
    for page in links(contents).iter().filter_map(|link| target(SUMMARY, link)) {
        if !listed.insert(page.clone()) {
            breaches.push(format!("{SUMMARY} has {page} twice"));
        }
    }
    let in_book = pages.keys().filter(|page| page.starts_with(BOOK) && *page != SUMMARY);
    breaches.extend(
        in_book.filter(|page| !listed.contains(*page)).map(|page| format!("{page} is not in {SUMMARY}")),
    );
    breaches
}

/// The pages that are linked to by a name which the book does not have, and which it does not redirect.
fn missing_redirects(root: &Path, pages: &Pages) -> Vec<String> {
    let settings = fs::read_to_string(root.join(SETTINGS)).unwrap_or_default();
    let settings: Table = settings.parse().unwrap_or_default();
    let redirects = settings.get("output").and_then(|output| output.get("html")?.get("redirect"));
    let of_book = pages.iter().filter(|(page, _)| page.starts_with(BOOK) && *page != SUMMARY);
    let linked =
        of_book.flat_map(|(page, text)| links(text).into_iter().filter_map(|link| target(page, &link)));
    let renamed = linked.filter_map(|page| {
        let page = page.strip_prefix(BOOK)?;
        let is_renamed = RENAMED.contains(&page.rsplit('/').next()?);
        is_renamed.then_some(format!("/{}html", page.strip_suffix("md")?))
    });
    let renamed: BTreeSet<String> = renamed.collect();
    let is_missing = |page: &String| redirects.and_then(|redirects| redirects.get(page)).is_none();
    let breach = |page| format!("{SETTINGS} has no redirect of {page}, which mdBook does not write");
    renamed.into_iter().filter(is_missing).map(breach).collect()
}

/// What is wrong with a link of a page, if anything is.
fn wrong_with(root: &Path, pages: &Pages, page: &str, link: &str) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let Some(target) = target(page, link) else { return Some("leads out of the repository") };
    if page.starts_with(BOOK) && !target.starts_with(BOOK) {
        return Some("leads out of the book, where it is not found");
    }
    if !root.join(&target).exists() {
        return Some("leads to nothing");
    }
    let (_, anchor) = link.split_once('#')?;
    match pages.get(&target) {
        Some(text) if anchors(text).contains(anchor) => None,
        Some(_) => Some("leads to no heading"),
        None => Some("leads into something that is not a page"),
    }
}

/// The path in the repository that a relative link leads to. `None` if it is not in the repository.
fn target(page: &str, link: &str) -> Option<String> {
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() {
        return Some(page.to_owned());
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The tests in the last columns of the tables of promises.
fn tests_named(text: &str) -> Vec<String> {
    let text = prose(text);
    let mut tests = Vec::new();
    let mut is_promise = false;
    for line in text.lines().map(str::trim_end) {
        is_promise = line.ends_with(PROVED_BY) || is_promise && line.starts_with('|');
        if is_promise && let Some(last) = line.trim_end_matches('|').rsplit('|').next() {
            tests.extend(code_spans(last));
        }
    }
    tests
}

/// Whether there is a test of the name that `cargo test` gives a system test, or that follows the path of its file.
fn is_test(root: &Path, test: &str) -> bool {
    let Some((place, name)) = test.rsplit_once("::") else { return false };
    let file = match place.ends_with(".rs") {
        true => place.to_owned(),
        false => format!("{SYSTEM_TESTS}/{}.rs", place.replace("::", "/")),
    };
    fs::read_to_string(root.join(file)).is_ok_and(|text| text.contains(&format!("fn {name}(")))
}

/// The blocks of code that a comment in front of them says to be of a file, each with that file.
fn quotations(text: &str) -> Vec<(&str, String)> {
    let after_names = text.split(QUOTED_FROM).skip(1);
    after_names
        .filter_map(|rest| {
            let (file, rest) = rest.split_once(" -->")?;
            let block = rest.trim_start().strip_prefix(FENCE)?.split_once(FENCE)?.0;
            Some((file, block.split_once('\n')?.1.to_owned()))
        })
        .collect()
}

/// Whether a file has the lines of a quotation, one after the other. Examples in documentation have marks in front of their lines,
/// and lines that are not shown.
fn is_quoted(root: &Path, (file, code): &(&str, String)) -> bool {
    let Ok(text) = fs::read_to_string(root.join(file)) else { return false };
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim().trim_start_matches("///").trim());
        lines.filter(|line| !line.is_empty() && !line.starts_with("# ")).map(str::to_owned).collect()
    };
    let (text, code) = (lines(&text), lines(code));
    !code.is_empty() && text.windows(code.len()).any(|window| window == code)
}

fn first_line(code: &str) -> &str {
    code.trim().lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(breaches(folder.path(), &pages(folder.path()).unwrap()), expected);
    }

    const SUMMARY_OF_ONE: (&str, &str) = (SUMMARY, "# Book\n\n- [One](one.md)\n");

    #[test]
    fn this_book_is_whole() {
        let root = Workspace::locate().unwrap().root().to_owned();
        assert_eq!(breaches(&root, &pages(&root).unwrap()), [""; 0]);
    }

    #[test]
    fn links_that_lead_somewhere_are_no_breach() {
        let one = "# The `first`, of 2\n\n[here](#the-first-of-2) [up](more/two.md#b-1) ![x](x.png)\n\
            [web](https://a.example/b#c)\n\n    \n```md\n# Not a heading\n[not](a-link.md)\n```\n`[nor](this.md)`\n";
        check(
            &[
                (README, "[one](docs/one.md#the-first-of-2) [licence](LICENSE)"),
                ("LICENSE", ""),
                (SUMMARY, "- [One](one.md)\n  - [Two](more/two.md)\n"),
                ("docs/one.md", one),
                ("docs/more/two.md", "## B\n## B\n[back](../one.md)"),
                ("docs/x.png", ""),
            ],
            &[],
        );
    }

    #[test]
    fn a_page_must_be_in_the_table_of_contents_once() {
        check(
            &[
                (README, ""),
                (SUMMARY, "- [One](one.md)\n- [Again](one.md)\n"),
                ("docs/one.md", ""),
                ("docs/two.md", ""),
            ],
            &["docs/SUMMARY.md has docs/one.md twice", "docs/two.md is not in docs/SUMMARY.md"],
        );
        check(&[(README, ""), ("docs/one.md", "")], &["docs/SUMMARY.md is missing"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_a_breach() {
        let one = "[a](two.md) [b](#c) [d\ne](../LICENSE) [f](../../g) [h](x.png#i)\n";
        check(
            &[(README, ""), ("LICENSE", ""), SUMMARY_OF_ONE, ("docs/one.md", one), ("docs/x.png", "")],
            &[
                "docs/one.md: two.md leads to nothing",
                "docs/one.md: #c leads to no heading",
                "docs/one.md: ../LICENSE leads out of the book, where it is not found",
                "docs/one.md: ../../g leads out of the repository",
                "docs/one.md: x.png#i leads into something that is not a page",
            ],
        );
    }

    #[test]
    fn a_link_to_a_page_that_the_book_renames_needs_a_redirect() {
        let pages = [
            (README, "[one](docs/more/README.md)"),
            (SUMMARY, "- [One](one.md)\n- [Two](more/README.md)\n"),
            ("docs/one.md", "[two](more/README.md)"),
            ("docs/more/README.md", ""),
        ];
        let missing = "docs/book.toml has no redirect of /more/README.html, which mdBook does not write";
        check(&pages, &[missing]);
        let settings = "[output.html.redirect]\n\"/more/README.html\" = \"index.html\"\n";
        check(&[&pages[..], &[(SETTINGS, settings)]].concat(), &[]);
    }

    #[test]
    fn a_promise_is_proved_by_a_test_that_there_is() {
        let promises = "| promise | proved by |\n|---|---|\n| `a::b` | `ends::it_ends`, `ends::it_waits` |\n\
            | c | `crates/x/src/y.rs::it_holds`, `it_floats` |\n\n| other | table |\n|---|---|\n| `d` | `e::f` |\n";
        check(
            &[
                (README, ""),
                SUMMARY_OF_ONE,
                ("docs/one.md", promises),
                ("tests/system/ends.rs", "#[test]\nfn it_ends() {}"),
                ("crates/x/src/y.rs", "#[test]\nfn it_holds() {}"),
            ],
            &["docs/one.md: there is no test ends::it_waits", "docs/one.md: there is no test it_floats"],
        );
    }

    #[test]
    fn a_quotation_is_of_its_file() {
        let file = "/// ```\n/// # let run = start();\n/// run.node(\n///     x,\n/// );\n/// run.finish();\n/// ```";
        let quoted = "<!-- Of a.rs -->\n```rust\nrun.node(\n    x,\n);\nrun.finish();\n```\n";
        let one = format!("{quoted}{}", quoted.replace("    x", "    y"));
        check(
            &[(README, ""), SUMMARY_OF_ONE, ("docs/one.md", &one), ("a.rs", file)],
            &["docs/one.md: a.rs does not have \"run.node(\""],
        );
    }
}
