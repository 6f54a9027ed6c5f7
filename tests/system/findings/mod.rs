//! Causes planted in real runs of DataFusion: each is found, and rightly named, and nothing else is; and a healthy run has no
//! findings. Beside each cause is a neighbour that does the same without it.

mod against_last_run;
mod cores;
mod healthy;
mod in_default_settings;
mod joins;
mod memory;
mod planted;
mod scans;
mod skew;
mod telemetry;
mod thresholds;
mod waiting;
mod writes;

use planted::{Planted, Ran};
