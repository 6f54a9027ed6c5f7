-- A sales review of one region, on the tables of TPC-H.
--
-- It reads the Parquet files that `cargo xtask demo` writes, paths being relative to the working directory, and
-- leaves three Parquet files for others to pick up.
--
-- Run it with other values like this: --param region=EUROPE --param from_date=1994-01-01

-- The region whose customers are reviewed.
-- param: region = ASIA

-- The first day of the review.
-- param: from_date = 1995-01-01

-- The day after its last.
-- param: to_date = 1997-01-01

-- The outputs are kept for long and read seldom.
SET datafusion.execution.parquet.compression = 'zstd(6)';

-------------------------------------------------------------------------------
-- What comes in
-------------------------------------------------------------------------------

-- The five regions.
-- tag: layer=raw, owner=reference-data
CREATE EXTERNAL TABLE region STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/region.parquet';

-- Nations, each in a region.
-- tag: layer=raw, owner=reference-data
CREATE EXTERNAL TABLE nation STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/nation.parquet';

-- Suppliers, each in a nation.
-- tag: layer=raw, owner=purchasing
CREATE EXTERNAL TABLE supplier STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/supplier.parquet';

-- Parts that can be ordered.
-- tag: layer=raw, owner=purchasing
CREATE EXTERNAL TABLE part STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/part.parquet';

-- What each supplier asks for each part.
-- tag: layer=raw, owner=purchasing
CREATE EXTERNAL TABLE partsupp STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/partsupp.parquet';

-- Customers, each in a nation.
-- tag: layer=raw, owner=sales
CREATE EXTERNAL TABLE customer STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/customer.parquet';

-- Orders, one row each.
-- tag: layer=raw, owner=sales
CREATE EXTERNAL TABLE orders STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/orders.parquet';

-- The lines of the orders: what was sold, at what price, and when it was shipped and received.
-- tag: layer=raw, owner=sales
CREATE EXTERNAL TABLE lineitem STORED AS PARQUET LOCATION '.demo/tpch/sf0.1/lineitem.parquet';

-------------------------------------------------------------------------------
-- Staging: names and rules that everything below shares
-------------------------------------------------------------------------------

-- The nations of the region under review.
-- tag: layer=staging, owner=sales-analytics
CREATE VIEW review_nations AS
SELECT n_nationkey, n_name AS nation
FROM nation
JOIN region ON n_regionkey = r_regionkey
WHERE r_name = $region;

-- The customers of the region, with the name of their nation.
-- tag: layer=staging, owner=sales-analytics
CREATE VIEW review_customers AS
SELECT c_custkey, c_name AS customer, c_mktsegment AS segment, c_acctbal AS balance, nation
FROM customer
JOIN review_nations ON c_nationkey = n_nationkey;

-- The lines of the orders in the period, with what was earned and how late they came.
-- Revenue is the price after discount and before tax.
-- tag: layer=staging, owner=sales-analytics
CREATE VIEW order_lines AS
SELECT
    o_orderkey,
    o_custkey,
    o_orderdate,
    o_orderpriority AS priority,
    l_partkey,
    l_suppkey,
    l_quantity AS quantity,
    l_shipmode AS ship_mode,
    l_returnflag AS return_flag,
    l_extendedprice * (1 - l_discount) AS revenue,
    l_receiptdate > l_commitdate AS is_late
FROM orders
JOIN lineitem ON l_orderkey = o_orderkey
WHERE o_orderdate >= $from_date
  AND o_orderdate < $to_date;

-------------------------------------------------------------------------------
-- The review
-------------------------------------------------------------------------------

-- Every line that a customer of the region ordered. Most of the review is made of it, so it is computed once.
-- tag: layer=silver, owner=sales-analytics
CREATE TABLE review_lines AS
SELECT order_lines.*, customer, segment, nation
FROM order_lines
JOIN review_customers ON o_custkey = c_custkey;

-- Revenue per month, its change on the month before, and the total of the year so far.
-- tag: layer=gold, owner=sales-analytics
CREATE TABLE monthly_revenue AS
WITH months AS (
    SELECT date_trunc('month', o_orderdate) AS month, sum(revenue) AS revenue, count(DISTINCT o_orderkey) AS orders
    FROM review_lines
    GROUP BY 1
)
SELECT
    month,
    orders,
    revenue,
    revenue - lag(revenue) OVER (ORDER BY month) AS change,
    sum(revenue) OVER (PARTITION BY date_part('year', month) ORDER BY month) AS year_to_date
