//! `daglight export --format parquet`: the tables of bundles as Parquet files.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path, process::ExitCode};

use daglight::bundle::{Bundle, Manifest};
use daglight_bundle_tables::{BundleTable, Damage};
use parquet::arrow::ArrowWriter;

use crate::{
    bundles::{NamedBundle, bundles_at, no_runs},
    failure::Failure,
    private_file,
    say::note,
};

/// Writes one file for each table of the bundle, or of all bundles below a folder, to a new folder.
pub(crate) fn export_tables(path: &Path, to: Option<&Path>) -> Result<ExitCode, Failure> {
    let to = to.ok_or_else(|| Failure::input("parquet is written to a new folder: name one by --to"))?;
    let bundles = bundles_at(path)?;
    if bundles.is_empty() {
        return Err(Failure::input(no_runs(path)));
    }
    for bundle in &bundles {
        Manifest::refuse_newer(bundle).map_err(Failure::work)?;
    }
    private_file::create_folder(to).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::input(format!("{} already exists: choose a new folder", to.display()))
        }
        _ => Failure::work(format!("cannot make the folder {}: {error}", to.display())),
    })?;
    // Every table encounters a manifest that cannot be read.
    let mut named = BTreeSet::new();
    let written = BundleTable::ALL.into_iter().try_for_each(|table| write(table, &bundles, to, &mut named));
    if let Err(failure) = written {
        // An incomplete set of tables could be mistaken for all of them.
        let _ = fs::remove_dir_all(to);
        return Err(failure);
    }
    note!("written: {}", to.display());
    Ok(ExitCode::SUCCESS)
}

fn write(
    table: BundleTable,
    bundles: &[NamedBundle],
    folder: &Path,
    named: &mut BTreeSet<Damage>,
) -> Result<(), Failure> {
    let path = folder.join(format!("{}.parquet", table.name()));
    let failed =
        |error: &dyn std::fmt::Display| Failure::work(format!("cannot write {}: {error}", path.display()));
    let file = private_file::create_new(&path).map_err(|error| failed(&error))?;
    let mut writer = ArrowWriter::try_new(file, table.schema(), None).map_err(|error| failed(&error))?;
    for bundle in bundles {
        let mut error = None;
        let damages = table.read(bundle, |batch| {
            error = writer.write(&batch).err();
            error.is_none()
        });
        if let Some(error) = error {
            return Err(failed(&error));
        }
        for damage in damages.map_err(Failure::work)? {
            if named.insert(damage.clone()) {
                note!("warning: {}: {}", Bundle::shown(bundle, &damage.file).display(), damage.problem);
            }
        }
    }
    writer.close().map(drop).map_err(|error| failed(&error))
}
