//! The walk over the relations of a plan, from the sources up.

use std::collections::HashMap;

use datafusion::{
    common::JoinType,
    logical_expr::{
        Aggregate, DdlStatement, Distinct, DistinctOn, Expr, Join, LogicalPlan, RecursiveQuery, TableScan,
        Unnest, utils::grouping_set_to_exprlist,
    },
};

use super::{
    model::{ColumnLineage, Derivation, Influence, Lineage, Origins, SourceColumn, Unresolved},
    scope::{Columns, Scope, merge},
};

/// Plan nodes that are followed. A plan in which common table expressions use each other grows with the power of their
/// number, because each use is a copy.
const MAX_NODES: usize = 10_000;

impl Lineage {
    /// The lineage of what `plan` returns, or of what it writes.
    pub fn of(plan: &LogicalPlan) -> Self {
        let data = data_of(plan);
        let mut walk = Walk::default();
        let columns = walk.relation(data, None);
        let names = data.schema().fields().iter().map(|field| field.name().clone());
        let columns = names.zip(columns).map(|(name, sources)| ColumnLineage { name, sources });
        Self { columns: columns.collect(), ..walk.lineage }
    }
}

/// The part of a plan that makes rows.
fn data_of(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Copy(copy) => data_of(&copy.input),
        LogicalPlan::Dml(dml) => data_of(&dml.input),
        LogicalPlan::Analyze(analyze) => data_of(&analyze.input),
        LogicalPlan::Explain(explain) => data_of(&explain.plan),
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(table)) => data_of(&table.input),
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => data_of(&view.input),
        other => other,
    }
}

/// What is collected on the way.
#[derive(Default)]
pub(super) struct Walk {
    /// Without the columns of the result.
    pub(super) lineage: Lineage,
    nodes: usize,
    /// The columns of the recursive queries that are open, as far as they are known, by name.
    recursive: HashMap<String, Columns>,
}