FROM months;

-- What suppliers earned with customers of their own nation (after TPC-H query 5).
-- tag: layer=gold, owner=purchasing
CREATE TABLE local_supplier_revenue AS
SELECT review_lines.nation, sum(revenue) AS revenue, count(DISTINCT l_suppkey) AS suppliers
FROM review_lines
JOIN supplier ON l_suppkey = s_suppkey
JOIN review_nations ON s_nationkey = n_nationkey AND review_nations.nation = review_lines.nation
GROUP BY review_lines.nation;

-- Orders with a line that came after its promised day, by priority and ship mode (after TPC-H queries 4 and 12).
-- tag: layer=gold, owner=logistics
CREATE TABLE late_orders AS
SELECT
    priority,
    ship_mode,
    count(DISTINCT o_orderkey) AS orders,
    count(DISTINCT CASE WHEN is_late THEN o_orderkey END) AS late_orders,
    avg(CASE WHEN is_late THEN 1.0 ELSE 0.0 END) AS late_share_of_lines
FROM review_lines
GROUP BY priority, ship_mode;

-- What was earned with each manufacturer's parts after paying the supplier (after TPC-H query 9).
-- tag: layer=gold, owner=purchasing
CREATE TABLE part_profit AS
SELECT
    p_mfgr AS manufacturer,
    date_part('year', o_orderdate) AS year,
    sum(revenue - ps_supplycost * quantity) AS profit
FROM review_lines
JOIN part ON l_partkey = p_partkey
JOIN partsupp ON l_partkey = ps_partkey AND l_suppkey = ps_suppkey
GROUP BY 1, 2;

-- The revenue that was lost to returns, by customer (after TPC-H query 10).
-- tag: layer=silver, owner=sales-analytics
CREATE TABLE returned_revenue AS
SELECT o_custkey, sum(revenue) AS returned
FROM review_lines
WHERE return_flag = 'R'
GROUP BY o_custkey;

-- The customers of the region, ranked in their nation by revenue, with what they sent back.
-- tag: layer=gold, owner=sales-analytics
CREATE TABLE customer_ranking AS
WITH earned AS (
    SELECT o_custkey, customer, segment, nation, sum(revenue) AS revenue
    FROM review_lines
    GROUP BY o_custkey, customer, segment, nation
)
SELECT
    nation,
    rank() OVER (PARTITION BY nation ORDER BY revenue DESC) AS rank_in_nation,
    customer,
    segment,
    revenue,
    coalesce(returned, 0) AS returned
FROM earned
LEFT JOIN returned_revenue ON earned.o_custkey = returned_revenue.o_custkey;

-------------------------------------------------------------------------------
-- What goes out
-------------------------------------------------------------------------------

-- For the sales dashboard.
-- tag: layer=export, owner=sales-analytics
COPY monthly_revenue TO '.demo/out/monthly_revenue.parquet' STORED AS PARQUET;

-- For the logistics team, worst first.
-- tag: layer=export, owner=logistics
COPY (SELECT * FROM late_orders ORDER BY late_share_of_lines DESC) TO '.demo/out/late_orders.parquet' STORED AS PARQUET;

-- For the account managers: the hundred best customers of each nation.
-- node: top_customers_parquet
-- tag: layer=export, owner=sales-analytics
COPY (SELECT * FROM customer_ranking WHERE rank_in_nation <= 100 ORDER BY nation, rank_in_nation)
TO '.demo/out/top_customers.parquet' STORED AS PARQUET;

-- The review at a glance: each nation's revenue, the part of it that its own suppliers earned, and its best customer.
-- node: review
-- tag: layer=gold, owner=sales-analytics
SELECT
    nations.nation,
    round(nations.total, 0) AS revenue,
    round(100 * local_supplier_revenue.revenue / nations.total, 1) AS local_percent,
    best.customer AS best_customer
FROM (SELECT nation, sum(revenue) AS total FROM customer_ranking GROUP BY nation) AS nations
JOIN local_supplier_revenue ON local_supplier_revenue.nation = nations.nation
JOIN customer_ranking AS best ON best.nation = nations.nation AND best.rank_in_nation = 1
ORDER BY nations.total DESC;
