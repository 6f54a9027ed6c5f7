//! The `daglight` command.

fn main() {}
