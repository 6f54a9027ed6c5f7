//! Prints `docs/names.md`: every name that Daglight uses in its telemetry.

use daglight_otel_bridge::names::{Key, Name, Namespace, event, key, metric, span, standard_keys};

fn main() {
    println!("<!-- Made by: cargo run -q -p daglight-otel-bridge --example names > docs/names.md -->");
    println!("# Names in Daglight's telemetry\n");
    println!("`daglight.` is the default of the namespace; the setting `otel.namespace` changes it.");
    let namespace = Namespace::default();
    let under = |Name { name, meaning }: &Name| (namespace.join(name), *meaning);
    let plain = |Name { name, meaning }: &Name| ((*name).to_owned(), *meaning);
    table("Spans", span::ALL.iter().map(plain));
    table("Span events", event::ALL.iter().map(plain));
    table("Attributes under the namespace", Key::ALL.iter().map(|&key| (namespace.key(key), key.meaning())));
    println!("\n## Attributes that every span of a stage carries\n\n| span | attributes |\n|---|---|");
    for Name { name, .. } in span::ALL.iter().filter(|span| !standard_keys(span.name).is_empty()) {
        let keys: Vec<_> =
            standard_keys(name).iter().map(|&key| format!("`{}`", namespace.key(key))).collect();
        println!("| `{name}` | {} |", keys.join(", "));
    }
    println!(
        "\n`row_count`, `column_count`, `bytes`, `table`, `plan_hash`, `query_id` and `source_tables` also stand on the spans of nodes \
         that know them,\nand `slow` on each span that took longer than its threshold."
    );
    table("Other attributes", key::ALL.iter().map(plain));
    table("Metrics", metric::ALL.iter().map(under));
}

fn table(title: &str, rows: impl Iterator<Item = (String, &'static str)>) {
    println!("\n## {title}\n\n| name | meaning |\n|---|---|");
    rows.for_each(|(name, meaning)| println!("| `{name}` | {} |", meaning.trim()));
}
