-- Orders likely to be late.
-- tag: layer=gold, owner=risk
-- node: late
-- expect: rows > 0
-- expect: unique(id)
CREATE VIEW order_risk AS SELECT * FROM orders WHERE slack < 2;
-- param: day = '2026-01-01'
-- param: n = 3

SELECT $day, $n + $2 FROM "O r" -- why
;
COPY (SELECT * FROM order_risk) TO 'out/t.parquet' STORED AS PARQUET PARTITIONED BY (a);
