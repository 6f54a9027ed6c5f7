//! What the development tasks and the system tests share: the workspace's folders, Python environments, the Hamilton UI,
//! a browser, child processes that end with their owner.
//!
//! The tasks themselves are in the binary. Nothing here knows DataFusion, so that `cargo xtask` starts fast.

mod browser;
mod debian;
mod hamilton;
mod http;
mod postgres;
mod process;
mod python;
mod workspace;

pub use browser::{Browser, BrowserMissing};
pub use hamilton::{HamiltonUi, USER};
pub use http::http_client;
pub use postgres::{Cluster, Postgres, PostgresMissing};
pub use process::{Background, free_port, run};
pub use python::{Python, PythonMissing, VirtualEnv};
pub use workspace::Workspace;
