//! The page `docs/names.md`, made from the tables of this crate.

use std::fmt::{self, Write};

use crate::{Key, Name, Namespace, event, key, metric, process_metric, span, standard_keys};

/// The text of `docs/names.md`: every name that Daglight uses in its telemetry, under the default namespace.
pub fn reference_page() -> String {
    let mut page = String::new();
    write_page(&mut page).expect("writing to a string does not fail");
    page
}

fn write_page(page: &mut String) -> fmt::Result {
    writeln!(
        page,
        "<!-- Made by: cargo run -q -p daglight-semantic-conventions --example names > docs/names.md -->"
    )?;
    writeln!(page, "# Names in Daglight's telemetry\n")?;
    writeln!(page, "`daglight.` is the default of the namespace; the setting `otel.namespace` changes it.")?;
    let namespace = Namespace::default();
    let under = |Name { name, meaning }: &Name| (namespace.join(name), *meaning);
    let plain = |Name { name, meaning }: &Name| ((*name).to_owned(), *meaning);
    table(page, "Spans", span::ALL.iter().map(plain))?;
    table(page, "Span events", event::ALL.iter().map(plain))?;
    let keys = Key::ALL.iter().map(|&key| (namespace.key(key), key.meaning()));
    table(page, "Attributes under the namespace", keys)?;
    writeln!(page, "\n## Attributes that every span of a stage carries\n\n| span | attributes |\n|---|---|")?;
    for Name { name, .. } in span::ALL.iter().filter(|span| !standard_keys(span.name).is_empty()) {
        let keys: Vec<_> =
            standard_keys(name).iter().map(|&key| format!("`{}`", namespace.key(key))).collect();
        writeln!(page, "| `{name}` | {} |", keys.join(", "))?;
    }
    writeln!(
        page,
        "\n`row_count`, `column_count`, `bytes`, `table`, `plan_hash`, `query_id` and `source_tables` also stand on the spans of nodes \
         that know them,\nand `slow` on each span that took longer than its threshold."
    )?;
    table(page, "Other attributes", key::ALL.iter().map(plain))?;
    table(page, "Metrics", metric::ALL.iter().map(under))?;
    table(page, "Metrics of the process", process_metric::ALL.iter().map(plain))
}

fn table(page: &mut String, title: &str, rows: impl Iterator<Item = (String, &'static str)>) -> fmt::Result {
    writeln!(page, "\n## {title}\n\n| name | meaning |\n|---|---|")?;
    rows.into_iter().try_for_each(|(name, meaning)| writeln!(page, "| `{name}` | {} |", meaning.trim()))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_page_that_is_checked_in_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/names.md");
        let checked_in = fs::read_to_string(&path).unwrap();
        let page = reference_page();
        let differing = page.lines().zip(checked_in.lines()).find(|(made, checked_in)| made != checked_in);
        assert!(
            page == checked_in,
            "docs/names.md is not current (first difference: {differing:?}); to make it again: \
             cargo run -q -p daglight-semantic-conventions --example names > docs/names.md"
        );
    }
}
