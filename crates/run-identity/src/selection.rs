//! Choosing nodes of a DAG, with the grammar of dbt's `--select`.
//!
//! See <https://docs.getdbt.com/reference/node-selection/syntax> for the original grammar.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    str::FromStr,
};

use crate::{
    dag::{Dag, Node},
    selector_names::{Pattern, in_quotes, quoted, without_quotes, written},
};

/// Chooses nodes of a DAG by name, tag or kind, with their upstream and downstream nodes.
///
/// - `orders` is the node with that name; in a name, `*` matches any characters and `?` a single one;
/// - `tag:layer=gold` matches the nodes with that tag, `tag:layer` those with any value of it; `kind:data_saver` those of a kind;
/// - `+orders` adds everything that it depends on, `orders+` everything that depends on it; `2+orders` goes two steps; `@orders`
///   adds everything that depends on it, and all dependencies of these;
/// - terms separated by a space are a union; terms separated by a comma are an intersection;
/// - in `"..."` every character is literal, and `""` is a quote: `+"late orders"`.
///
/// ```
/// use daglight_run_identity::{Dag, NodeSelector};
///
/// let dag = Dag::builder("sales")?
///     .loader("orders")
///     .transform("risk", ["orders"]).tag("layer", "gold")
///     .saver("risk_parquet", ["risk"])
///     .build()?;
/// let selector: NodeSelector = "+tag:layer=gold".parse()?;
/// assert_eq!(selector.select(&dag)?.into_iter().collect::<Vec<_>>(), ["orders", "risk"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSelector {
    /// A union of intersections of terms.
    unions: Vec<Vec<Term>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    /// The text as written.
    text: String,
    method: Method,
    ancestors: Steps,
    descendants: Steps,
    /// Whether the dependencies of all descendants are also included.
    is_closed: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Method {
    Name(Pattern),
    Tag { key: String, value: Option<Pattern> },
    Kind(String),
}

/// A number of steps along the edges of the DAG; `usize::MAX` means to the end.
type Steps = usize;

/// Why a text is not a valid selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorError {
    /// No term at all, or no term next to a comma.
    #[error("expected a node, such as `orders`, `+orders`, `orders+` or `tag:layer=gold`")]
    Empty,
    /// An unclosed quote.
    #[error("a `\"` is not closed: a name is quoted as in `\"late orders\"`, and a quote in it is doubled")]
    Quote,
    /// A word before a colon that is not a method.
    #[error(
        "`{method}:` is not a way to choose nodes: write a name, `tag:key=value`, `tag:key` or `kind:name`"
    )]
    Method {
        /// The text before the colon.
        method: String,
    },
}

/// A term that matches no node of a DAG.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no node matches `{term}`")]
#[non_exhaustive]
pub struct NothingSelected {
    /// The term as written.
    pub term: String,
    /// What the term looks for, without operators, if that has no `*` and `?`: `orders`, `tag:layer=gold`, `kind:transform`.
    pub sought: Option<String>,
    /// Everything in this DAG that a term of its method could look for, in the same notation.
    pub candidates: BTreeSet<String>,
}

impl FromStr for NodeSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = in_quotes(text).ok_or(SelectorError::Quote)?;
        let unions: Vec<Vec<Term>> = text
            .split_whitespace()
            .map(|union| union.split(',').map(Term::from_str).collect())
            .collect::<Result<_, _>>()?;
        if unions.is_empty() { Err(SelectorError::Empty) } else { Ok(Self { unions }) }
    }
}

impl FromStr for Term {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (is_closed, rest) = match text.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (ancestors, rest) = match rest.split_once('+') {
            // Only digits may precede the `+`. Anything else makes it part of the name.
            Some((steps, rest)) if !is_closed && steps.bytes().all(|byte| byte.is_ascii_digit()) => {
                (steps_of(steps), rest)
            }
            _ => (0, rest),
        };
        let (descendants, rest) = match rest.rsplit_once('+') {
            Some((rest, steps)) if !is_closed && steps.bytes().all(|byte| byte.is_ascii_digit()) => {
                (steps_of(steps), rest)
            }
            // `@` follows all descendants of a node, and then all their ancestors.
            _ => (if is_closed { Steps::MAX } else { 0 }, rest),
        };
        Ok(Self { text: written(text), method: rest.parse()?, ancestors, descendants, is_closed })
    }
}

