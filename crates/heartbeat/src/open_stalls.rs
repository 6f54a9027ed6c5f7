//! The stalls that are going on, and which of them began or ended with a beat.

use chrono::{DateTime, Utc};
use daglight_run_bundle::{Stall, StallClass, StallEpisode, StallLog, StalledThread};
use serde::{Deserialize, Serialize};

/// The stalls that are going on; the [`StallLog`] keeps them in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct OpenStalls(Vec<OpenStall>);

#[derive(Debug)]
struct OpenStall {
    /// The stall as currently known.
    stall: Stall,
    /// The class that the last beat has seen, if it differs.
    doubt: Option<StallClass>,
}

impl OpenStalls {
    const MAX_EPISODES: usize = 100;

    /// Records the current stalls, and returns those that began or ended since: one that is still going on is not reported again. A
    /// stall changes its class when two consecutive beats have seen the new one, because a single beat may come between two steps.
    /// Until then `stalls` has the known class. `look` is called with each stall that begins or changes its class, to collect more
    /// facts, which are kept for as long as the stall lasts.
    pub(crate) fn record(
        &mut self,
        log: &mut StallLog,
        now: DateTime<Utc>,
        stalls: &mut [Stall],
        mut look: impl FnMut(&mut Stall),
    ) -> StallChanges {
        let mut before = std::mem::take(&mut self.0);
        let mut changes = StallChanges::default();
        for stall in stalls {
            let known = before.iter().position(|known| known.stall.id() == stall.id());
            let Some(known) = known.map(|known| before.swap_remove(known)) else {
                look(stall);
                changes.began.push(stall.clone());
                self.0.push(OpenStall { stall: stall.clone(), doubt: None });
                continue;
            };
            let doubt = stall.class.filter(|class| Some(*class) != known.stall.class);
            if doubt.is_some() && doubt == known.doubt {
                look(stall);
                changes.corrected.push(stall.clone());
                self.0.push(OpenStall { stall: stall.clone(), doubt: None });
                continue;
            }
            if doubt.is_some() {
                *stall = Stall { cpu_seconds: stall.cpu_seconds, ..known.stall };
            } else {
                keep_stacks(&known.stall.threads, &mut stall.threads);
            }
            self.0.push(OpenStall { stall: stall.clone(), doubt });
        }
        changes.ended = before.into_iter().map(|known| known.stall).collect();
        for episode in log.episodes.iter_mut().filter(|episode| episode.ended.is_none()) {
            if is_among(&episode.stall, &changes.ended) {
                episode.ended = Some(now);
            }
            if let Some(better) = changes.corrected.iter().find(|better| better.id() == episode.stall.id()) {
                episode.stall.clone_from(better);
            }
        }
        // All of them are counted, even those that are not kept.
        log.count += changes.began.len() as u64;
        let kept = changes.began.iter().take(Self::MAX_EPISODES.saturating_sub(log.episodes.len()));
        log.episodes.extend(kept.map(|stall| StallEpisode { stall: stall.clone(), ended: None }));
        changes
    }
}

/// Restores the stacks that threads had when the stall began.
fn keep_stacks(before: &[StalledThread], now: &mut [StalledThread]) {
    for thread in now {
        let known = before.iter().find(|known| known.number == thread.number);
        thread.stack = known.and_then(|known| known.stack.clone());
    }
}

fn is_among(stall: &Stall, others: &[Stall]) -> bool {
    others.iter().any(|other| other.id() == stall.id())
}

/// What changed between two beats.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StallChanges {
    /// Stalls that the previous beat did not have.
    pub began: Vec<Stall>,
    /// Stalls that have ended since the previous beat: the query continues, or has ended.
    pub ended: Vec<Stall>,
    /// Stalls that are going on, whose class has been corrected.
    #[serde(default)]
    pub corrected: Vec<Stall>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::at;

    #[test]
    fn the_log_counts_each_stall_once_and_notes_its_end() {
        let stall = |query: usize| Stall { query_id: query.to_string(), since: at(0), ..Stall::default() };
        let mut log = StallLog::default();
        let mut open = OpenStalls::default();
        let mut changes = |second, stalls: &[Stall]| {
            let changes = open.record(&mut log, at(second), &mut stalls.to_vec(), |_| {});
            let ids = |stalls: Vec<Stall>| stalls.into_iter().map(|stall| stall.query_id).collect::<Vec<_>>();
            (ids(changes.began).join(" "), ids(changes.ended).join(" "))
        };
        let pair = |began: &str, ended: &str| (began.to_owned(), ended.to_owned());
        assert_eq!(changes(10, &[stall(0)]), pair("0", ""));
        assert_eq!(changes(11, &[stall(0), stall(1)]), pair("1", ""));
        assert_eq!(changes(12, &[stall(1)]), pair("", "0"));
        let ends: Vec<_> = log.episodes.iter().map(|episode| episode.ended).collect();
        assert_eq!((log.count, ends), (2, vec![Some(at(12)), None]));

        let mut many: Vec<_> = (0..150).map(stall).collect();
        open.record(&mut log, at(13), &mut many, |_| {});
        open.record(&mut log, at(14), &mut many, |_| {});
        assert_eq!((log.count, log.episodes.len()), (151, 100));
    }

    #[test]
    fn a_class_is_corrected_where_two_beats_in_a_row_see_another_one() {
        use StallClass::{BlockedRuntime, Source, Tasks};
        let mut log = StallLog::default();
        let mut open = OpenStalls::default();
        let mut beat = |second, seen: Option<StallClass>| {
            let stall = |class| Stall { class: Some(class), since: at(0), ..Stall::default() };
            let mut stalls: Vec<_> = seen.map(stall).into_iter().collect();
            let changes = open.record(&mut log, at(second), &mut stalls, |_| {});
            let classes = |stalls: Vec<Stall>| stalls.first().and_then(|stall| stall.class);
            let shown = (classes(stalls), classes(changes.corrected), classes(changes.ended));
            (shown.0, shown.1, shown.2, log.episodes[0].stall.class)
        };
        let known = Some(BlockedRuntime);
        assert_eq!(beat(10, known), (known, None, None, known));
        // A single beat is not enough, nor are two with different classes.
        assert_eq!(beat(11, Some(Tasks)), (known, None, None, known));
        assert_eq!(beat(12, known), (known, None, None, known));
        assert_eq!(beat(13, Some(Tasks)), (known, None, None, known));
        assert_eq!(beat(14, Some(Source)), (known, None, None, known));
        let better = Some(Source);
        assert_eq!(beat(15, better), (better, better, None, better));
        assert_eq!(beat(16, better), (better, None, None, better));
        assert_eq!(beat(17, None), (None, None, better, better));
        assert_eq!(log.count, 1);
    }
}
