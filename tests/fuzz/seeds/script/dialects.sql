SET datafusion.sql_parser.dialect = 'mysql';
SELECT `a` # comment
FROM t;
SET datafusion.sql_parser.dialect = 'postgresql';
SELECT $$x;y$$, E'a\'b', 'ä''ö' FROM u;
RESET datafusion.sql_parser.dialect;
/* a /* b */ c */ INSERT INTO t (a, b) VALUES (1, 'x;'), ($n, NULL);