/// The number before or after a `+`; without one, all steps.
fn steps_of(digits: &str) -> Steps {
    digits.parse().unwrap_or(Steps::MAX)
}

impl FromStr for Method {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A name may contain two colons, like the name of a DAG.
        match text.split_once(':').filter(|(_, rest)| !rest.starts_with(':')) {
            Some(("tag", tag)) if !tag.is_empty() => Ok(match tag.split_once('=') {
                Some((key, value)) => {
                    Self::Tag { key: without_quotes(key), value: Some(Pattern::new(value)) }
                }
                None => Self::Tag { key: without_quotes(tag), value: None },
            }),
            Some(("kind", kind)) if !kind.is_empty() => Ok(Self::Kind(without_quotes(kind))),
            Some(("tag" | "kind", _)) => Err(SelectorError::Empty),
            Some((method, _)) => Err(SelectorError::Method { method: without_quotes(method) }),
            None if text.is_empty() => Err(SelectorError::Empty),
            None => Ok(Self::Name(Pattern::new(text))),
        }
    }
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let union =
            |terms: &Vec<Term>| terms.iter().map(|term| term.text.as_str()).collect::<Vec<_>>().join(",");
        f.write_str(&self.unions.iter().map(union).collect::<Vec<_>>().join(" "))
    }
}

impl NodeSelector {
    /// The union of this selector and another.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.unions.extend(other.unions);
        self
    }

    /// The names of the chosen nodes.
    ///
    /// # Errors
    /// When a term matches no node at all: it is probably misspelled.
    pub fn select(&self, dag: &Dag) -> Result<BTreeSet<String>, NothingSelected> {
        let graph = Graph::new(dag);
        let mut chosen = BTreeSet::new();
        for terms in &self.unions {
            let mut sets = terms.iter().map(|term| term.select(&graph));
            // A text without terms does not parse as a selector.
            let Some(first) = sets.next() else { continue };
            // Each term must match something by itself: a misspelled one would otherwise look like an empty intersection.
            let all = sets.try_fold(first?, |all, next| next.map(|next| &all & &next))?;
            chosen.extend(all);
        }
        Ok(chosen.into_iter().map(|index| dag.nodes()[index].name.clone()).collect())
    }
}

impl Term {
    fn select(&self, graph: &Graph<'_>) -> Result<BTreeSet<usize>, NothingSelected> {
        let nodes = graph.dag.nodes().iter().enumerate();
        let meant: BTreeSet<usize> =
            nodes.filter(|(_, node)| self.method.is_of(node)).map(|(index, _)| index).collect();
        if meant.is_empty() {
            let sought = self.method.sought();
            let candidates = graph.dag.nodes().iter().flat_map(|node| self.method.candidates(node)).collect();
            return Err(NothingSelected { term: self.text.clone(), sought, candidates });
        }
        let above = reached(&meant, &graph.dependencies, self.ancestors);
        // From the matched nodes, not from their ancestors: other descendants of the same sources were not asked for.
        let below = reached(&meant, &graph.readers, self.descendants);
        let chosen = &above | &below;
        Ok(if self.is_closed { reached(&chosen, &graph.dependencies, Steps::MAX) } else { chosen })
    }
}

impl Method {
    /// What the term looks for, if that is a single name, kind or tag.
    fn sought(&self) -> Option<String> {
        Some(match self {
            Self::Name(name) => quoted(&name.name()?),
            Self::Kind(kind) => format!("kind:{kind}"),
            Self::Tag { key, value: Some(value) } => {
                format!("tag:{}={}", quoted(key), quoted(&value.name()?))
            }
            Self::Tag { key, value: None } => format!("tag:{}", quoted(key)),
        })
    }

