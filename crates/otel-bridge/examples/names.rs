//! Prints `docs/names.md`: every name that Daglight uses in its telemetry.

use daglight_otel_bridge::names::{Key, Name, Namespace, event, key, metric, span};

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
    table("Other attributes", key::ALL.iter().map(plain));
    table("Metrics", metric::ALL.iter().map(under));
}

fn table(title: &str, rows: impl Iterator<Item = (String, &'static str)>) {
    println!("\n## {title}\n\n| name | meaning |\n|---|---|");
    rows.for_each(|(name, meaning)| println!("| `{name}` | {} |", meaning.trim()));
}
