//! The bridge as a program uses it: runs side by side, files on disk, endpoints that are up, down or hang.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it stands, and is an edge: it reads the clock and the variables"
)]

mod attach;
mod backends;
mod dashboard;
mod door;
mod examples;
mod exporters;
mod files;
mod grpc_server;
mod logs;
mod otlp;
mod scraping;
mod support;
