//! Generates the parts of the documentation that come from the settings: `docs/daglight.schema.json`, and the table in
//! `docs/configuration.md`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use daglight_settings::{settings_schema, settings_table};

/// The command that generates the files.
pub(crate) const COMMAND: &str = "cargo run -q -p daglight-settings --example reference";

const BEGIN: &str = "<!-- The settings: begin. Made by";
const END: &str = "<!-- The settings: end. -->";

fn main() -> io::Result<()> {
    for (path, text) in files()? {
        fs::write(path, text)?;
    }
    Ok(())
}

/// The expected content of the files.
pub(crate) fn files() -> io::Result<[(PathBuf, String); 2]> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = docs.join("configuration.md");
    let text = fs::read_to_string(&page)?;
    let no_table = || io::Error::other("docs/configuration.md has no place for the settings");
    let (before, rest) = text.split_once(BEGIN).ok_or_else(no_table)?;
    let (_, after) = rest.split_once(END).ok_or_else(no_table)?;
    let text = format!("{before}{BEGIN}: {COMMAND} -->\n\n{}\n{END}{after}", settings_table());
    Ok([(docs.join("daglight.schema.json"), format!("{:#}\n", settings_schema())), (page, text)])
}
