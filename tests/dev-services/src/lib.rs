//! What the development tasks and the system tests start on this machine: the Hamilton UI, PostgreSQL, a browser, groff,
//! Python environments, and child processes that end with their owner.
//!
//! The tasks are in `xtask`, the tests in `tests`. Nothing here knows DataFusion, so that `cargo xtask` starts fast.

mod workspace;
mod process;
mod python;
mod hamilton;
mod postgres;
mod groff;
mod browser;
mod http;
mod debian;

pub use browser::{Browser, BrowserMissing};
pub use groff::{Groff, GroffMissing};
pub use hamilton::{HamiltonUi, USER};
pub use http::http_client;
pub use postgres::{Cluster, Postgres, PostgresMissing};
pub use process::{Background, free_port, run};
pub use python::{Python, PythonMissing, VirtualEnv};
pub use workspace::{Workspace, as_from_a_shell};
