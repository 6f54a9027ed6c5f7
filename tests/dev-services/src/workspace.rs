//! Where things are: the repository, the target folder, the binaries.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The folders of this workspace, found from the program that asks.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built in. The target folder is the one it runs from, wherever cargo was told
    /// to put it.
    ///
    /// # Errors
    /// When the program was moved out of a cargo target folder.
    pub fn locate() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("the crate lies two folders below the workspace")?;
        let program = env::current_exe().context("this program has a path")?;
        let target = program
            .ancestors()
            .skip(1)
            .find(|folder| !folder.ends_with("deps"))
            .and_then(Path::parent)
            .with_context(|| format!("{} is not in a cargo target folder", program.display()))?;
        Ok(Self { root: root.to_owned(), target: target.to_owned() })
    }

    /// The repository.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// What the tasks keep between two calls: Python environments. `cargo clean` removes it.
    pub fn scratch(&self) -> PathBuf {
        self.target.join("xtask")
    }

    /// A file of the Python side of the tasks.
    pub fn python_file(&self, name: &str) -> PathBuf {
        self.root.join("tests/dev-services/python").join(name)
    }

    /// Cargo, in the repository and in the environment that a shell gives it.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        as_from_a_shell(&mut command);
        command
    }

    /// The `daglight` program of the dev profile; the variable `DAGLIGHT_BINARY` names another one.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn daglight(&self) -> Result<PathBuf> {
        match env::var_os("DAGLIGHT_BINARY") {
            Some(named) => existing(PathBuf::from(named)),
            None => self.binary("daglight", "debug"),
        }
    }

    /// A program of the workspace, in the folder of a build profile (`debug`, `release`).
    ///
    /// # Errors
    /// When it has not been built.
    pub fn binary(&self, name: &str, profile_folder: &str) -> Result<PathBuf> {
        existing(self.target.join(profile_folder).join(format!("{name}{}", env::consts::EXE_SUFFIX)))
    }
}

/// Takes out of the environment of a command what `cargo run` and `cargo test` say of our own package. Build scripts look at
/// these variables: with them, crates such as ring, and DataFusion on top of it, would be built again each time that cargo is
/// called from here and then by hand.
pub fn as_from_a_shell(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let described = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if described {
            command.env_remove(name);
        }
    }
    command
}

fn existing(program: PathBuf) -> Result<PathBuf> {
    ensure!(
        program.is_file(),
        "{} is not there: build it with `cargo build --workspace --bins`",
        program.display()
    );
    Ok(program)
}
