//! `daglight init`.

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    path::Path,
    process::ExitCode,
};

use daglight::settings::settings_template;

use crate::{failure::Failure, say::say, set_up_args::InitArgs};

const FILE_NAME: &str = "daglight.toml";

pub(crate) fn init(args: &InitArgs) -> Result<ExitCode, Failure> {
    let file = args.dir.join(FILE_NAME);
    write(&args.dir, &file, args.force).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists if file.exists() => {
            Failure::input(format!("{} is there already; --force replaces it", file.display()))
        }
        // What is in the place of the folder.
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => Failure::input(format!(
            "{} is not a folder: expected the folder for {FILE_NAME}",
            args.dir.display()
        )),
        _ => Failure::work(format!("cannot write {}: {error}", file.display())),
    })?;
    say!(
        "wrote {}: every setting in it is a comment, and nothing is sent until one names a server",
        file.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes the template to a new file, or with `force` replaces an existing one.
fn write(folder: &Path, file: &Path, force: bool) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // To a temporary file first, so that an existing one is replaced completely or not at all.
    let mut new = tempfile::Builder::new().permissions(readable()).tempfile_in(folder)?;
    new.write_all(settings_template().as_bytes())?;
    match force {
        true => new.persist(file),
        false => new.persist_noclobber(file),
    }
    .map(drop)
    .map_err(|error| error.error)
}

/// It contains no secrets, and a file that others can write to would be ignored.
fn readable() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