    /// The terms of this method that would match a node.
    fn candidates(&self, node: &Node) -> Vec<String> {
        match self {
            Self::Name(_) => vec![quoted(&node.name)],
            Self::Kind(_) => vec![format!("kind:{}", node.kind.name())],
            Self::Tag { value: Some(_), .. } => node
                .tags
                .iter()
                .map(|(key, value)| format!("tag:{}={}", quoted(key), quoted(value)))
                .collect(),
            Self::Tag { value: None, .. } => {
                node.tags.keys().map(|key| format!("tag:{}", quoted(key))).collect()
            }
        }
    }

    fn is_of(&self, node: &Node) -> bool {
        match self {
            Self::Name(pattern) => pattern.matches(&node.name),
            Self::Kind(kind) => node.kind.name() == kind,
            Self::Tag { key, value } => node
                .tags
                .get(key)
                .is_some_and(|found| value.as_ref().is_none_or(|pattern| pattern.matches(found))),
        }
    }
}

/// The edges of a DAG in both directions, by node index.
struct Graph<'a> {
    dag: &'a Dag,
    dependencies: Vec<Vec<usize>>,
    readers: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(dag: &'a Dag) -> Self {
        let positions: HashMap<&str, usize> =
            dag.nodes().iter().enumerate().map(|(index, node)| (node.name.as_str(), index)).collect();
        let mut readers = vec![Vec::new(); dag.nodes().len()];
        let dependencies: Vec<Vec<usize>> = dag
            .nodes()
            .iter()
            .map(|node| {
                node.dependencies.iter().filter_map(|name| positions.get(name.as_str()).copied()).collect()
            })
            .collect();
        for (reader, read) in dependencies.iter().enumerate() {
            read.iter().for_each(|index| readers[*index].push(reader));
        }
        Self { dag, dependencies, readers }
    }
}

