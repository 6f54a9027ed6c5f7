//! Writes TPC-H data as Parquet files.

use std::path::PathBuf;

use clap::Parser;
use daglight_system_tests::generate_tpch;

/// Write the eight TPC-H tables as Parquet files
#[derive(Parser)]
struct Arguments {
    /// How much: 1 is a gigabyte as text
    #[arg(long, default_value_t = 0.1)]
    scale_factor: f64,
    /// The folder for the files; one that is there is replaced
    #[arg(long)]
    output_dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    generate_tpch(&arguments.output_dir, arguments.scale_factor, |name, rows| {
        eprintln!("    {name:<10} {rows:>9} rows")
    })
}
