//! The lineage of ten queries of TPC-H, beside answers that were written by hand from their texts.

use daglight_plan_diagnostics::{Derivation, Lineage};
use datafusion::prelude::SessionContext;
use tpchgen::q_and_a::queries::query;

const TABLES: [&str; 8] = [
    "region (r_regionkey BIGINT, r_name VARCHAR, r_comment VARCHAR)",
    "nation (n_nationkey BIGINT, n_name VARCHAR, n_regionkey BIGINT, n_comment VARCHAR)",
    "supplier (s_suppkey BIGINT, s_name VARCHAR, s_address VARCHAR, s_nationkey BIGINT, s_phone VARCHAR, \
     s_acctbal DECIMAL(15, 2), s_comment VARCHAR)",
    "part (p_partkey BIGINT, p_name VARCHAR, p_mfgr VARCHAR, p_brand VARCHAR, p_type VARCHAR, p_size INT, \
     p_container VARCHAR, p_retailprice DECIMAL(15, 2), p_comment VARCHAR)",
    "partsupp (ps_partkey BIGINT, ps_suppkey BIGINT, ps_availqty INT, ps_supplycost DECIMAL(15, 2), \
     ps_comment VARCHAR)",
    "customer (c_custkey BIGINT, c_name VARCHAR, c_address VARCHAR, c_nationkey BIGINT, c_phone VARCHAR, \
     c_acctbal DECIMAL(15, 2), c_mktsegment VARCHAR, c_comment VARCHAR)",
    "orders (o_orderkey BIGINT, o_custkey BIGINT, o_orderstatus VARCHAR, o_totalprice DECIMAL(15, 2), \
     o_orderdate DATE, o_orderpriority VARCHAR, o_clerk VARCHAR, o_shippriority INT, o_comment VARCHAR)",
    "lineitem (l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INT, \
     l_quantity DECIMAL(15, 2), l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(15, 2), l_tax DECIMAL(15, 2), \
     l_returnflag VARCHAR, l_linestatus VARCHAR, l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, \
     l_shipinstruct VARCHAR, l_shipmode VARCHAR, l_comment VARCHAR)",
];

/// Columns as `name: sources`, with `=` for the value itself, `~` for one that is computed, `+` for one of many rows, and `?` for what
/// only decides which value it is.
/// The names of TPC-H's columns say which table they are of.
#[track_caller]
fn check(lineage: &Lineage, columns: &[&str], indirect: &[&str]) {
    let found: Vec<String> = lineage
        .columns
        .iter()
        .map(|column| {
            let sources = column.sources.iter().map(|(source, derivation)| {
                let mark = match derivation {
                    Derivation::Conditional => '?',
                    Derivation::Identity => '=',
                    Derivation::Transformation => '~',
                    Derivation::Aggregation => '+',
                };
                format!(" {mark}{}", source.column)
            });
            format!("{}:{}", column.name, sources.collect::<String>())
        })
        .collect();
    assert_eq!(found, columns);
    let found: Vec<String> = lineage
        .indirect
        .iter()
        .map(|(source, influences)| {
            let influences: String = influences.iter().map(|by| format!(" {}", by.name())).collect();
            format!("{}:{influences}", source.column)
        })
        .collect();
    assert_eq!(found, indirect);
    assert!(lineage.unresolved.is_empty(), "{:?}", lineage.unresolved);
}

async fn lineage(number: i32, parameters: &[&str]) -> Lineage {
    let ctx = SessionContext::new();
    for table in TABLES {
        ctx.sql(&format!("CREATE TABLE {table}")).await.unwrap();
    }
    let text = query(number).unwrap().replace("day (3)", "day");
    let sql = parameters
        .iter()
        .enumerate()
        .fold(text, |text, (index, value)| text.replace(&format!(":{}", index + 1), value));
    Lineage::of(&ctx.state().create_logical_plan(sql.trim().trim_end_matches(';')).await.unwrap())
}

#[tokio::test]
async fn q1_aggregates_of_one_table() {
    check(
        &lineage(1, &["90"]).await,
        &[
            "l_returnflag: =l_returnflag",
            "l_linestatus: =l_linestatus",
            "sum_qty: +l_quantity",
            "sum_base_price: +l_extendedprice",
            "sum_disc_price: +l_discount +l_extendedprice",
            "sum_charge: +l_discount +l_extendedprice +l_tax",
            "avg_qty: +l_quantity",
            "avg_price: +l_extendedprice",
            "avg_disc: +l_discount",
            "count_order:",
        ],
        &["l_linestatus: group_by sort", "l_returnflag: group_by sort", "l_shipdate: filter"],
    );
}

