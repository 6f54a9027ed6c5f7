"""The Python SDK's tracker on a run of independent nodes: python tracker_sdk.py URL USER PROJECT NODES exit|stop.

Prints two numbers: microseconds of the caller's thread for a node, and seconds until the run is delivered, by what a
process does when it exits or by a call of stop().
"""

import importlib
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from hamilton import driver
from hamilton_sdk import adapters


class Timed(adapters.HamiltonTracker):
    seconds = 0.0

    def pre_node_execute(self, *args, **kwargs):
        start = time.perf_counter()
        super().pre_node_execute(*args, **kwargs)
        self.seconds += time.perf_counter() - start

    def post_node_execute(self, *args, **kwargs):
        start = time.perf_counter()
        super().post_node_execute(*args, **kwargs)
        self.seconds += time.perf_counter() - start


def main() -> None:
    logging.disable(logging.CRITICAL)
    url, user, project, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with tempfile.TemporaryDirectory() as folder:
        name = f"nodes_{count}"
        text = "\n".join(f"def n{node}(rows: int) -> dict:\n    return {{'rows': rows}}\n" for node in range(count))
        (Path(folder) / f"{name}.py").write_text(text)
        sys.path.insert(0, folder)
        module = importlib.import_module(name)
        tracker = Timed(
            project_id=project,
            username=user,
            dag_name=f"bench::sdk_{count}",
            api_key="none",
            hamilton_api_url=url,
            hamilton_ui_url=url,
        )
        pipeline = driver.Builder().with_modules(module).with_adapters(tracker).build()
        start = time.perf_counter()
        pipeline.execute([f"n{node}" for node in range(count)], inputs={"rows": 3})
        if sys.argv[5] == "stop":
            tracker.stop()
        else:
            # As at the end of a process.
            tracker.client.data_queue.put(None)
            tracker.client.worker_thread.join()
        seconds = time.perf_counter() - start
    print(f"{tracker.seconds / count * 1e6} {seconds}", flush=True)
    os._exit(0)


main()
