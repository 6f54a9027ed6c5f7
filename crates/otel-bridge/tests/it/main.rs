//! The bridge as a program uses it: runs side by side, files on disk, endpoints that are up, down or hang.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as expected")]

mod attach;
mod door;
mod examples;
mod exporters;
mod files;
mod grpc_server;
mod logs;
mod otlp;
mod support;
