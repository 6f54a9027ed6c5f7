//! The lineage of each kind of plan node.

use std::{fmt, sync::Arc};

use daglight_plan_diagnostics::{Lineage, Unresolved};
use datafusion::{
    common::DFSchemaRef,
    error::Result,
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
    prelude::SessionContext,
};

async fn plan(sql: &str) -> LogicalPlan {
    let ctx = SessionContext::new();
    for setup in [
        "CREATE TABLE a (id BIGINT, x BIGINT, t VARCHAR)",
        "CREATE TABLE b (id BIGINT, y BIGINT, items BIGINT[], pair STRUCT<l BIGINT, r BIGINT>)",
        "CREATE VIEW v AS SELECT id AS key, x + 1 AS next FROM a WHERE t <> 'no'",
    ] {
        ctx.sql(setup).await.unwrap();
    }
    ctx.state().create_logical_plan(sql).await.unwrap()
}

/// `name=table.column` for each source of each column, and `influence(table.column)` for what decides about rows.
fn shown(lineage: &Lineage) -> String {
    let columns = lineage.columns.iter().map(|column| {
        let sources: Vec<String> =
            column.sources.iter().map(|(source, by)| format!("{}({source})", by.name())).collect();
        format!("{}={}", column.name, sources.join("+"))
    });
    let indirect = lineage.indirect.iter().map(|(source, influences)| {
        let influences: Vec<&str> = influences.iter().map(|by| by.name()).collect();
        format!("{}({source})", influences.join("+"))
    });
    let unresolved = lineage.unresolved.iter().map(ToString::to_string);
    columns.chain(indirect).chain(unresolved).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(plan: &LogicalPlan, expected: &str) {
    assert_eq!(shown(&Lineage::of(plan)), expected, "{}", plan.display_indent());
}

#[tokio::test]
async fn values_are_the_same_computed_or_of_many_rows() {
    check(
        &plan("SELECT id, x + 1 AS next, CAST(t AS BIGINT) AS n, 7 AS seven FROM a").await,
        "id=identity(a.id), next=transformation(a.x), n=transformation(a.t), seven=",
    );
    check(
        &plan("SELECT sum(x) FILTER (WHERE id > 1) AS s, count(*) AS n FROM a HAVING max(t) > 'b'").await,
        "s=aggregation(a.x), n=, filter(a.id), filter(a.t)",
    );
    check(&plan("SELECT array_agg(x ORDER BY t) AS xs FROM a").await, "xs=aggregation(a.x), sort(a.t)");
}

#[tokio::test]
async fn a_branch_is_a_source_and_its_condition_chooses() {
    check(
        &plan("SELECT CASE WHEN t = 'k' THEN x ELSE id END AS c FROM a").await,
        "c=transformation(a.id)+conditional(a.t)+transformation(a.x)",
    );
    check(
        &plan("SELECT id, CASE WHEN x > 10 THEN 'big' ELSE 'small' END AS class FROM a").await,
        "id=identity(a.id), class=conditional(a.x)",
    );
    check(&plan("SELECT CASE x WHEN 1 THEN x END AS c FROM a").await, "c=transformation(a.x)");
}

#[tokio::test]
async fn what_chooses_goes_on_choosing_whatever_is_computed_from_the_value() {
    check(
        &plan("SELECT sum(CASE WHEN t = 'k' THEN x ELSE 0 END) + 1 AS s FROM a").await,
        "s=conditional(a.t)+aggregation(a.x)",
    );
    check(
        &plan("SELECT upper(class) AS u FROM (SELECT CASE WHEN x > 1 THEN t END AS class FROM a)").await,
        "u=transformation(a.t)+conditional(a.x)",
    );
    // It decides about rows like any other column where rows depend on the value.
    check(
        &plan("SELECT id FROM a WHERE CASE WHEN x > 1 THEN t END = 'k'").await,
        "id=identity(a.id), filter(a.t), filter(a.x)",
    );
    check(
        &plan("SELECT CASE WHEN x > 1 THEN 'big' END AS class, count(*) AS n FROM a GROUP BY 1").await,
        "class=conditional(a.x), n=, group_by(a.x)",
    );
}

#[tokio::test]
async fn functions_that_choose_have_values_and_conditions() {
    check(
        &plan("SELECT coalesce(x, id) AS c, greatest(x, id) AS g FROM a").await,
        "c=transformation(a.id)+transformation(a.x), g=transformation(a.id)+transformation(a.x)",
    );
    check(&plan("SELECT nullif(x, id) AS c FROM a").await, "c=conditional(a.id)+transformation(a.x)");
    check(
        &plan("SELECT nvl2(t, x, id) AS c FROM a").await,
        "c=transformation(a.id)+conditional(a.t)+transformation(a.x)",
    );
}

#[tokio::test]
async fn windows_show_what_they_are_computed_from_and_what_orders_them() {
    check(
        &plan("SELECT sum(x) OVER (PARTITION BY t ORDER BY id) AS s, row_number() OVER (ORDER BY x) AS n FROM a")
            .await,
        "s=aggregation(a.x), n=, window(a.id), window(a.t), window(a.x)",
    );
    check(
        &plan("SELECT lag(x) OVER (ORDER BY id) AS before FROM a").await,
        "before=transformation(a.x), window(a.id)",
    );
}

#[tokio::test]
async fn joins_keep_both_sides_apart() {
    check(
        &plan("SELECT a.id, b.id AS other, y FROM a LEFT JOIN b ON a.id = b.id AND y > x").await,
        "id=identity(a.id), other=identity(b.id), y=identity(b.y), \
         join(a.id), join(a.x), join(b.id), join(b.y)",
    );
    check(
        &plan("SELECT t FROM a LEFT SEMI JOIN b ON a.id = b.id").await,
        "t=identity(a.t), join(a.id), join(b.id)",
    );
    check(
        &plan("SELECT y FROM a RIGHT ANTI JOIN b ON a.id = b.id").await,
        "y=identity(b.y), join(a.id), join(b.id)",
    );
}

#[tokio::test]
async fn unions_have_the_sources_of_all_inputs() {
    check(
        &plan("SELECT id AS k, x FROM a UNION ALL SELECT y, 0 FROM b").await,
        "k=identity(a.id)+identity(b.y), x=identity(a.x)",
    );
    check(
        &plan("SELECT id FROM a UNION SELECT id FROM b").await,
        "id=identity(a.id)+identity(b.id), group_by(a.id), group_by(b.id)",
    );
    check(
        &plan("SELECT id FROM a INTERSECT SELECT id FROM b").await,
        "id=identity(a.id), join+group_by(a.id), join(b.id)",
    );
}

#[tokio::test]
async fn distinct_on_groups_and_sorts() {
    check(
        &plan("SELECT DISTINCT ON (t) t, x FROM a ORDER BY t, id").await,
        "t=identity(a.t), x=identity(a.x), sort(a.id), group_by+sort(a.t)",
    );
}

#[tokio::test]
async fn grouping_sets_have_a_column_of_their_own() {
    check(
        &plan("SELECT t, id, sum(x) AS s FROM a GROUP BY ROLLUP (t, id)").await,
        "t=identity(a.t), id=identity(a.id), s=aggregation(a.x), group_by(a.id), group_by(a.t)",
    );
}

#[tokio::test]
async fn views_and_common_table_expressions_are_looked_through() {
    check(
        &plan("SELECT key, next FROM v").await,
        "key=identity(a.id), next=transformation(a.x), filter(a.t)",
    );
    check(
        &plan("WITH c (k) AS (SELECT id FROM a), d AS (SELECT k * 2 AS k FROM c) SELECT c.k, d.k AS k2 FROM c, d")
            .await,
        "k=identity(a.id), k2=transformation(a.id)",
    );
}

#[tokio::test]
async fn subqueries_find_the_columns_around_them() {
    check(
        &plan("SELECT id, (SELECT max(y) FROM b WHERE b.id = a.id) AS top FROM a").await,
        "id=identity(a.id), top=aggregation(b.y), filter(a.id), filter(b.id)",
    );
    check(
        &plan("SELECT x FROM a WHERE t IN (SELECT CAST(y AS VARCHAR) FROM b WHERE y > x)").await,
        "x=identity(a.x), filter(a.t), filter(a.x), filter(b.y)",
    );
    check(
        &plan("SELECT x, z FROM a, LATERAL (SELECT y + a.x AS z FROM b WHERE b.id = a.id) AS l").await,
        "x=identity(a.x), z=transformation(a.x)+transformation(b.y), filter(a.id), filter(b.id)",
    );
}

#[tokio::test]
async fn a_recursive_query_is_followed_until_nothing_new_comes_of_it() {
    check(
        &plan(
            "WITH RECURSIVE r (n, m) AS (SELECT id, 0 FROM a UNION ALL SELECT m + 1, n FROM r WHERE m < 3) \
             SELECT n, m FROM r",
        )
        .await,
        "n=transformation(a.id), m=transformation(a.id), filter(a.id)",
    );
    // The rows of a `UNION` without `ALL` are compared by all of their columns.
    check(
        &plan("WITH RECURSIVE r (n) AS (SELECT id FROM a UNION SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r")
            .await,
        "n=transformation(a.id), group_by+filter(a.id)",
    );
}

#[tokio::test]
async fn elements_and_fields_come_from_their_list_and_struct() {
    check(
        &plan("SELECT id, unnest(items) AS item FROM b").await,
        "id=identity(b.id), item=transformation(b.items)",
    );
    check(&plan("SELECT pair['l'] AS l FROM b").await, "l=transformation(b.pair)");
}

#[tokio::test]
async fn a_write_has_the_lineage_of_its_data() {
    let expected = "id=identity(a.id), x=identity(a.x)";
    check(&plan("COPY (SELECT id, x FROM a) TO 'out.parquet'").await, expected);
    check(&plan("CREATE TABLE c AS SELECT id, x FROM a").await, expected);
    check(&plan("CREATE VIEW w AS SELECT id, x FROM a").await, expected);
    check(&plan("EXPLAIN ANALYZE SELECT id, x FROM a").await, expected);
    check(&plan("INSERT INTO a (id, t) SELECT y, 'k' FROM b").await, "id=identity(b.y), x=, t=");
}

#[tokio::test]
async fn a_plan_of_thousands_of_terms_and_inputs_is_followed() {
    let union = vec!["SELECT id FROM a"; 500].join(" UNION ALL ");
    check(&plan(&union).await, "id=identity(a.id)");
    let terms = vec!["x = 1"; 500].join(" OR ");
    check(&plan(&format!("SELECT id FROM a WHERE {terms}")).await, "id=identity(a.id), filter(a.x)");
}

#[tokio::test]
async fn a_plan_without_end_says_that_it_was_not_followed() {
    let levels = (1..=12).fold(String::new(), |text, level| {
        format!("{text}, c{level} AS (SELECT l.id FROM c{0} l JOIN c{0} r ON l.id = r.id)", level - 1)
    });
    let plan = plan(&format!("WITH c0 AS (SELECT id FROM a){levels} SELECT id FROM c12")).await;
    let lineage = Lineage::of(&plan);
    assert_eq!(lineage.columns.len(), 1);
    assert!(lineage.unresolved.contains(&Unresolved::Size));
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
struct Mystery(Arc<LogicalPlan>);

impl UserDefinedLogicalNodeCore for Mystery {
    fn name(&self) -> &str {
        "Mystery"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.0]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.0.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Mystery")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self(Arc::new(inputs.swap_remove(0))))
    }
}

#[tokio::test]
async fn a_node_of_a_program_is_taken_to_use_all_that_goes_in() {
    let input = plan("SELECT id, x FROM a").await;
    let plan = LogicalPlan::Extension(Extension { node: Arc::new(Mystery(Arc::new(input))) });
    check(
        &plan,
        "id=transformation(a.id)+transformation(a.x), x=transformation(a.id)+transformation(a.x), \
         the plan node Mystery does not say what it does with its columns",
    );
}
