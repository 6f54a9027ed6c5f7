//! PostgreSQL, for the tests of the Hamilton UI on a database that is strict.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    debian,
    process::{Background, free_port, run},
};

/// The superuser of the clusters made here, with which everybody on this machine may connect.
pub(crate) const USER: &str = "postgres";

const START_DEADLINE: Duration = Duration::from_secs(60);

/// Runs a server until the one who started it closes our input or asks for an end, and ends it in order.
const SERVE: &str =
    "\"$@\" & trap 'kill -INT $!; wait $!; exit' TERM; while read -r _; do :; done; kill -INT $!; wait $!";

/// The server's programs.
#[derive(Debug, Clone)]
pub struct Postgres {
    programs: PathBuf,
}

/// There is no PostgreSQL, and none can be installed from here.
#[derive(Debug, thiserror::Error)]
#[error(
    "the system tests run the Hamilton UI on PostgreSQL, which is not installed: install the package postgresql \
     (Debian), or its like"
)]
pub struct PostgresMissing;

impl Postgres {
    /// Looks along `PATH`, then where Debian puts the newest one.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find() -> Result<Self, PostgresMissing> {
        let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = installed.map(|version| version.path().join("bin")).collect();
        folders.sort_by_key(|folder| folder.parent().and_then(number));
        let on_path = debian::on_path("postgres").and_then(|program| Some(program.parent()?.to_owned()));
        on_path
            .into_iter()
            .chain(folders.into_iter().rev())
            .find(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file())
            .map(|programs| Self { programs })
            .ok_or(PostgresMissing)
    }

    /// As [`Postgres::find`]; where it is missing and this is root of a Debian system, its package is installed.
    ///
    /// # Errors
    /// When it is not there and cannot be installed.
    pub fn find_or_install() -> Result<Self> {
        match Self::find() {
            Ok(postgres) => Ok(postgres),
            Err(missing) if !debian::can_install() => Err(missing.into()),
            Err(_) => {
                debian::install(&["postgresql"])?;
                Ok(Self::find()?)
            }
        }
    }

    /// A new cluster on a free port of 127.0.0.1. Its data is lost when it is dropped.
    ///
    /// # Errors
    /// When it does not come up; the message says what its log ends with.
    pub fn start(&self) -> Result<Cluster> {
        let folder = TempDir::with_prefix("daglight-postgres-").context("making a folder for PostgreSQL")?;
        let data = folder.path().join("data");
        if debian::is_root() {
            run(Command::new("chown").arg(USER).arg(folder.path()))?;
        }
        run(self
            .command("initdb", folder.path())
            .args([
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--username",
                USER,
                "--pgdata",
            ])
            .arg(&data)
            .stdout(Stdio::null()))?;
        let port = free_port()?;
        let server = self.command("postgres", folder.path());
        let mut serve = Command::new("sh");
        serve
            .args(["-c", SERVE, "sh"])
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"])
            .current_dir(folder.path());
        let log = folder.path().join("server.log");
        let mut server = Background::start(&mut serve, &log)?;
        // It listens before it takes connections, and says so in the language of its locale.
        let is_ready =
            || fs::read_to_string(&log).is_ok_and(|text| text.contains("ready to accept connections"));
        server.wait_until(START_DEADLINE, is_ready).context("starting PostgreSQL")?;
        Ok(Cluster { _server: server, port, _folder: folder })
    }

    /// One of its programs, as a user that it accepts: it refuses to run as root.
    fn command(&self, program: &str, folder: &Path) -> Command {
        let program = self.programs.join(program);
        let mut command = if debian::is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(folder);
        command
    }
}

/// A PostgreSQL server that runs until this is dropped.
#[derive(Debug)]
pub struct Cluster {
    _server: Background,
    port: u16,
    _folder: TempDir,
}

impl Cluster {
    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn number(version: &Path) -> Option<u32> {
    version.file_name()?.to_str()?.parse().ok()
}
