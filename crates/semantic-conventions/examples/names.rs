//! Prints `docs/names.md`: every name that Daglight uses in its telemetry.

fn main() {
    print!("{}", daglight_semantic_conventions::reference_page());
}
