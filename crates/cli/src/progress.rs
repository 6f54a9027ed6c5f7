//! The progress of a pipeline on standard error: a bar on a terminal, a line a node elsewhere.

use std::{
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use daglight::{
    bundle::display::{elapsed, exact_plural},
    identity::NodeKind,
    policy::printable_within,
    sql::ShownRows,
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::say::{self, note};

/// How much of a node's name is shown, and of the names of all that run.
const NAME_COLUMNS: usize = 120;
const RUNNING_COLUMNS: usize = 400;

/// Shows which nodes run and which have ended.
pub(crate) struct Progress {
    lines: MultiProgress,
    bar: Option<ProgressBar>,
    running: Mutex<Vec<String>>,
    show: Show,
}

/// What is shown where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Show {
    /// Nodes as they end.
    pub(crate) nodes: bool,
    /// The rows of queries, on standard output.
    pub(crate) rows: bool,
}

impl Progress {
    pub(crate) fn new(lines: MultiProgress, nodes: u64, show: Show) -> Self {
        let bar = (show.nodes && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} [{bar:24}] {pos}/{len} {elapsed} {wide_msg}")
                .expect("the template is well formed")
                .progress_chars("=> ");
            let bar = lines.add(ProgressBar::new(nodes).with_style(style));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { lines, bar, running: Mutex::default(), show }
    }

    pub(crate) fn started(&self, node: &str) {
        self.change_running(|running| running.push(node.to_owned()));
    }

    pub(crate) fn succeeded(&self, name: &str, kind: Option<NodeKind>, rows: Option<u64>, time: Duration) {
        self.ended(name);
        if self.show.nodes {
            let node = printable_within(name, NAME_COLUMNS);
            let kind = kind.map_or("", NodeKind::name);
            let rows = rows.map(|rows| exact_plural(rows, "row"));
            self.line(&format!(
                "  ok   {node:<32} {kind:<12} {:>16} {:>10}",
                rows.unwrap_or_default(),
                elapsed(time)
            ));
        }
    }

    pub(crate) fn failed(&self, node: Option<&str>) {
        let Some(node) = node else { return };
        self.ended(node);
        if self.show.nodes {
            self.line(&format!("  FAIL {}", printable_within(node, NAME_COLUMNS)));
        }
    }

    pub(crate) fn rows(&self, node: Option<&str>, rows: &ShownRows) {
        if self.show.rows {
            let title = node.map(|node| format!("{}:\n", printable_within(node, NAME_COLUMNS)));
            let title = title.unwrap_or_default();
            let rows = say::table(rows);
            // Only where both are on a terminal is the bar in the way. A reader that stops to read, as `less` does, then
            // holds up no other line.
            match self.bar.is_some() && std::io::stdout().is_terminal() {
                true => self.lines.suspend(|| say::document(&format!("{title}{rows}"))),
                false => say::document(&format!("{title}{rows}")),
            }
        }
    }

    /// Says that something happens to the whole run.
    pub(crate) fn announce(&self, line: &str) {
        self.line(line);
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn ended(&self, node: &str) {
        self.change_running(|running| running.retain(|other| other != node));
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn change_running(&self, change: impl FnOnce(&mut Vec<String>)) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut running);
        if let Some(bar) = &self.bar {
            bar.set_message(printable_within(&running.join(", "), RUNNING_COLUMNS));
        }
    }

    fn line(&self, line: &str) {
        self.lines.suspend(|| note!("{}", line.trim_end()));
    }
}
