//! Notifies a service manager such as systemd of a run, if it has given the process a socket for that (`NOTIFY_SOCKET`): that it
//! has started and ended, what it is doing, and with each beat that it makes progress. A completely stalled run sends no sign of
//! life, so that the watchdog of its unit (`WatchdogSec`) takes effect.

use std::{env, io, sync::mpsc, thread, time::Duration};

use daglight::{RunProgress, RunWatch};
use sd_notify::NotifyState;

use crate::{
    node_line::node_line,
    say::{note, shown},
};

/// The variable with the path of the socket.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How many nodes the status names.
const NODES_IN_STATUS: usize = 3;
/// The minimum pause between signs of life.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// The service manager is notified until this is dropped.
pub(crate) struct Notifying {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Notifies the service manager of a run, if there is one. `interval` is the time between two beats; signs of life are sent twice
/// within the time of the watchdog, if that is shorter.
pub(crate) fn notify(run: RunWatch, interval: Duration) -> Option<Notifying> {
    env::var_os(SOCKET)?;
    let watchdog = sd_notify::watchdog_enabled();
    // Twice within the limit, as the systemd manual recommends, so that one late sign does not end the service.
    let pause = watchdog.map_or(interval, |limit| interval.min(limit / 2)).max(LEAST_PAUSE);
    let (stop, stopped) = mpsc::channel();
    let mut manager = Manager { has_failed: false, status: String::new() };
    let inform = move || {
        manager.send(&[NotifyState::Ready]);
        while let Some(state) = run.progress() {
            manager.inform(&state, watchdog.is_some());
            if stopped.recv_timeout(pause) != Err(mpsc::RecvTimeoutError::Timeout) {
                break;
            }
        }
        manager.send(&[NotifyState::Stopping]);
    };
    let thread = thread::Builder::new().name("daglight-notify".into()).spawn(inform).ok();
    Some(Notifying { stop: Some(stop), thread })
}

impl Drop for Notifying {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Sending to a local socket takes no time, and only the end of the run follows.
        self.thread.take().into_iter().for_each(|thread| _ = thread.join());
    }
}

struct Manager {
    has_failed: bool,
    status: String,
}

impl Manager {
    fn inform(&mut self, state: &RunProgress, is_watched: bool) {
        let status = status(state);
        let mut states = Vec::new();
        if status != self.status {
            states.push(NotifyState::Status(&status));
        }
        // A stalled run sends no sign of life, and the manager then acts according to its unit.
        if is_watched && state.is_moving {
            states.push(NotifyState::Watchdog);
        }
        if !states.is_empty() {
            self.send(&states);
        }
        self.status = status;
    }

    fn send(&mut self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states)
            // Reported only once: if sending fails now, it will also fail a second later.
            && !std::mem::replace(&mut self.has_failed, true)
        {
            say_that_it_fails(&error);
        }
    }
}

fn say_that_it_fails(error: &io::Error) {
    note!("warning: the service manager is not informed: {SOCKET}: {error}");
}

/// One line: the running nodes, and their progress.
fn status(state: &RunProgress) -> String {
    let all = state.completed + state.pending + state.running.len();
    let running = state.running.iter().take(NODES_IN_STATUS).map(|node| node_line(node, None));
    let done = format!("{} of {all} nodes done", state.completed);
    let parts: Vec<String> = std::iter::once(done).chain(running).collect();
    shown(&parts.join("; ")).into_owned()
}
