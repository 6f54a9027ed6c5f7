//! The process at each beat, in bounded memory.

/// The maximum number of samples kept: as many as fit into a chart.
const MAX_SAMPLES: usize = 600;

/// Samples in the order of time; if there are many, only every second, fourth, eighth... is kept.
#[derive(Debug)]
pub(crate) struct Samples<T> {
    kept: Vec<T>,
    seen: u64,
    every: u64,
    last: Option<T>,
}

impl<T> Default for Samples<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), seen: 0, every: 1, last: None }
    }
}

impl<T> Samples<T> {
    pub(crate) fn add(&mut self, sample: T) {
        if self.seen.is_multiple_of(self.every) {
            self.kept.push(sample);
            self.last = None;
            if self.kept.len() > MAX_SAMPLES {
                let mut position = 0;
                self.kept.retain(|_| {
                    position += 1;
                    position % 2 == 1
                });
                // Every second one is removed, and from now on half as many are taken: the kept ones stay evenly spaced, however
                // long a run lasts.
                self.every *= 2;
            }
        } else {
            self.last = Some(sample);
        }
        self.seen += 1;
    }

    /// The samples that were kept, and the last one.
    pub(crate) fn into_kept(self) -> Vec<T> {
        // The last one is always shown, because it is the state in which the run ended.
        self.kept.into_iter().chain(self.last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_samples_some_are_kept_as_far_apart_as_each_other_with_the_first_and_the_last() {
        let kept = |count: u64| {
            let mut samples = Samples::default();
            (0..count).for_each(|number| samples.add(number));
            samples.into_kept()
        };
        assert!(kept(0).is_empty());
        assert_eq!(kept(600), (0..600).collect::<Vec<_>>());
        let many = kept(100_000);
        assert!((300..=602).contains(&many.len()), "{}", many.len());
        assert_eq!((many[0], many[many.len() - 1]), (0, 99_999));
        let apart = many[1] - many[0];
        assert!(many[..many.len() - 1].windows(2).all(|pair| pair[1] - pair[0] == apart), "{many:?}");
    }
}