impl Walk {
    /// The origins of each column of a relation. `outer` is what a correlated subquery is in.
    #[recursive::recursive]
    pub(super) fn relation(&mut self, plan: &LogicalPlan, outer: Option<&Scope<'_>>) -> Columns {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.lineage.unresolved.insert(Unresolved::Size);
            // As many columns as the plan has, because those above it are found by their position.
            return nothing(plan);
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.table(scan),
            LogicalPlan::Projection(projection) => self.projected(&projection.input, &projection.expr, outer),
            LogicalPlan::Filter(filter) => {
                let columns = self.relation(&filter.input, outer);
                let scope = Scope { schema: filter.input.schema(), columns: &columns, outer };
                self.decides(&filter.predicate, Influence::Filter, &scope);
                columns
            }
            LogicalPlan::Sort(sort) => {
                let columns = self.relation(&sort.input, outer);
                let scope = Scope { schema: sort.input.schema(), columns: &columns, outer };
                self.sorts(&sort.expr, Influence::Sort, &scope);
                columns
            }
            LogicalPlan::Window(window) => {
                let mut columns = self.relation(&window.input, outer);
                let scope = Scope { schema: window.input.schema(), columns: &columns, outer };
                let added: Columns =
                    window.window_expr.iter().map(|function| self.expression(function, &scope)).collect();
                columns.extend(added);
                columns
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregated(aggregate, outer),
            LogicalPlan::Join(join) => self.joined(join, outer),
            LogicalPlan::Union(union) => {
                let mut inputs = union.inputs.iter().map(|input| self.relation(input, outer));
                let first = inputs.next().unwrap_or_default();
                inputs.fold(first, |columns, input| positional(columns, &input))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let columns = self.relation(input, outer);
                // Which rows are equal depends on each of the columns, as with a grouping by all of them.
                columns.iter().for_each(|column| self.influenced(column, Influence::GroupBy));
                columns
            }
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.distinct_on(distinct, outer),
            LogicalPlan::Unnest(unnest) => self.unnested(unnest, outer),
            LogicalPlan::RecursiveQuery(query) => self.recursive(query, outer),
            LogicalPlan::SubqueryAlias(alias) => self.relation(&alias.input, outer),
            LogicalPlan::Subquery(subquery) => self.relation(&subquery.subquery, outer),
            LogicalPlan::Limit(limit) => self.relation(&limit.input, outer),
            LogicalPlan::Repartition(repartition) => self.relation(&repartition.input, outer),
            LogicalPlan::Extension(extension) => {
                let name = extension.node.name().to_owned();
                self.lineage.unresolved.insert(Unresolved::Extension(name));
                let mut all = Origins::new();
                for input in extension.node.inputs() {
                    let columns = self.relation(input, outer);
                    columns.iter().for_each(|column| merge(&mut all, column, Derivation::Transformation));
                }
                // What the node does with its inputs is not known, so each column may come from any of theirs.
                vec![all; plan.schema().fields().len()]
            }
            // Constants, descriptions and counts.
            LogicalPlan::Values(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => nothing(plan),
        }
    }

    pub(super) fn influenced(&mut self, origins: &Origins, influence: Influence) {
        for source in origins.keys() {
            self.lineage.indirect.entry(source.clone()).or_default().insert(influence);
        }
    }

    /// The columns of a table, or of what a recursive query has made so far, which it reads as a table.
    fn table(&mut self, scan: &TableScan) -> Columns {
        let table = scan.table_name.to_string();
        let whole = scan.source.schema();
        let of_column = |name: &str| {
            let source = SourceColumn { table: table.clone(), column: name.to_owned() };
            Origins::from([(source, Derivation::Identity)])
        };
        let names = scan.projected_schema.fields().iter().map(|field| field.name());
        let columns: Columns = match self.recursive.get(&table) {
            // A scan may read only some of the columns that the recursive query has, so they are found by their names.
            Some(known) => names
                .map(|name| {
                    whole.index_of(name).ok().and_then(|index| known.get(index)).cloned().unwrap_or_default()
                })
                .collect(),
            None => names.map(|name| of_column(name)).collect(),
        };
        // Filters that the optimizer pushed into the scan are in no node above it any more.
        for column in scan.filters.iter().flat_map(Expr::column_refs) {
            self.influenced(&of_column(&column.name), Influence::Filter);
        }
        columns
    }

    fn projected(&mut self, input: &LogicalPlan, expressions: &[Expr], outer: Option<&Scope<'_>>) -> Columns {
        let columns = self.relation(input, outer);
        let scope = Scope { schema: input.schema(), columns: &columns, outer };
        expressions.iter().map(|expression| self.expression(expression, &scope)).collect()
    }

    fn aggregated(&mut self, aggregate: &Aggregate, outer: Option<&Scope<'_>>) -> Columns {
        let columns = self.relation(&aggregate.input, outer);
        let scope = Scope { schema: aggregate.input.schema(), columns: &columns, outer };
        // Grouping sets name a column once for each set that has it; in the output it is one column.
        let groups = grouping_set_to_exprlist(&aggregate.group_expr).unwrap_or_default();
        let mut output: Columns = groups.into_iter().map(|group| self.expression(group, &scope)).collect();
        output.iter().for_each(|group| self.influenced(group, Influence::GroupBy));
        let functions: Columns =
            aggregate.aggr_expr.iter().map(|function| self.expression(function, &scope)).collect();
        // Grouping sets have a separate column between the groups and the functions, which says which set it is.
        let width = aggregate.schema.fields().len();
        output.resize(width.saturating_sub(functions.len()), Origins::new());
        output.extend(functions);
        output
    }

    fn joined(&mut self, join: &Join, outer: Option<&Scope<'_>>) -> Columns {
        let left = self.relation(&join.left, outer);
        // The right side of a lateral join sees the left one.
        let beside = Scope { schema: join.left.schema(), columns: &left, outer };
        let right = self.relation(&join.right, Some(&beside));
        let left_scope = beside;
        let right_scope = Scope { schema: join.right.schema(), columns: &right, outer };
        for (on_left, on_right) in &join.on {
            self.decides(on_left, Influence::Join, &left_scope);
            self.decides(on_right, Influence::Join, &right_scope);
        }
        if let Some(filter) = &join.filter {
            // The filter of a join may use columns of both sides, so its scope has both.
            let both = join.left.schema().join(join.right.schema());
            let columns: Columns = left.iter().chain(&right).cloned().collect();
            if let Ok(schema) = both {
                self.decides(filter, Influence::Join, &Scope { schema: &schema, columns: &columns, outer });
            }
        }
        let mut output = match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                left.into_iter().chain(right).collect()
            }
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
        };
        // The mark, which says whether there is a match.
        output.resize(join.schema.fields().len(), Origins::new());
        output
    }

    fn distinct_on(&mut self, distinct: &DistinctOn, outer: Option<&Scope<'_>>) -> Columns {
        let columns = self.relation(&distinct.input, outer);
        let scope = Scope { schema: distinct.input.schema(), columns: &columns, outer };
        for on in &distinct.on_expr {
            self.decides(on, Influence::GroupBy, &scope);
        }
        self.sorts(distinct.sort_expr.as_deref().unwrap_or_default(), Influence::Sort, &scope);
        distinct.select_expr.iter().map(|expression| self.expression(expression, &scope)).collect()
    }

    /// A column of lists becomes its elements, one of structs its fields.
    fn unnested(&mut self, unnest: &Unnest, outer: Option<&Scope<'_>>) -> Columns {
        let columns = self.relation(&unnest.input, outer);
        let lists = unnest.list_type_columns.iter().map(|(index, _)| index);
        let changed: Vec<usize> = lists.chain(&unnest.struct_type_columns).copied().collect();
        let output = unnest.dependency_indices.iter().map(|index| {
            let mut origins = Origins::new();
            let least = match changed.contains(index) {
                true => Derivation::Transformation,
                false => Derivation::Identity,
            };
            if let Some(column) = columns.get(*index) {
                merge(&mut origins, column, least);
            }
            origins
        });
        output.collect()
    }

    /// What the recursive term makes goes into it again, until nothing new comes of it.
    fn recursive(&mut self, query: &RecursiveQuery, outer: Option<&Scope<'_>>) -> Columns {
        let mut known = self.relation(&query.static_term, outer);
        let shadowed = self.recursive.get(&query.name).cloned();
        loop {
            // This ends: what is known of a column only grows, and the columns of the plan are finitely many.
            self.recursive.insert(query.name.clone(), known.clone());
            let made = self.relation(&query.recursive_term, outer);
            let next = positional(known.clone(), &made);
            if next == known {
                break;
            }
            known = next;
        }
        match shadowed {
            // One of the same name around this one is open still, and its columns are what its name means again.
            Some(columns) => self.recursive.insert(query.name.clone(), columns),
            None => self.recursive.remove(&query.name),
        };
        if query.is_distinct {
            // As with `Distinct`.
            known.iter().for_each(|column| self.influenced(column, Influence::GroupBy));
        }
        known
    }
}

/// The columns of two relations that stand one below the other.
fn positional(mut columns: Columns, more: &[Origins]) -> Columns {
    for (column, more) in columns.iter_mut().zip(more) {
        merge(column, more, Derivation::Identity);
    }
    columns
}

fn nothing(plan: &LogicalPlan) -> Columns {
    vec![Origins::new(); plan.schema().fields().len()]
}
