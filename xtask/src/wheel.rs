//! `cargo xtask wheel`: the command as a package that pip installs, made by maturin.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use dev_services::{Python, VirtualEnv, Workspace, as_from_a_shell};

const MANIFEST: &str = "crates/cli/Cargo.toml";
/// What maturin calls in place of cargo. It would build the package of the command alone, for which cargo chooses other features of
/// dependencies than for the workspace, and compiles DataFusion for them.
const CARGO: &str = "#!/bin/sh
if [ \"$1\" = rustc ]; then
    shift
    exec \"$REAL_CARGO\" build --workspace --locked \"$@\"
fi
exec \"$REAL_CARGO\" \"$@\"
";

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The build profile
    #[arg(long, default_value = "release")]
    profile: String,
    /// The folder for the wheel. Default: `dist` in the target folder
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Builds the wheel, and says where it is.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::locate()?;
    let folder = options.to.clone().unwrap_or_else(|| workspace.target().join("dist"));
    let wheel = build(&workspace, workspace.root(), &options.profile, &folder)?;
    println!("{}", wheel.display());
    Ok(())
}

/// Builds the wheel of the workspace in the folder `tree`, in the target folder of this one, and puts it into `folder`.
///
/// # Errors
/// When maturin cannot be installed, or the command not be built.
pub(crate) fn build(workspace: &Workspace, tree: &Path, profile: &str, folder: &Path) -> Result<PathBuf> {
    let requirements = workspace.python_file("maturin.txt");
    let environment = VirtualEnv::prepare(workspace, &Python::find()?, "maturin", &requirements)?;
    let scratch = tempfile::tempdir()?;
    let cargo = scratch.path().join("cargo");
    fs::write(&cargo, CARGO).context("writing what maturin calls")?;
    fs::set_permissions(&cargo, Permissions::from_mode(0o700)).context("making it a program")?;
    let out = scratch.path().join("out");
    let mut maturin = Command::new(environment.program("maturin"));
    maturin.args(["build", "--quiet", "--profile", profile, "--manifest-path"]).arg(tree.join(MANIFEST));
    maturin.arg("--out").arg(&out).current_dir(tree);
    maturin.env("REAL_CARGO", workspace.cargo().get_program()).env("CARGO", &cargo);
    // It calls cargo, which would build DataFusion again for what a test says of the package of xtask.
    as_from_a_shell(maturin.env("CARGO_TARGET_DIR", workspace.target()));
    dev_services::run(&mut maturin)?;
    let built = fs::read_dir(&out).context("maturin has written nothing")?.next();
    let built = built.context("maturin has written no wheel")??;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let wheel = folder.join(built.file_name());
    // Another file system may have no hard links to it.
    fs::copy(built.path(), &wheel).with_context(|| format!("writing {}", wheel.display()))?;
    Ok(wheel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_installs_the_command() {
        let workspace = Workspace::locate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let wheel = build(&workspace, workspace.root(), "dev", folder.path()).unwrap();
        let environment = folder.path().join("environment");
        dev_services::run(Command::new("python3").args(["-m", "venv"]).arg(&environment)).unwrap();
        let program = |name: &str| Command::new(environment.join("bin").join(name));
        dev_services::run(program("pip").args(["install", "--quiet", "--no-index"]).arg(&wheel)).unwrap();
        let said = program("daglight").arg("--version").output().unwrap().stdout;
        assert_eq!(
            String::from_utf8_lossy(&said).trim(),
            concat!("daglight ", env!("CARGO_PKG_VERSION")),
            "{}",
            wheel.display()
        );
        let licence = "import importlib.metadata as m; print(m.metadata('daglight')['License-Expression'])";
        let said = program("python").args(["-c", licence]).output().unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&said).trim(), "Apache-2.0");
    }
}
