//! Which executors of a scheduler are there. The scheduler misses one that was killed after minutes, and says of none until then.

use std::{
    collections::HashMap,
    fmt,
    io::ErrorKind,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, SubsecRound as _, Utc};
use daglight_run_bundle::clock;
use futures::{StreamExt as _, stream};
use tokio::{net::TcpStream, time::timeout};

use super::rest::Executor;

/// How often an executor is connected to, at most, whatever the number of jobs that are watched.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long a connection may take, and how many are made at once.
const PROBE_WITHIN: Duration = Duration::from_secs(1);
const PROBES: usize = 64;
/// How long an executor that was connected to before may leave connections unanswered: as long as the connections of gRPC.
const UNANSWERED: Duration = Duration::from_secs(30);
/// How long a scheduler may not hear of an executor: at least, and in intervals of its signs of life. Threads that compute may delay these.
const UNHEARD_AT_LEAST: Duration = Duration::from_secs(30);
const UNHEARD_INTERVALS: f64 = 2.5;
/// The interval of the signs of life of an executor that is started without a word about it.
const USUAL_INTERVAL: Duration = Duration::from_secs(60);
/// Behind a pause of this length nobody knows how long an executor was not heard of.
const PAUSE: Duration = Duration::from_secs(10);

/// What jobs that are watched have found out about the executors.
#[derive(Default)]
pub(super) struct Presence(Mutex<HashMap<String, Seen>>);

struct Seen {
    worker: String,
    /// When the scheduler has listed it last.
    listed_at: DateTime<Utc>,
    /// When the scheduler has last heard of it, by its own clock, and since when that is what it says.
    heard: Option<u64>,
    heard_since: DateTime<Utc>,
    /// The longest time between two of its signs of life that was seen.
    interval: Option<Duration>,
    probed_at: Option<DateTime<Utc>>,
    /// When a connection was last made. Without one, it may be that only the other machines reach it.
    answered_at: Option<DateTime<Utc>>,
    /// It has refused a connection since then, and the scheduler has not heard of it.
    has_refused: bool,
    is_unanswered: bool,
}

/// An executor that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) id: String,
    /// Where others connect to it.
    pub(super) worker: String,
    /// When it was there for the last time, as far as it is known.
    pub(super) since: DateTime<Utc>,
    pub(super) sign: Sign,
}

/// By what it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Refuses,
    Unanswered,
    Unheard,
    Unlisted,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuses => "it refuses connections",
            Self::Unanswered => "it does not answer connections",
            Self::Unheard => "the scheduler has not heard from it",
            Self::Unlisted => "the scheduler no longer lists it",
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "an answer has the time at which it comes")]
pub(super) fn now() -> DateTime<Utc> {
    clock::utc_now()
}

/// A moment in a sentence.
pub(super) fn in_words(at: DateTime<Utc>) -> String {
    at.trunc_subsecs(0).format("%H:%M:%S UTC").to_string()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    Answered,
    Refused,
    /// Nothing came, or the network did not reach it.
    Nothing,
}

impl Presence {
    /// The scheduler has listed these executors.
    pub(super) fn listed(&self, executors: &[Executor], now: DateTime<Utc>) {
        let mut seen = self.lock();
        // Those that are not listed any more have no use for other jobs.
        seen.retain(|id, _| executors.iter().any(|executor| executor.id == *id));
        for executor in executors {
            let seen = seen.entry(executor.id.clone()).or_insert_with(|| Seen::new(executor, now));
            seen.listed(executor, now);
        }
    }

    /// Connects to those that are listed.
    pub(super) async fn probe(&self) {
        let probes = self.due(now()).into_iter().map(|(id, worker)| async move {
            let probe = match timeout(PROBE_WITHIN, TcpStream::connect(worker)).await {
                Ok(Ok(_)) => Probe::Answered,
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Probe::Refused,
                Ok(Err(_)) | Err(_) => Probe::Nothing,
            };
            self.probed(&id, probe, now());
        });
        stream::iter(probes).buffer_unordered(PROBES).collect::<Vec<()>>().await;
    }

    /// Those that are lost, as far as it is known.
    pub(super) fn lost(&self, now: DateTime<Utc>) -> Vec<Lost> {
        let seen = self.lock();
        let lost = seen.iter().filter_map(|(id, seen)| {
            let (sign, since) = seen.lost(now)?;
            Some(Lost { id: id.clone(), worker: seen.worker.clone(), since, sign })
        });
        let mut lost: Vec<Lost> = lost.collect();
        lost.sort_by(|a, b| a.worker.cmp(&b.worker));
        lost
    }

    fn due(&self, now: DateTime<Utc>) -> Vec<(String, String)> {
        let mut seen = self.lock();
        let due = seen
            .iter_mut()
            .filter(|(_, seen)| seen.probed_at.is_none_or(|at| passed(at, now) >= PROBE_EVERY))
            .map(|(id, seen)| {
                seen.probed_at = Some(now);
                (id.clone(), seen.worker.clone())
            });
        due.collect()
    }