#[tokio::test]
async fn q2_a_correlated_minimum() {
    check(
        &lineage(2, &["15", "BRASS", "EUROPE"]).await,
        &[
            "s_acctbal: =s_acctbal",
            "s_name: =s_name",
            "n_name: =n_name",
            "p_partkey: =p_partkey",
            "p_mfgr: =p_mfgr",
            "s_address: =s_address",
            "s_phone: =s_phone",
            "s_comment: =s_comment",
        ],
        &[
            "n_name: sort",
            "n_nationkey: filter",
            "n_regionkey: filter",
            "p_partkey: filter sort",
            "p_size: filter",
            "p_type: filter",
            "ps_partkey: filter",
            "ps_suppkey: filter",
            "ps_supplycost: filter",
            "r_name: filter",
            "r_regionkey: filter",
            "s_acctbal: sort",
            "s_name: sort",
            "s_nationkey: filter",
            "s_suppkey: filter",
        ],
    );
}

#[tokio::test]
async fn q3_an_order_by_what_was_computed() {
    check(
        &lineage(3, &["BUILDING", "1995-03-15"]).await,
        &[
            "l_orderkey: =l_orderkey",
            "revenue: +l_discount +l_extendedprice",
            "o_orderdate: =o_orderdate",
            "o_shippriority: =o_shippriority",
        ],
        &[
            "c_custkey: filter",
            "c_mktsegment: filter",
            "l_discount: sort",
            "l_extendedprice: sort",
            "l_orderkey: group_by filter",
            "l_shipdate: filter",
            "o_custkey: filter",
            "o_orderdate: group_by filter sort",
            "o_orderkey: filter",
            "o_shippriority: group_by",
        ],
    );
}

#[tokio::test]
async fn q4_exists() {
    check(
        &lineage(4, &["1993-07-01"]).await,
        &["o_orderpriority: =o_orderpriority", "order_count:"],
        &[
            "l_commitdate: filter",
            "l_orderkey: filter",
            "l_receiptdate: filter",
            "o_orderdate: filter",
            "o_orderkey: filter",
            "o_orderpriority: group_by sort",
        ],
    );
}

#[tokio::test]
async fn q8_one_table_under_two_names_and_a_case() {
    check(
        &lineage(8, &["BRAZIL", "AMERICA", "ECONOMY ANODIZED STEEL"]).await,
        &["o_year: ~o_orderdate", "mkt_share: +l_discount +l_extendedprice ?n_name"],
        &[
            "c_custkey: filter",
            "c_nationkey: filter",
            "l_orderkey: filter",
            "l_partkey: filter",
            "l_suppkey: filter",
            "n_nationkey: filter",
            "n_regionkey: filter",
            "o_custkey: filter",
            "o_orderdate: group_by filter sort",
            "o_orderkey: filter",
            "p_partkey: filter",
            "p_type: filter",
            "r_name: filter",
            "r_regionkey: filter",
            "s_nationkey: filter",
            "s_suppkey: filter",
        ],
    );
}

#[tokio::test]
async fn q13_an_outer_join_and_a_count_of_counts() {
    check(
        &lineage(13, &["special", "requests"]).await,
        &["c_count: +o_orderkey", "custdist:"],
        &["c_custkey: join group_by", "o_comment: join", "o_custkey: join", "o_orderkey: group_by sort"],
    );
}

#[tokio::test]
async fn q14_a_share() {
    check(
        &lineage(14, &["1995-09-01"]).await,
        &["promo_revenue: +l_discount +l_extendedprice ?p_type"],
        &["l_partkey: filter", "l_shipdate: filter", "p_partkey: filter"],
    );
}

#[tokio::test]
async fn q17_a_correlated_average() {
    check(
        &lineage(17, &["Brand#23", "MED BOX"]).await,
        &["avg_yearly: +l_extendedprice"],
        &[
            "l_partkey: filter",
            "l_quantity: filter",
            "p_brand: filter",
            "p_container: filter",
            "p_partkey: filter",
        ],
    );
}

#[tokio::test]
async fn q18_in_a_subquery_with_having() {
    check(
        &lineage(18, &["300"]).await,
        &[
            "c_name: =c_name",
            "c_custkey: =c_custkey",
            "o_orderkey: =o_orderkey",
            "o_orderdate: =o_orderdate",
            "o_totalprice: =o_totalprice",
            "sum(lineitem.l_quantity): +l_quantity",
        ],
        &[
            "c_custkey: group_by filter",
            "c_name: group_by",
            "l_orderkey: group_by filter",
            "l_quantity: filter",
            "o_custkey: filter",
            "o_orderdate: group_by sort",
            "o_orderkey: group_by filter",
            "o_totalprice: group_by sort",
        ],
    );
}

#[tokio::test]
async fn q22_not_exists_and_an_average_of_the_same_table() {
    check(
        &lineage(22, &["13", "31", "23", "29", "30", "18", "17"]).await,
        &["cntrycode: ~c_phone", "numcust:", "totacctbal: +c_acctbal"],
        &["c_acctbal: filter", "c_custkey: filter", "c_phone: group_by filter sort", "o_custkey: filter"],
    );
}
