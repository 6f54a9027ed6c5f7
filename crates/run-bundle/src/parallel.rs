//! Processing many items in parallel.

use std::{num::NonZero, thread};

/// The maximum number of threads: with more, the disk is the bottleneck.
const MAX_THREADS: usize = 8;
/// For fewer items than this, starting a thread would take longer than it saves.
const MIN_FOR_A_THREAD: usize = 16;

/// Calls `work` for each of the items and returns the results in the same order.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let threads = cores.min(items.len() / MIN_FOR_A_THREAD).max(1);
    let (own, others) = items.split_at(items.len().div_ceil(threads));
    let work = &work;
    thread::scope(|scope| {
        let started: Vec<_> = others
            .chunks(own.len().max(1))
            .map(|chunk| {
                let of_chunk = move || chunk.iter().map(work).collect::<Vec<R>>();
                // If no thread can be started, this one does all the work.
                (chunk, thread::Builder::new().spawn_scoped(scope, of_chunk))
            })
            .collect();
        let mut results: Vec<R> = own.iter().map(work).collect();
        for (chunk, thread) in started {
            match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(of_chunk)) => results.extend(of_chunk),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(_) => results.extend(chunk.iter().map(work)),
            }
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        for count in [0, 1, 15, 16, 31, 33, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            let doubled: Vec<usize> = items.iter().map(|item| item * 2).collect();
            assert_eq!(in_parallel(&items, |item| item * 2), doubled, "{count}");
        }
    }
}
