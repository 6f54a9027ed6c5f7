"""Writes the tables of TPC-DS as Parquet files, and its queries, as DuckDB has them.

Usage: tpcds.py FOLDER
"""

import pathlib
import sys

import duckdb
import duckdb_extension_tpcds


def main(folder: pathlib.Path) -> None:
    package = pathlib.Path(duckdb_extension_tpcds.__file__).parent
    extension = package / "extensions" / f"v{duckdb.__version__}" / "tpcds.duckdb_extension"
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    connection.execute("CALL dsdgen(sf = 0.01)")
    for (table,) in connection.execute("SHOW TABLES").fetchall():
        connection.execute(f"COPY {table} TO '{folder / table}.parquet' (FORMAT parquet)")
    for number, query in connection.execute("FROM tpcds_queries()").fetchall():
        (folder / f"q{number}.sql").write_text(query, encoding="utf-8")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
