//! The DAG of a run: declared before it starts, or seen while it runs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use daglight_run_identity::{Code, Dag, DagName, Node, NodeKind};
use datafusion::arrow::array::Array;

/// How many nodes of a run are seen, the first ones: nobody could look through a page with more.
pub(crate) const MAX_SEEN: usize = 1_000;

/// Different queries of a node that go into its version. Those with the smallest hashes, so that it does not depend on which
/// came first.
const MAX_QUERIES: usize = 100;

/// Something that a query reads or makes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Thing {
    /// A table, by its name without the default catalog and schema.
    Table(String),
    /// Files, by their path or URL.
    Place(String),
    /// A table in memory of that name, which begins with the column of that address.
    Column(String, usize),
}

/// A query, as far as it makes a node.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) reads: Vec<Thing>,
    pub(crate) makes: Vec<Thing>,
    /// Takes data out.
    pub(crate) is_saver: bool,
    pub(crate) output_type: String,
    /// What is asked, without literals and places.
    pub(crate) logical_hash: String,
    /// The same as a text that may be shown.
    pub(crate) text: Option<String>,
}

/// The DAG of a run.
pub(crate) struct RunDag {
    name: DagName,
    /// `None` where more was seen since it was made.
    snapshot: Mutex<Option<Arc<Dag>>>,
    /// `None` where the DAG was declared.
    seen: Option<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    nodes: Vec<Node>,
    positions: HashMap<String, usize>,
    makers: HashMap<Thing, BTreeSet<String>>,
    /// What the queries of each node ask.
    queries: HashMap<String, BTreeSet<String>>,
    /// The results that a table in memory may be made of, with the nodes that they are of.
    results: HashMap<usize, (Weak<dyn Array>, String)>,
}

impl RunDag {
    pub(crate) fn declared(dag: Dag) -> Self {
        Self { name: dag.name().clone(), snapshot: Mutex::new(Some(Arc::new(dag))), seen: None }
    }

    /// Without nodes so far.
    pub(crate) fn observed(name: DagName) -> Self {
        Self { name, snapshot: Mutex::default(), seen: Some(Mutex::default()) }
    }

    pub(crate) fn name(&self) -> &DagName {
        &self.name
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.seen.is_some()
    }

    /// As it is known now.
    pub(crate) fn get(&self) -> Arc<Dag> {
        // Held until it is kept, so that what is seen meanwhile is not taken for a part of it.
        let mut snapshot = lock(&self.snapshot);
        let made = || {
            let nodes = self.seen.as_ref().map(|seen| lock(seen).nodes.clone()).unwrap_or_default();
            Arc::new(Dag::of_seen(self.name.clone(), nodes))
        };
        Arc::clone(snapshot.get_or_insert_with(made))
    }

    /// The node of that name.
    pub(crate) fn node(&self, name: &str) -> Option<Node> {
        match &self.seen {
            Some(seen) => lock(seen).node(name).cloned(),
            None => self.get().node(name).cloned(),
        }
    }

    /// Adds a node whose code is run under this name, and returns it where it is new. `None` too where the DAG was declared, or
    /// has as many as it may have.
    pub(crate) fn see_node(&self, name: &str) -> Option<Node> {
        let mut seen = lock(self.seen.as_ref()?);
        if seen.positions.contains_key(name) || !seen.add(name) {
            return None;
        }
        let node = seen.node(name).cloned();
        drop(seen);
        *lock(&self.snapshot) = None;
        node
    }

    /// Adds what a query shows of the node that it belongs to, which becomes one with it. False where there is no room for it.
    /// `changed` is given the node where something was not known before.
    pub(crate) fn see(&self, name: &str, sight: &Sight, changed: impl FnOnce(&Node)) -> bool {
        let Some(seen) = &self.seen else { return false };
        let mut seen = lock(seen);
        let is_new = !seen.positions.contains_key(name);
        if is_new && !seen.add(name) {
            return false;
        }
        let has_grown = seen.take(name, sight);
        let node = seen.node(name).cloned().filter(|_| is_new || has_grown);
        drop(seen);
        if let Some(node) = node {
            *lock(&self.snapshot) = None;
            changed(&node);
        }
        true
    }

    /// Remembers that a node makes something.
    pub(crate) fn made(&self, name: &str, thing: Thing) {
        if let Some(seen) = &self.seen {
            lock(seen).makers.entry(thing).or_default().insert(name.to_owned());
        }
    }