/// The nodes of `start`, and those within `steps` steps of them.
fn reached(start: &BTreeSet<usize>, edges: &[Vec<usize>], steps: Steps) -> BTreeSet<usize> {
    let mut reached = start.clone();
    let mut frontier: Vec<usize> = start.iter().copied().collect();
    let mut left = steps;
    while left > 0 && !frontier.is_empty() {
        let next = frontier.iter().flat_map(|index| &edges[*index]).copied();
        // Only new nodes continue, so that each node is visited once, however many paths lead to it.
        frontier = next.filter(|index| reached.insert(*index)).collect();
        left -= 1;
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dag() -> Dag {
        Dag::builder("sales")
            .unwrap()
            .loader("orders")
            .tag("layer", "raw")
            .loader("customers")
            .tag("layer", "raw")
            .transform("joined", ["orders", "customers"])
            .tag("layer", "silver")
            .transform("risk", ["joined"])
            .tag("layer", "gold")
            .tag("owner", "ops")
            .transform("volume", ["orders"])
            .tag("layer", "gold")
            .saver("risk_parquet", ["risk"])
            .build()
            .unwrap()
    }

    #[track_caller]
    fn check(selector: &str, expected: &str) {
        let parsed: NodeSelector = selector.parse().unwrap();
        assert_eq!(parsed.to_string(), selector);
        let found = parsed.select(&dag()).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>().join(" "), expected, "{selector}");
    }

    #[test]
    fn nodes_are_chosen_by_name_tag_and_kind() {
        check("joined", "joined");
        check("risk*", "risk risk_parquet");
        check("?isk", "risk");
        check("tag:layer=gold", "risk volume");
        check("tag:owner", "risk");
        check("tag:layer=*er", "joined");
        check("kind:data_loader", "customers orders");
    }

    #[test]
    fn a_plus_goes_up_and_down() {
        check("+joined", "customers joined orders");
        check("joined+", "joined risk risk_parquet");
        check("joined+1", "joined risk");
        check("1+risk", "joined risk");
        check("1+risk+1", "joined risk risk_parquet");
        check("0+risk", "risk");
        check("+joined+", "customers joined orders risk risk_parquet");
        check("+tag:layer=gold", "customers joined orders risk volume");
        check("99999999999999999999+risk", "customers joined orders risk");
    }

    #[test]
    fn an_at_sign_takes_what_the_descendants_need() {
        check("@customers", "customers joined orders risk risk_parquet");
        check("@volume", "orders volume");
    }

    #[test]
    fn a_space_adds_and_a_comma_restricts() {
        check("orders volume", "orders volume");
        check("tag:layer=gold,tag:owner=ops", "risk");
        check("orders+,tag:layer=gold customers", "customers risk volume");
        check("volume,risk", "");
    }

    #[test]
    fn quoted_names_may_have_any_character() {
        let dag = Dag::builder("sales")
            .unwrap()
            .loader("late orders")
            .tag("team", "a, b")
            .transform("a,b", ["late orders"])
            .transform("2+x*", ["a,b"])
            .transform("2+xy", ["a,b"])
            .saver("kind:\"x\"", ["2+x*"])
            .build()
            .unwrap();
        let check = |selector: &str, expected: &[&str]| {
            let parsed: NodeSelector = selector.parse().unwrap();
            assert_eq!(parsed.to_string(), selector);
            assert_eq!(parsed.select(&dag).unwrap().into_iter().collect::<Vec<_>>(), expected, "{selector}");
        };
        check("\"late orders\"", &["late orders"]);
        check("\"late orders\"+1 \"2+x*\"", &["2+x*", "a,b", "late orders"]);
        check("1+\"a,b\"", &["a,b", "late orders"]);
        check("\"2+x\"*", &["2+x*", "2+xy"]);
        check("tag:team=\"a, b\"", &["late orders"]);
        check("\"kind:\"\"x\"\"\"", &["kind:\"x\""]);
        let nothing = "\"late order\"".parse::<NodeSelector>().unwrap().select(&dag).unwrap_err();
        assert_eq!(nothing.to_string(), "no node matches `\"late order\"`");
        assert_eq!(nothing.sought.as_deref(), Some("\"late order\""));
        assert!(nothing.candidates.contains("\"late orders\""), "{:?}", nothing.candidates);
        assert_eq!("a \"b".parse::<NodeSelector>(), Err(SelectorError::Quote));
        assert_eq!("\"\"".parse::<NodeSelector>(), Err(SelectorError::Empty));
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for wrong in ["", " ", "+", "a,,b", "tag:", "kind:", "@", "1+"] {
            assert_eq!(wrong.parse::<NodeSelector>(), Err(SelectorError::Empty), "{wrong}");
        }
        let error = "path:a/b".parse::<NodeSelector>().unwrap_err();
        assert!(error.to_string().starts_with("`path:` is not a way"), "{error}");
    }

    #[test]
    fn a_term_without_a_node_is_an_error() {
        let select = |text: &str| text.parse::<NodeSelector>().unwrap().select(&dag()).unwrap_err();
        let nothing = select("orders +riskk");
        assert_eq!((nothing.term.as_str(), nothing.sought.as_deref()), ("+riskk", Some("riskk")));
        assert_eq!(nothing.candidates.len(), 6);
        assert_eq!(select("tag:layer=platinum").to_string(), "no node matches `tag:layer=platinum`");
        assert_eq!(select("x*").sought, None);
        let written = |text: &str| {
            let nothing = select(text);
            (nothing.sought.unwrap(), nothing.candidates.into_iter().collect::<Vec<_>>().join(" "))
        };
        let values = "tag:layer=gold tag:layer=raw tag:layer=silver tag:owner=ops";
        assert_eq!(written("tag:layr=gold+"), ("tag:layr=gold".into(), values.into()));
        assert_eq!(written("tag:layr"), ("tag:layr".into(), "tag:layer tag:owner".into()));
        assert_eq!(
            written("kind:data_savr"),
            ("kind:data_savr".into(), "kind:data_loader kind:data_saver kind:transform".into())
        );
    }
}
