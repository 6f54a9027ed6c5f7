//! System tests: the real program against the real Hamilton UI, an independent OTLP receiver and a real browser.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod bundle;
mod bundles;
mod catalog;
mod correlation;
mod damages;
mod demo;
mod endings;
mod exit_codes;
mod exports;
mod failing;
mod faults;
mod few_resources;
mod findings;
mod full_disk;
mod inputs;
mod json_errors;
mod killed;
mod killed_plans;
mod late;
mod markers;
mod numbers;
mod observed;
mod offline;
mod page;
mod parts;
mod pipelines;
mod policy;
mod postgres;
mod processes;
mod programs;
mod proxies;
mod replay;
mod report;
mod report_page;
mod serve;
mod signal_values;
mod signals;
mod stages;
mod stalls;
mod statements;
mod strangers;
mod stress;
mod tracking;
mod upkeep;
