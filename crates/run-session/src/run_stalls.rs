//! The stalls of a run: what its tag and its nodes say of them, and which of them something is done about.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use daglight_run_bundle::{Stall, StallId};

use crate::tag_names::free_name;

/// The tag of a run that has stalled.
const TAG: &str = "stalls";

/// Stalls whose names stand in the tag.
const MOST_IN_TAG: usize = 5;

/// Stalls that nodes say, of all of a run.
const MOST_OF_NODES: usize = 1_000;

/// Stalls that are known as dealt with, the last ones.
const MOST_TAKEN_ON: usize = 1_000;

/// The stalls of a run, as its tag and its nodes have them, and those that something is done about.
#[derive(Default)]
pub(crate) struct RunStalls(Mutex<Known>);

#[derive(Default)]
struct Known {
    count: usize,
    in_tag: Vec<(StallId, String)>,
    of_nodes: Vec<(StallId, String)>,
    taken_on: Vec<StallId>,
}

impl RunStalls {
    pub(crate) fn add(&self, stall: StallId, text: String) {
        let mut known = self.lock();
        known.count += 1;
        if stall.node().is_some() && known.of_nodes.len() < MOST_OF_NODES {
            known.of_nodes.push((stall.clone(), text.clone()));
        }
        // The count has all of them. One operator that stalls a hundred times is one line.
        if known.in_tag.len() < MOST_IN_TAG && !known.in_tag.iter().any(|(_, other)| *other == text) {
            known.in_tag.push((stall, text));
        }
    }

    /// Says of a stall what is known better now.
    pub(crate) fn correct(&self, stall: &StallId, text: String) {
        let mut known = self.lock();
        if let Some((_, known)) = known.of_nodes.iter_mut().find(|(of, _)| of == stall) {
            known.clone_from(&text);
        }
        let is_there = known.in_tag.iter().any(|(_, other)| *other == text);
        match known.in_tag.iter().position(|(of, _)| of == stall) {
            Some(position) if is_there => _ = known.in_tag.remove(position),
            Some(position) => known.in_tag[position].1 = text,
            // Its line stands for others, too, of which nothing better is known.
            None if !is_there && known.in_tag.len() < MOST_IN_TAG => known.in_tag.push((stall.clone(), text)),
            None => {}
        }
    }

    /// What is said of the stalls of a node, in their order.
    pub(crate) fn of_node(&self, node: &str) -> Vec<String> {
        let known = self.lock();
        let of_node = known.of_nodes.iter().filter(|(stall, _)| stall.node() == Some(node));
        of_node.map(|(_, text)| text.clone()).collect()
    }

    /// True for a stall that nobody has dealt with so far.
    pub(crate) fn take_on(&self, stall: &Stall) -> bool {
        let id = stall.id();
        let mut known = self.lock();
        if known.taken_on.contains(&id) {
            return false;
        }
        // A stall that lasts is among the last ones.
        if known.taken_on.len() == MOST_TAKEN_ON {
            known.taken_on.remove(0);
        }
        known.taken_on.push(id);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tag, under another name where the user has one of this. `None` for a run without a stall.
    pub(crate) fn tag(&self, tags: &BTreeMap<String, String>) -> Option<(String, String)> {
        let known = self.lock();
        let lines: Vec<_> = known.in_tag.iter().map(|(_, text)| text.as_str()).collect();
        let text = format!("{}: {}", known.count, lines.join("; "));
        (known.count > 0).then(|| (free_name(tags, TAG), text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_counts_all_stalls_and_names_the_first() {
        let tags = RunStalls::default();
        assert_eq!(tags.tag(&BTreeMap::new()), None);
        let id = |node: i32| Stall { node: Some(format!("n{node}")), ..Stall::default() }.id();
        (0..9).for_each(|node| tags.add(id(node), format!("node n{node}")));
        let (name, text) = tags.tag(&BTreeMap::new()).unwrap();
        assert_eq!(
            (name.as_str(), text.as_str()),
            ("stalls", "9: node n0; node n1; node n2; node n3; node n4")
        );
        // Better evidence replaces the earlier line of a stall, and the same line for another stall is listed only once.
        tags.correct(&id(1), "node n1, waits for a source".to_owned());
        tags.correct(&id(2), "node n0".to_owned());
        tags.correct(&id(8), "node n8, waits for a source".to_owned());
        assert_eq!(
            tags.tag(&BTreeMap::new()).unwrap().1,
            "9: node n0; node n1, waits for a source; node n3; node n4; node n8, waits for a source"
        );
        assert_eq!(tags.of_node("n1"), ["node n1, waits for a source"]);
        assert_eq!(tags.of_node("n9"), [""; 0]);
        let own = BTreeMap::from([("stalls".to_owned(), "mine".to_owned())]);
        assert_eq!(tags.tag(&own).unwrap().0, "daglight.stalls");
    }
}
