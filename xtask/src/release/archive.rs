//! The archive of the command: the program with its manual pages, completions, licence and bill of materials.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::programs::{host, printed};

const PROGRAM: &str = "daglight";
const TEXTS: [&str; 3] = ["CHANGELOG.md", "LICENSE", "README.md"];
/// Each shell, with the file in which it looks for completions.
const SHELLS: [(&str, &str); 5] = [
    ("bash", "daglight.bash"),
    ("elvish", "daglight.elv"),
    ("fish", "daglight.fish"),
    ("powershell", "daglight.ps1"),
    ("zsh", "_daglight"),
];
pub(super) const BILL: &str = "daglight.cdx.json";

/// Makes `daglight-VERSION-TARGET.tar.gz` in the folder `dist`, and beside it its checksum and the bill of materials. Gives the
/// archive.
pub(super) fn make(program: &Path, tree: &Path, bill: &Value, dist: &Path, version: &str) -> Result<PathBuf> {
    let name = format!("{PROGRAM}-{version}-{}", host()?);
    let folder = tempfile::tempdir_in(dist)?;
    let content = folder.path().join(&name);
    fs::create_dir_all(content.join("completions"))?;
    let packed = content.join(PROGRAM);
    fs::copy(program, &packed).with_context(|| format!("copying {}", program.display()))?;
    // The table of symbols stays: it has the names of functions that the evidence of a stall shows.
    dev_services::run(Command::new("strip").arg("-S").arg(&packed))?;
    for text in TEXTS {
        fs::copy(tree.join(text), content.join(text)).with_context(|| format!("copying {text}"))?;
    }
    for (shell, file) in SHELLS {
        let script = printed(Command::new(&packed).args(["completions", shell]))?;
        fs::write(content.join("completions").join(file), script)?;
    }
    printed(Command::new(&packed).arg("man").arg(content.join("man/man1")))?;
    let bill = format!("{bill:#}\n");
    fs::write(content.join(BILL), &bill)?;
    fs::write(dist.join(format!("{name}.cdx.json")), &bill)?;
    let archive = dist.join(format!("{name}.tar.gz"));
    pack(folder.path(), &name, &archive)?;
    write_checksum(&archive)?;
    Ok(archive)
}

/// Unpacks the archive, and asks the program in it for its version.
pub(super) fn check(archive: &Path, version: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    dev_services::run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()))?;
    let entry = fs::read_dir(folder.path())?.next().context("the archive is empty")??;
    let said = printed(Command::new(entry.path().join(PROGRAM)).arg("--version"))?;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    ensure!(said == format!("{PROGRAM} {version}"), "the program says that it is `{said}`");
    Ok(())
}

/// The same content makes the same archive: files are in the order of their names, without times and users.
fn pack(folder: &Path, name: &str, archive: &Path) -> Result<()> {
    let unpacked = folder.join(format!("{name}.tar"));
    let file = File::create(&unpacked).with_context(|| format!("making {}", unpacked.display()))?;
    let mut builder = tar::Builder::new(file);
    builder.mode(tar::HeaderMode::Deterministic);
    for path in files_below(&folder.join(name))? {
        let below = path.strip_prefix(folder).context("a file is in its folder")?;
        builder.append_path_with_name(&path, below)?;
    }
    builder.into_inner()?.sync_all()?;
    // A separate program: this one is built without optimization.
    let packed = File::create(archive).with_context(|| format!("making {}", archive.display()))?;
    dev_services::run(Command::new("gzip").args(["--no-name", "--stdout"]).arg(&unpacked).stdout(packed))
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

/// Writes a file that `sha256sum --check` reads.
fn write_checksum(archive: &Path) -> Result<()> {
    let name = archive.file_name().and_then(|name| name.to_str()).context("an archive has a name")?;
    let digest = Sha256::digest(fs::read(archive)?);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = archive.with_file_name(format!("{name}.sha256"));
    fs::write(&file, format!("{digest}  {name}\n")).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use dev_services::Workspace;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_archive_has_the_stripped_program_and_what_belongs_to_it() {
        let workspace = Workspace::locate().unwrap();
        let dist = tempfile::tempdir().unwrap();
        let program = workspace.daglight().unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let archive = make(&program, workspace.root(), &json!({"a": 1}), dist.path(), version).unwrap();
        check(&archive, version).unwrap();
        assert!(check(&archive, "9.9.9").unwrap_err().to_string().contains(version));

        let listed =
            String::from_utf8(printed(Command::new("tar").arg("-tzf").arg(&archive)).unwrap()).unwrap();
        for file in
            ["/daglight\n", "/LICENSE\n", "/completions/_daglight\n", "/man/man1/daglight-run.1\n", BILL]
        {
            assert!(listed.contains(file), "{file:?}: {listed}");
        }
        let checksum = archive.with_extension("gz.sha256");
        dev_services::run(Command::new("sha256sum").arg("--check").arg(checksum).current_dir(dist.path()))
            .unwrap();
        assert_eq!(fs::read_dir(dist.path()).unwrap().count(), 3, "archive, checksum, bill of materials");
    }
}