    /// Remembers by its first column what a node has returned, which `reads` these things. What it has only passed on is not its
    /// own.
    pub(crate) fn returned(&self, name: &str, column: Option<&Weak<dyn Array>>, reads: &[Thing]) {
        let (Some(seen), Some(column)) = (&self.seen, column) else { return };
        let address = column.as_ptr().addr();
        let mut seen = lock(seen);
        let is_passed_on =
            reads.iter().any(|thing| matches!(thing, Thing::Column(_, read) if *read == address));
        if is_passed_on || seen.owner_of(address).is_some() {
            return;
        }
        if seen.results.len() >= MAX_SEEN {
            seen.results.retain(|_, (column, _)| column.strong_count() > 0);
        }
        if seen.results.len() < MAX_SEEN {
            seen.results.insert(address, (Weak::clone(column), name.to_owned()));
        }
    }
}

impl Seen {
    fn node(&self, name: &str) -> Option<&Node> {
        self.positions.get(name).map(|position| &self.nodes[*position])
    }

    /// False where there is no room for it.
    fn add(&mut self, name: &str) -> bool {
        if self.nodes.len() == MAX_SEEN {
            return false;
        }
        self.positions.insert(name.to_owned(), self.nodes.len());
        self.nodes.push(Node {
            name: name.to_owned(),
            kind: NodeKind::DataLoader,
            output_type: "table".to_owned(),
            dependencies: Vec::new(),
            tags: BTreeMap::new(),
            documentation: None,
            code: None,
        });
        true
    }

    /// True where something of it was not known before.
    fn take(&mut self, name: &str, sight: &Sight) -> bool {
        let dependencies = self.dependencies(name, &sight.reads);
        for thing in &sight.makes {
            self.makers.entry(thing.clone()).or_default().insert(name.to_owned());
        }
        let queries = self.queries.entry(name.to_owned()).or_default();
        queries.insert(sight.logical_hash.clone());
        if queries.len() > MAX_QUERIES {
            queries.pop_last();
        }
        let normalized = queries.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let Some(position) = self.positions.get(name) else { return false };
        let node = &mut self.nodes[*position];
        let before = node.clone();
        node.dependencies.extend(dependencies);
        node.dependencies.sort();
        node.kind = match (sight.is_saver || node.kind == NodeKind::DataSaver, node.dependencies.is_empty()) {
            (true, _) => NodeKind::DataSaver,
            (false, true) => NodeKind::DataLoader,
            (false, false) => NodeKind::Transform,
        };
        if sight.is_saver {
            node.output_type.clone_from(&sight.output_type);
        }
        let text = match node.code.take() {
            Some(code) => code.text,
            None => sight.text.clone().unwrap_or_default(),
        };
        let last_line = text.lines().count().max(1);
        node.code = Some(Code { path: CODE.to_owned(), first_line: 1, last_line, text, normalized });
        *node != before
    }

    /// The nodes that have made what is read, besides those that are known.
    fn dependencies(&self, name: &str, reads: &[Thing]) -> BTreeSet<String> {
        let makers = reads.iter().flat_map(|thing| self.makers_of(thing)).collect::<BTreeSet<_>>();
        let known = self.node(name).map(|node| node.dependencies.as_slice()).unwrap_or_default();
        let is_new = |maker: &String| !known.contains(maker) && !self.depends_on(maker, name);
        makers.into_iter().filter(is_new).collect()
    }

    fn makers_of(&self, thing: &Thing) -> Vec<String> {
        match thing {
            Thing::Place(read) => {
                let places = self.makers.iter().filter(|(made, _)| match made {
                    Thing::Place(made) => is_within(made, read) || is_within(read, made),
                    _ => false,
                });
                places.flat_map(|(_, makers)| makers.iter().cloned()).collect()
            }
            // Who is known by the name of the table has made it, whatever its rows have passed through.
            Thing::Column(table, _) if self.makers.contains_key(&Thing::Table(table.clone())) => Vec::new(),
            Thing::Column(_, address) => self.owner_of(*address).into_iter().cloned().collect(),
            Thing::Table(_) => self.makers.get(thing).into_iter().flatten().cloned().collect(),
        }
    }

    /// The node whose result begins with a column.
    fn owner_of(&self, address: usize) -> Option<&String> {
        // While the weak reference is there, nothing else gets the address.
        let (column, node) = self.results.get(&address)?;
        (column.strong_count() > 0).then_some(node)
    }

    /// Whether a node is the other one, or depends on it, directly or not: the other way round would be a circle.
    fn depends_on(&self, name: &str, other: &str) -> bool {
        let (mut open, mut reached) = (vec![name], BTreeSet::from([name]));
        while let Some(name) = open.pop() {
            if name == other {
                return true;
            }
            let read = self.node(name).map(|node| node.dependencies.as_slice()).unwrap_or_default();
            open.extend(read.iter().map(String::as_str).filter(|read| reached.insert(read)));
        }
        false
    }
}

