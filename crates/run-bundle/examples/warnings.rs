//! Prints `docs/warnings.md`: every code of a warning.

fn main() {
    print!("{}", daglight_run_bundle::WarningCode::reference_page());
}
