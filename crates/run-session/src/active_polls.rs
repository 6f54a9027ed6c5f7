//! Polls that go on, for the heartbeat.

use daglight_heartbeat::Poll;
use daglight_plan_diagnostics::ActivePoll;

/// A poll as the heartbeat knows it. Both types are of other crates.
pub(crate) fn poll(poll: ActivePoll) -> Poll {
    Poll { thread: poll.thread, lasts: poll.lasts, may_block: poll.may_block }
}
