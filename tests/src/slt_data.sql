-- The data that DataFusion's own tests read and that their crate does not ship: files with the same columns and other rows.
-- The paths start from the root of DataFusion's repository.
SET datafusion.execution.target_partitions = 1;

CREATE VIEW aggregate_test AS SELECT
  chr(97 + value % 5) AS c1, value % 5 + 1 AS c2, (value * 37) % 251 - 125 AS c3, (value * 7919) % 65521 - 32760 AS c4,
  (value * 1000003) % 4294967291 - 2147483645 AS c5, (value * 7777777) % 999983 * 9223372036854 AS c6,
  (value * 31) % 251 + 1 AS c7, (value * 7907) % 65521 AS c8, (value * 104729) % 4294967291 AS c9,
  (value * 15485863) % 982451653 * 9223372036 AS c10, (value * 7) % 101 / 101e0 AS c11, (value * 11) % 103 / 103e0 AS c12,
  upper(md5(value::VARCHAR)) AS c13
FROM generate_series(1, 100);
COPY aggregate_test TO 'testing/data/csv/aggregate_test_100.csv';
COPY (SELECT * FROM aggregate_test ORDER BY c1)
TO 'datafusion/core/tests/data/aggregate_test_100_order_by_c1_asc.csv';
COPY (
  SELECT *, DATE '2022-01-01' + c2 AS c14, to_timestamp_seconds(1654041600 + c7 * 3600) AS c15 FROM aggregate_test
) TO 'testing/data/csv/aggregate_test_100_with_dates.csv';

COPY (SELECT value * 3 AS ts, value * 2 AS inc_col, 500 - value * 3 AS desc_col FROM generate_series(1, 100))
TO 'datafusion/core/tests/data/window_1.csv';
COPY (
  SELECT 0 AS a0, value / 50 AS a, value / 25 AS b, value AS c, (value * 7) % 5 AS d FROM generate_series(0, 99)
) TO 'datafusion/core/tests/data/window_2.csv';
CREATE VIEW aggregate_simple AS
SELECT value / 4 / 1e5 AS c1, value / 4 / 1e12 AS c2, value % 2 = 0 AS c3 FROM generate_series(4, 18);
COPY aggregate_simple TO 'datafusion/core/tests/data/aggregate_simple.csv';
COPY aggregate_simple TO 'datafusion/core/tests/data/aggregate_simple_pipe.csv' OPTIONS ('format.delimiter' '|');
COPY (SELECT value AS c1, value / 4 AS c2, (value * 5) % 7 AS c3 FROM generate_series(1, 30))
TO 'datafusion/core/tests/data/aggregate_agg_multi_order.csv';
COPY (SELECT value AS c1, 90 - value AS c2, value * 2 AS c3 FROM generate_series(1, 10))
TO 'datafusion/core/tests/data/convert_first_last.csv';
COPY (SELECT value AS a, value + 1 AS b, value + 2 AS c FROM generate_series(1, 3))
TO 'datafusion/core/tests/data/example.csv';
COPY (
  SELECT (value / 4 + 1) / 1e5 AS c1, value % 5 / 1e12 AS c2, value AS c3, value % 3 = 0 AS c4, value % 6 / 1e4 AS c5
  FROM generate_series(1, 15)
) TO 'datafusion/core/tests/data/decimal_data.csv';
COPY (
  SELECT nullif(value % 9, 0) AS c1, nullif(value % 11, 0) / 4e0 AS c2, nullif(value, 50) AS c3
  FROM generate_series(1, 100)
) TO 'datafusion/core/tests/data/null_cases.csv';
COPY (SELECT (value * 5) % 7 AS k, 16777222 - value AS v FROM generate_series(1, 6))
TO 'datafusion/core/tests/data/int_to_float_cast_precision.csv';
COPY (SELECT value % 2 + 1 AS time, value AS name, value * 100 AS account_balance FROM generate_series(1, 4))
TO 'datafusion/core/tests/data/recursive_cte/balance.csv';
COPY (SELECT '~id' || value || '~' AS c1, '~value' || value || '~' AS c2 FROM generate_series(0, 9))
TO 'datafusion/core/tests/data/quote.csv' OPTIONS ('format.has_header' 'false');
COPY (SELECT 'name' || value AS name, to_timestamp_seconds(1672444800 - value * 86400) AS ts FROM generate_series(1, 60))
TO 'datafusion/core/tests/data/timestamps.csv' OPTIONS ('format.has_header' 'false');
CREATE VIEW numbered AS SELECT value AS c1, value * 1000000 AS c2, value % 2 = 0 AS c3 FROM generate_series(0, 10);
COPY numbered TO 'datafusion/core/tests/data/partitioned_csv/partition-0.csv' OPTIONS ('format.has_header' 'false');
COPY numbered TO 'datafusion/core/tests/data/partitioned_csv/partition-1.csv' OPTIONS ('format.has_header' 'false');
COPY numbered TO 'datafusion/core/tests/data/partitioned_csv/partition-2.csv' OPTIONS ('format.has_header' 'false');
COPY numbered TO 'datafusion/core/tests/data/partitioned_csv/partition-3.csv' OPTIONS ('format.has_header' 'false');
COPY (SELECT value - 5 AS a, value / 2e0 AS b, value % 2 = 0 AS c, value::VARCHAR AS d FROM generate_series(1, 12))
TO 'datafusion/core/tests/data/2.json';

CREATE VIEW all_types AS SELECT
  value::INT AS id, value % 2 = 0 AS bool_col, (value % 10)::INT AS tinyint_col, (value % 10)::INT AS smallint_col,
  (value % 10)::INT AS int_col, value % 10 * 10 AS bigint_col, arrow_cast(value % 10 * 1.1, 'Float32') AS float_col,
  (value % 10 * 10.1)::DOUBLE AS double_col, arrow_cast('03/01/09', 'Binary') AS date_string_col,
  arrow_cast((value % 10)::VARCHAR, 'Binary') AS string_col, to_timestamp_seconds(1235865600 + value * 60) AS timestamp_col
FROM generate_series(0, 7299);
COPY (SELECT * FROM all_types WHERE id < 8 ORDER BY id) TO 'parquet-testing/data/alltypes_plain.parquet';
COPY (SELECT * FROM all_types ORDER BY id) TO 'parquet-testing/data/alltypes_tiny_pages.parquet';
COPY (SELECT arrow_cast(md5(value::VARCHAR), 'Binary') AS ids FROM generate_series(1, 20))
TO 'datafusion/core/tests/data/test_binary.parquet';
