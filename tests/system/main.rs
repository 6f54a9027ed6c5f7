//! System tests: the real program against the real Hamilton UI, an independent OTLP receiver and a real browser.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod bundle;
mod demo;
mod failing;
mod inputs;
mod observed;
mod offline;
mod page;
mod pipelines;
mod report;
mod signals;
mod tracking;