    fn probed(&self, id: &str, probe: Probe, now: DateTime<Utc>) {
        let mut seen = self.lock();
        let Some(seen) = seen.get_mut(id) else { return };
        match probe {
            // Where it has refused one before, another process may have its port now.
            Probe::Answered if !seen.has_refused => {
                (seen.answered_at, seen.is_unanswered) = (Some(now), false);
            }
            Probe::Answered => {}
            Probe::Refused => seen.has_refused = seen.answered_at.is_some(),
            Probe::Nothing => seen.is_unanswered = true,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn new(executor: &Executor, now: DateTime<Utc>) -> Self {
        Self {
            worker: executor.address(),
            listed_at: now,
            heard: executor.last_seen,
            heard_since: now,
            interval: None,
            probed_at: None,
            answered_at: None,
            has_refused: false,
            is_unanswered: false,
        }
    }

    fn listed(&mut self, executor: &Executor, now: DateTime<Utc>) {
        let after_pause = passed(self.listed_at, now) > PAUSE;
        self.listed_at = now;
        let is_heard = self.heard != executor.last_seen;
        if is_heard && !after_pause {
            self.interval = self.interval.max(Some(passed(self.heard_since, now)));
        }
        if is_heard {
            self.has_refused = false;
        }
        if is_heard || after_pause {
            (self.heard, self.heard_since) = (executor.last_seen, now);
        }
    }

    fn lost(&self, now: DateTime<Utc>) -> Option<(Sign, DateTime<Utc>)> {
        if let Some(at) = self.answered_at {
            if self.has_refused {
                return Some((Sign::Refuses, at));
            }
            if self.is_unanswered && passed(at.max(self.heard_since), now) >= UNANSWERED {
                return Some((Sign::Unanswered, at));
            }
        }
        let interval = self.interval.unwrap_or(USUAL_INTERVAL);
        let at_most = interval.mul_f64(UNHEARD_INTERVALS).max(UNHEARD_AT_LEAST);
        let is_unheard = self.heard.is_some() && passed(self.heard_since, now) >= at_most;
        is_unheard.then_some((Sign::Unheard, self.heard_since))
    }
}

fn passed(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const HEARD: Option<u64> = Some(1_000);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn executor(last_seen: Option<u64>) -> Executor {
        Executor { id: "a".to_owned(), host: "e".to_owned(), port: 7, last_seen }
    }

    /// An executor that is listed every second, from 0 to `until`, as one that the scheduler has last heard of as `heard` says.
    fn watched(until: i64, heard: impl Fn(i64) -> Option<u64>, probe: impl Fn(i64) -> Probe) -> Presence {
        let presence = Presence::default();
        for second in 0..=until {
            presence.listed(&[executor(heard(second))], at(second));
            presence.probed("a", probe(second), at(second));
        }
        presence
    }

    fn signs(presence: &Presence, second: i64) -> Vec<(Sign, DateTime<Utc>)> {
        let lost = presence.lost(at(second)).into_iter();
        lost.map(|lost| (lost.sign, lost.since)).collect()
    }

    fn heard_at(second: i64, every: i64) -> Option<u64> {
        Some((second / every * every) as u64 * 1_000)
    }

    #[test]
    fn one_that_refuses_connections_is_lost_where_it_took_some_before() {
        let killed = |second| if second < 5 { Probe::Answered } else { Probe::Refused };
        let presence = watched(5, |_| HEARD, killed);
        assert_eq!(signs(&presence, 5), [(Sign::Refuses, at(4))]);
        assert_eq!(presence.lost(at(5))[0].worker, "e:7");
        // Another process at its port is not it.
        presence.probed("a", Probe::Answered, at(6));
        assert_eq!(signs(&presence, 6), [(Sign::Refuses, at(4))]);
        // It is there after all.
        presence.listed(&[executor(Some(7_000))], at(7));
        presence.probed("a", Probe::Answered, at(7));
        assert_eq!(signs(&presence, 7), []);
    }

    #[test]
    fn one_that_only_other_machines_reach_is_not_lost_while_the_scheduler_hears_of_it() {
        for nothing in [Probe::Refused, Probe::Nothing] {
            let presence = watched(600, |second| heard_at(second, 60), |_| nothing);
            assert_eq!(signs(&presence, 600), [], "{nothing:?}");
        }
    }

    #[test]
    fn one_that_answers_no_connection_is_lost_where_nobody_hears_of_it_either() {
        let gone = |second| if second < 5 { Probe::Answered } else { Probe::Nothing };
        let presence = watched(33, |_| HEARD, gone);
        assert_eq!(signs(&presence, 33), []);
        presence.listed(&[executor(HEARD)], at(34));
        assert_eq!(signs(&presence, 34), [(Sign::Unanswered, at(4))]);
        let hidden = watched(200, |second| heard_at(second, 10), gone);
        assert_eq!(signs(&hidden, 200), []);
    }

    #[test]
    fn one_that_is_not_heard_of_is_lost_by_the_measure_of_its_own_signs() {
        let stopped = |second: i64| heard_at(second.min(100), 20);
        let presence = watched(149, stopped, |_| Probe::Nothing);
        assert_eq!(signs(&presence, 149), []);
        presence.listed(&[executor(stopped(150))], at(150));
        assert_eq!(signs(&presence, 150), [(Sign::Unheard, at(100))]);
        // Of one that has not given two signs, nobody knows how often it does.
        let presence = watched(149, |_| HEARD, |_| Probe::Answered);
        assert_eq!(signs(&presence, 149), []);
        presence.listed(&[executor(HEARD)], at(150));
        assert_eq!(signs(&presence, 150), [(Sign::Unheard, at(0))]);
        assert_eq!(signs(&watched(600, |_| None, |_| Probe::Answered), 600), []);
    }

    #[test]
    fn nobody_knows_what_was_while_no_job_was_watched() {
        let presence = watched(5, |_| HEARD, |_| Probe::Answered);
        presence.listed(&[executor(HEARD)], at(1_000));
        assert_eq!(signs(&presence, 1_000), []);
        presence.listed(&[], at(1_001));
        assert_eq!(signs(&presence, 9_000), []);
    }
}
