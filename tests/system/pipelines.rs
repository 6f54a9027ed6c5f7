//! The pipelines that the tests run.

/// Six nodes and a parameter: two loaders, a view, a table, a file and rows that are shown.
pub(crate) const SHOP: &str = "\
-- What the shop sells to one kind of customer.

-- The market segment that is looked at.
-- param: segment = BUILDING

-- Customers of the shop.
-- tag: layer=raw, owner=sales
CREATE EXTERNAL TABLE customer STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/customer.parquet';

-- Their orders.
-- tag: layer=raw
CREATE EXTERNAL TABLE orders STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/orders.parquet';

-- Orders of one market segment.
-- tag: layer=silver
CREATE VIEW segment_orders AS
SELECT o_orderkey, o_orderdate, o_totalprice, c_name
FROM orders
JOIN customer ON o_custkey = c_custkey
WHERE c_mktsegment = $segment;

-- Sales per year.
-- tag: layer=gold
CREATE TABLE yearly_sales AS
SELECT date_part('year', o_orderdate) AS year, count(*) AS orders, sum(o_totalprice) AS sales
FROM segment_orders
GROUP BY 1;

-- node: yearly_file
COPY (SELECT * FROM yearly_sales ORDER BY year) TO 'out/yearly_sales.parquet' STORED AS PARQUET;

-- The best year.
-- node: best_year
SELECT year, sales FROM yearly_sales ORDER BY sales DESC LIMIT 1;
";

/// The nodes of [`SHOP`] with their classification and dependencies.
pub(crate) const SHOP_NODES: [(&str, &str, &[&str]); 7] = [
    ("$segment", "input", &[]),
    ("best_year", "transform", &["yearly_sales"]),
    ("customer", "data_loader", &[]),
    ("orders", "data_loader", &[]),
    ("segment_orders", "transform", &["$segment", "customer", "orders"]),
    ("yearly_file", "data_saver", &["yearly_sales"]),
    ("yearly_sales", "transform", &["segment_orders"]),
];

/// The nodes of [`SHOP`] that run a query.
pub(crate) const SHOP_QUERIES: [&str; 3] = ["best_year", "yearly_file", "yearly_sales"];

/// A table that fails while it is computed, one that reads it, and one that does not.
pub(crate) const FAILING: &str = "\
-- Numbers, the last of which is not one.
CREATE TABLE texts AS SELECT column1 AS text FROM (VALUES ('1'), ('2'), ('three'));

CREATE TABLE numbers AS
SELECT CAST(text AS INT) AS number FROM texts;

CREATE TABLE doubled AS SELECT number * 2 AS twice FROM numbers;
";
