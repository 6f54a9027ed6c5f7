//! Makes reports in a separate process, so that the peak memory is that of the report alone.

use std::{
    env,
    error::Error,
    fs, io,
    process::Command,
    time::{Duration, Instant},
};

use daglight_bundle_report::Report;
use daglight_run_bundle::Bundle;

/// The variable by which the process knows that it should make a report.
const BUNDLE: &str = "DAGLIGHT_BENCH_BUNDLE";

/// The cost of a report.
pub(crate) struct Made {
    pub(crate) report: Report,
    pub(crate) time: Duration,
    pub(crate) peak_bytes: u64,
}

/// In the process that [`make_alone`] has started: makes the report like `daglight report`. `None` in any other process.
pub(crate) fn made_here() -> Result<Option<Made>, Box<dyn Error>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of a bench: its own process says what is to be done"
    )]
    let Some(bundle) = env::var_os(BUNDLE) else { return Ok(None) };
    let bundle = Bundle::open(bundle)?;
    let begun = Instant::now();
    let report = Report::from_bundle(&bundle)?;
    report.write(&bundle)?;
    Ok(Some(Made { report, time: begun.elapsed(), peak_bytes: peak_bytes()? }))
}

/// Starts this bench again, for the report of a bundle.
pub(crate) fn make_alone(bundle: &Bundle) -> Result<(), Box<dyn Error>> {
    let made = Command::new(env::current_exe()?).env(BUNDLE, bundle.dir()).status()?;
    made.success().then_some(()).ok_or_else(|| io::Error::other("the report was not made").into())
}

/// The peak memory of this process.
fn peak_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kibibytes.ok_or("no VmHWM in /proc/self/status")?.trim().parse::<u64>()? * 1_024)
}
