//! Virtual environments with pinned packages.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{Workspace, process::run};

/// The oldest Python that the pinned packages work with.
const OLDEST: (u32, u32) = (3, 11);

/// The Python of this machine.
#[derive(Debug, Clone)]
pub struct Python {
    program: &'static str,
    /// What the interpreter says of itself; an environment made by another one is not used.
    description: String,
}

/// Why there is no Python to use.
#[derive(Debug, thiserror::Error)]
pub enum PythonMissing {
    /// No program of that name, or one that is too old.
    #[error("Python {}.{} or newer is not installed", OLDEST.0, OLDEST.1)]
    NotInstalled,
    /// Debian and Ubuntu have it as a separate package.
    #[error("Python is there, its venv module is not (on Debian and Ubuntu: the package python3-venv)")]
    NoVenv,
}

impl Python {
    /// Looks for `python3`, then `python`.
    ///
    /// # Errors
    /// When there is none that is new enough, or it cannot make virtual environments.
    pub fn find() -> Result<Self, PythonMissing> {
        let (program, description) = ["python3", "python"]
            .into_iter()
            .find_map(|program| Some((program, describe(program)?)))
            .ok_or(PythonMissing::NotInstalled)?;
        if !succeeds(program, "import venv, ensurepip") {
            return Err(PythonMissing::NoVenv);
        }
        Ok(Self { program, description })
    }
}

fn describe(program: &str) -> Option<String> {
    let script =
        format!("import sys; assert sys.version_info >= {OLDEST:?}; print(sys.base_prefix, sys.version)");
    let output = Command::new(program).args(["-c", &script]).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn succeeds(program: &str, script: &str) -> bool {
    let quiet =
        Command::new(program).args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// An environment with the packages of one requirements file, under `target/xtask`.
#[derive(Debug, Clone)]
pub struct VirtualEnv {
    folder: PathBuf,
}

impl VirtualEnv {
    /// Makes the environment, or takes the one that is there: the folder's name has the hash of the requirements and
    /// of the interpreter, and a file in it says that it is complete. Another process that is making the same one is
    /// waited for.
    ///
    /// # Errors
    /// When a package cannot be installed or the folder not be written.
    pub fn prepare(workspace: &Workspace, python: &Python, name: &str, requirements: &Path) -> Result<Self> {
        let text = fs::read_to_string(requirements)
            .with_context(|| format!("reading {}", requirements.display()))?;
        let folder =
            workspace.scratch().join(format!("venv-{name}-{}", fingerprint(&python.description, &text)));
        fs::create_dir_all(workspace.scratch())
            .with_context(|| format!("creating {}", workspace.scratch().display()))?;
        let lock = File::create(folder.with_extension("lock")).context("creating the environment's lock")?;
        lock.lock().context("waiting for the environment's lock")?;
        let environment = Self { folder };
        if !environment.stamp().exists() {
            environment
                .build(python, requirements)
                .with_context(|| format!("making a Python environment for {name}"))?;
        }
        Ok(environment)
    }

    fn build(&self, python: &Python, requirements: &Path) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).context("removing an unfinished environment")?;
        }
        eprintln!("  installing the packages of {} …", requirements.display());
        run(Command::new(python.program).args(["-m", "venv"]).arg(&self.folder))?;
        // Python compiles what is imported, a small part of it.
        run(Command::new(self.python())
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-compile",
            ])
            .arg("--requirement")
            .arg(requirements))?;
        File::create(self.stamp()).context("marking the environment as complete")?;
        Ok(())
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join(".complete")
    }

    /// The environment's interpreter.
    pub fn python(&self) -> PathBuf {
        self.program("python")
    }

    /// A program that one of the packages installed.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }
}

fn fingerprint(interpreter: &str, requirements: &str) -> String {
    let digest =
        Sha256::new().chain_update(interpreter).chain_update([0]).chain_update(requirements).finalize();
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_interpreter_or_another_requirement_is_another_environment() {
        let names = [fingerprint("3.11", "a==1"), fingerprint("3.12", "a==1"), fingerprint("3.11", "a==2")];
        assert!(names.iter().all(|name| name.len() == 12));
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2]);
        assert_eq!(names[0], fingerprint("3.11", "a==1"));
    }
}
