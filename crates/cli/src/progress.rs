//! The progress of a pipeline on standard error: on a terminal a bar, with a line for each running node; otherwise a line for each
//! node that has ended, and one with each beat.

use std::{
    io::IsTerminal as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use daglight::{
    RunProgress, RunWatch,
    bundle::display::{elapsed, exact_plural},
    identity::NodeKind,
    policy::printable_within,
    sql::ShownRows,
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{
    node_line::{Speeds, node_line},
    say::{self, note},
};

/// The maximum length shown of a node's name, and of the names of all running nodes.
const NAME_COLUMNS: usize = 120;
const RUNNING_COLUMNS: usize = 400;

/// The maximum number of nodes with their own line on a terminal, and how long they must have been running for one.
const NODE_LINES: usize = 8;
const LINE_AFTER: Duration = Duration::from_secs(1);
/// How often these lines are updated.
const REFRESH: Duration = Duration::from_millis(500);
/// The minimum pause between lines about running nodes without a terminal.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// Shows which nodes are running and which have ended.
pub(crate) struct Progress {
    lines: MultiProgress,
    bar: Option<ProgressBar>,
    running: Mutex<Running>,
    show: Show,
}

#[derive(Default)]
struct Running {
    nodes: Vec<String>,
    /// Those of them with their own line, and the lines.
    with_line: Vec<String>,
    lines: Vec<ProgressBar>,
    is_over: bool,
}

/// Progress is shown until this is dropped.
pub(crate) struct Following {
    _stop: mpsc::Sender<()>,
}

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Show {
    /// Nodes as they end.
    pub(crate) nodes: bool,
    /// The rows of queries, on standard output.
    pub(crate) rows: bool,
}

impl Progress {
    pub(crate) fn new(lines: MultiProgress, nodes: u64, show: Show) -> Self {
        // A bar in a log file would be thousands of lines.
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

    /// Shows the progress of running nodes, if nodes are shown, and reports when the heartbeat is blocked. `interval` is the time
    /// between two beats.
    pub(crate) fn follow(self: &Arc<Self>, run: RunWatch, interval: Duration) -> Following {
        let (stop, stopped) = mpsc::channel();
        let progress = Arc::clone(self);
        let pause = match self.bar {
            // Lines that replace each other may come often, but lines in a log stay.
            Some(_) => REFRESH,
            None => interval.max(LEAST_PAUSE),
        };
        let show = move || {
            let mut speeds = Speeds::default();
            while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                // First: what blocks the heartbeat may block the rest as well.
                if let Some(silence) = run.silence() {
                    progress.line_of_running(&format!("warning: {silence}"));
                }
                if progress.show.nodes {
                    let Some(state) = run.progress() else { return };
                    progress.show_running(&state, &mut speeds);
                } else if run.is_over() {
                    return;
                }
            }
        };
        // Without the thread, nodes are shown only when they end.
        let _ = thread::Builder::new().name("daglight-progress".into()).spawn(show);
        Following { _stop: stop }
    }

    /// Under the lock, so that no such line comes after the final output.
    fn line_of_running(&self, line: &str) {
        let running = self.running();
        if !running.is_over {
            self.line(line);
        }
    }

    fn show_running(&self, state: &RunProgress, speeds: &mut Speeds) {
        let speeds = speeds.of(Instant::now(), &state.running);
        let lines = state.running.iter().zip(speeds).map(|(node, speed)| (node, node_line(node, speed)));
        let Some(bar) = &self.bar else {
            let lines: Vec<String> = lines.map(|(_, line)| line).collect();
            if !lines.is_empty() {
                let all = state.completed + state.pending + lines.len();
                self.line_of_running(&format!(
                    "  ...  {} of {all} nodes done; {}",
                    state.completed,
                    lines.join("; ")
                ));
            }
            return;
        };
        let lines: Vec<_> = lines.filter(|(node, _)| node.elapsed >= LINE_AFTER).take(NODE_LINES).collect();
        let mut running = self.running();
        if running.is_over {
            return;
        }
        // Lines are reused for other nodes, so that the bar stays in its place.
        while running.lines.len() > lines.len() {
            running.lines.pop().into_iter().for_each(|line| line.finish_and_clear());
        }
        while running.lines.len() < lines.len() {
            let style = ProgressStyle::with_template("    {wide_msg}").expect("the template is well formed");
            running.lines.push(self.lines.add(ProgressBar::new_spinner().with_style(style)));
        }
        for (shown, (_, line)) in running.lines.iter().zip(&lines) {
            shown.set_message(say::shown(line).into_owned());
        }
        running.with_line = lines.iter().map(|(node, _)| node.name.clone()).collect();
        bar.set_message(running.others());
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
            // The bar is in the way only if both are on a terminal. Otherwise a reader that pauses, such as `less`, must not block
            // other lines.
            match self.bar.is_some() && std::io::stdout().is_terminal() {
                true => self.lines.suspend(|| say::document(&format!("{title}{rows}"))),
                false => say::document(&format!("{title}{rows}")),
            }
        }
    }

    /// Prints a line about the whole run.
    pub(crate) fn announce(&self, line: &str) {
        self.line(line);
    }

    pub(crate) fn clear(&self) {
        let mut running = self.running();
        // Under the lock: the thread that follows the run checks it before it draws a line again.
        running.is_over = true;
        let lines = std::mem::take(&mut running.lines);
        drop(running);
        lines.iter().chain(&self.bar).for_each(ProgressBar::finish_and_clear);
    }

    fn ended(&self, node: &str) {
        self.change_running(|running| running.retain(|other| other != node));
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn change_running(&self, change: impl FnOnce(&mut Vec<String>)) {
        // Held while the bar is updated, so that no older message comes last. The bar calls no other code.
        let mut running = self.running();
        change(&mut running.nodes);
        if let Some(bar) = &self.bar {
            bar.set_message(running.others());
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, line: &str) {
        // With the bar suspended: otherwise the line would end in the middle of it.
        self.lines.suspend(|| note!("{}", line.trim_end()));
    }
}

impl Running {
    /// The names of the nodes without their own line.
    fn others(&self) -> String {
        let others = self.nodes.iter().filter(|node| !self.with_line.contains(node));
        printable_within(&others.map(String::as_str).collect::<Vec<_>>().join(", "), RUNNING_COLUMNS)
    }
}