/// Where the code of a node is said to stand that is a plan.
const CODE: &str = "plan";

/// Whether a path is the other one, or below it.
fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed() -> RunDag {
        RunDag::observed("test::seen_v1".parse().unwrap())
    }

    fn table(name: &str) -> Thing {
        Thing::Table(name.to_owned())
    }

    fn place(path: &str) -> Thing {
        Thing::Place(path.to_owned())
    }

    fn see(dag: &RunDag, name: &str, reads: &[Thing], makes: &[Thing]) -> Option<Node> {
        let mut seen = None;
        let sight = Sight {
            reads: reads.to_vec(),
            makes: makes.to_vec(),
            is_saver: matches!(makes, [Thing::Place(_)]),
            output_type: "parquet".to_owned(),
            logical_hash: format!("{name} of {reads:?}"),
            text: None,
        };
        assert!(dag.see(name, &sight, |node| seen = Some(node.clone())));
        seen
    }

    fn edges(dag: &RunDag) -> Vec<String> {
        let dag = dag.get();
        dag.nodes().iter().map(|node| format!("{}<{}", node.name, node.dependencies.join("+"))).collect()
    }

    #[test]
    fn nodes_depend_on_those_that_have_made_what_they_read() {
        let dag = observed();
        see(&dag, "orders", &[table("csv")], &[table("orders")]);
        see(&dag, "early", &[table("late")], &[]);
        see(&dag, "late", &[table("orders")], &[table("late")]);
        see(&dag, "file", &[table("late"), table("orders")], &[place("/x/late.parquet")]);
        see(&dag, "again", &[place("/x")], &[]);
        see(&dag, "beside", &[place("/x/late.parquet.csv"), place("/x/l")], &[]);
        assert_eq!(
            edges(&dag),
            ["orders<", "early<", "late<orders", "file<late+orders", "again<file", "beside<"]
        );
        let kinds: Vec<_> = dag.get().nodes().iter().map(|node| node.kind.name()).collect();
        assert_eq!(
            kinds,
            ["data_loader", "data_loader", "transform", "data_saver", "transform", "data_loader"]
        );
    }

    #[test]
    fn what_was_known_is_no_change_and_no_circle_is_closed() {
        let dag = observed();
        assert!(see(&dag, "a", &[], &[table("a")]).is_some());
        assert!(see(&dag, "a", &[], &[table("a")]).is_none());
        see(&dag, "b", &[table("a")], &[table("b")]);
        see(&dag, "a", &[table("b"), table("a")], &[table("a")]);
        assert_eq!(edges(&dag), ["a<", "b<a"]);
    }

    #[test]
    fn the_version_does_not_depend_on_the_order_of_what_runs_at_once() {
        let in_order = |order: [usize; 3]| {
            let dag = observed();
            see(&dag, "made", &[], &[table("made")]);
            for part in order {
                match part {
                    0 => see(&dag, "one", &[table("made")], &[]),
                    1 => see(&dag, "two", &[table("made"), table("csv")], &[table("two")]),
                    _ => see(&dag, "made", &[table("csv")], &[table("made")]),
                };
            }
            let dag = dag.get();
            (dag.dag_hash().to_owned(), dag.code_hash().to_owned())
        };
        let expected = in_order([0, 1, 2]);
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            assert_eq!(in_order(order), expected);
        }
    }

    #[test]
    fn the_queries_of_a_node_are_bounded_and_which_of_them_count_does_not_depend_on_their_order() {
        let of = |numbers: &mut dyn Iterator<Item = usize>| {
            let dag = observed();
            for number in numbers {
                see(&dag, "orders", &[table(&number.to_string())], &[]);
            }
            dag.get().code_hash().to_owned()
        };
        assert_eq!(of(&mut (0..300)), of(&mut (0..300).rev()));
    }

    #[test]
    fn there_is_room_for_a_thousand_nodes() {
        let dag = observed();
        for number in 0..MAX_SEEN {
            see(&dag, &number.to_string(), &[], &[]);
        }
        let sight = Sight {
            reads: Vec::new(),
            makes: Vec::new(),
            is_saver: false,
            output_type: String::new(),
            logical_hash: String::new(),
            text: None,
        };
        assert!(!dag.see("more", &sight, |_| panic!("there is no room")));
        assert!(dag.see("7", &sight, |_| {}) && dag.see_node("more").is_none());
        assert_eq!(dag.get().nodes().len(), MAX_SEEN);
    }

    #[test]
    fn a_declared_dag_takes_nothing_in() {
        let dag = RunDag::declared(Dag::builder("test::d_v1").unwrap().loader("a").build().unwrap());
        assert!(dag.see_node("b").is_none() && dag.node("a").is_some() && !dag.is_observed());
    }
}
