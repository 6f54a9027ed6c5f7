//! The stalls that last, and which of them began or ended with a beat.

use chrono::{DateTime, Utc};
use daglight_run_bundle::{Stall, StallEpisode, StallLog};
use serde::{Deserialize, Serialize};

/// The stalls that last, of which a [`StallLog`] is kept in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct OpenStalls(Vec<Stall>);

impl OpenStalls {
    const MAX_EPISODES: usize = 100;

    /// Takes in the stalls that last at this moment, and returns those that began or ended with it: what lasts is not
    /// reported again.
    pub(crate) fn record(
        &mut self,
        log: &mut StallLog,
        now: DateTime<Utc>,
        stalls: &[Stall],
    ) -> StallChanges {
        let (began, ended) = (
            stalls.iter().filter(|stall| !is_among(stall, &self.0)).cloned().collect::<Vec<_>>(),
            self.0.iter().filter(|stall| !is_among(stall, stalls)).cloned().collect::<Vec<_>>(),
        );
        for episode in log.episodes.iter_mut().filter(|episode| episode.ended.is_none()) {
            if is_among(&episode.stall, &ended) {
                episode.ended = Some(now);
            }
        }
        // All of them count, also those that are not kept.
        log.count += began.len() as u64;
        let kept = began.iter().take(Self::MAX_EPISODES.saturating_sub(log.episodes.len()));
        log.episodes.extend(kept.map(|stall| StallEpisode { stall: stall.clone(), ended: None }));
        self.0 = stalls.to_vec();
        StallChanges { began, ended }
    }
}

fn is_among(stall: &Stall, others: &[Stall]) -> bool {
    others.iter().any(|other| other.id() == stall.id())
}

/// What changed between two beats.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StallChanges {
    /// Stalls that the beat before did not have.
    pub began: Vec<Stall>,
    /// Stalls that the beat before had: the query goes on, or has ended.
    pub ended: Vec<Stall>,
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
            let changes = open.record(&mut log, at(second), stalls);
            let ids = |stalls: Vec<Stall>| stalls.into_iter().map(|stall| stall.query_id).collect::<Vec<_>>();
            (ids(changes.began).join(" "), ids(changes.ended).join(" "))
        };
        let pair = |began: &str, ended: &str| (began.to_owned(), ended.to_owned());
        assert_eq!(changes(10, &[stall(0)]), pair("0", ""));
        assert_eq!(changes(11, &[stall(0), stall(1)]), pair("1", ""));
        assert_eq!(changes(12, &[stall(1)]), pair("", "0"));
        let ends: Vec<_> = log.episodes.iter().map(|episode| episode.ended).collect();
        assert_eq!((log.count, ends), (2, vec![Some(at(12)), None]));

        let many: Vec<_> = (0..150).map(stall).collect();
        open.record(&mut log, at(13), &many);
        open.record(&mut log, at(14), &many);
        assert_eq!((log.count, log.episodes.len()), (151, 100));
    }
}
