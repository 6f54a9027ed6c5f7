//! The name that was probably meant by a misspelled one.

/// How many edits most misspellings are away from the name that was meant. A name further away is a different one.
pub const MAX_EDITS: usize = 2;

/// The name among `known` that takes the fewest edits to reach from `name`, and at most `max_edits`: inserted, deleted or replaced
/// characters, and swapped neighbours. Of several that are equally near it is the first; a name that is itself known is its own nearest.
pub fn nearest_name<'k>(
    name: &str,
    known: impl IntoIterator<Item = &'k str>,
    max_edits: usize,
) -> Option<&'k str> {
    let edits = known.into_iter().map(|known| (strsim::osa_distance(name, known), known));
    edits.filter(|(edits, _)| *edits <= max_edits).min_by_key(|(edits, _)| *edits).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["nodes", "queries", "logs", "runs"];

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(nearest_name(name, KNOWN, MAX_EDITS), expected, "{name}");
    }

    #[test]
    fn a_misspelled_name_has_a_nearest_one() {
        check("node", Some("nodes"));
        check("querries", Some("queries"));
        check("quereis", Some("queries"));
        check("lags", Some("logs"));
        check("nodse", Some("nodes"));
    }

    #[test]
    fn a_name_further_away_has_none() {
        check("query", None);
        check("operators", None);
        check("", None);
        assert_eq!(nearest_name("nodes", [], MAX_EDITS), None);
    }

    #[test]
    fn swapped_neighbours_are_one_edit() {
        assert_eq!(nearest_name("nodse", KNOWN, 1), Some("nodes"));
        assert_eq!(nearest_name("nods", KNOWN, 1), Some("nodes"));
        assert_eq!(nearest_name("nod", KNOWN, 1), None);
    }

    #[test]
    fn fewer_edits_win_and_then_the_first() {
        assert_eq!(nearest_name("note", ["nodes", "notes"], MAX_EDITS), Some("notes"));
        assert_eq!(nearest_name("nobes", ["nodes", "notes"], MAX_EDITS), Some("nodes"));
        assert_eq!(nearest_name("nobes", ["notes", "nodes"], MAX_EDITS), Some("notes"));
    }

    #[test]
    fn a_known_name_is_its_own_nearest() {
        KNOWN.iter().for_each(|name| check(name, Some(name)));
    }
}
