"""Prints the milliseconds that the Hamilton SDK takes to summarise a Parquet file that polars has read."""

import statistics
import sys
import time

import polars
from hamilton_sdk.tracking import polars_stats

frame = polars.read_parquet(sys.argv[1])


def run() -> float:
    start = time.perf_counter()
    polars_stats.compute_stats_df(frame, "table", {})
    return (time.perf_counter() - start) * 1e3


run()
print(statistics.median(run() for _ in range(9)))
