"""A pipeline of Daglight as a task of Airflow 3: a failure is retried, a wrong input is not, and the run is a part of
the lineage and of the trace of its task."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

import pendulum
from airflow.exceptions import AirflowFailException
from airflow.sdk import dag, task
from opentelemetry.propagate import inject

# The day of the data is a parameter of the script, and the nominal time of the run.
COMMAND = "daglight run pipelines/sales.sql --quiet --json --profile prod --param day={day} --tag nominal_time={day}"


def finished(command: str, env: dict[str, str] | None = None) -> tuple[int, bytes]:
    """The exit code and the output of a command. If it is to be stopped, it gets the time to end its run."""
    with subprocess.Popen(shlex.split(command), env=env, stdout=subprocess.PIPE) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            # `subprocess.run` would kill it here, and the run would be closed by `daglight sync` alone.
            process.terminate()
            process.wait(timeout=30)
            raise
    return process.returncode, output


def environment(parent: str, root: str) -> dict[str, str]:
    """The variables that make the run a child of the task."""
    carrier: dict[str, str] = {}
    # The span of the task, where Airflow sends traces; otherwise nothing is added.
    inject(carrier)
    trace = {name.upper(): value for name, value in carrier.items()}
    return os.environ | trace | {"OPENLINEAGE_PARENT_ID": parent, "OPENLINEAGE_ROOT_PARENT_ID": root}


@dag(schedule="@daily", start_date=pendulum.datetime(2026, 11, 1, tz="UTC"), catchup=False)
def sales():
    @task(retries=2, retry_delay=pendulum.duration(minutes=5))
    def run(day: str, parent: str, root: str) -> dict[str, str | None]:
        exit_code, output = finished(COMMAND.format(day=day), environment(parent, root))
        if not output:
            # It was killed, for its memory for example. `daglight sync` closes its run.
            raise RuntimeError(f"daglight ended with {exit_code} and without a report")
        report = json.loads(output)
        if exit_code == 2:
            # A wrong script, parameter or setting: the next attempt would end in the same way.
            raise AirflowFailException(report["error"]["message"])
        if exit_code != 0:
            raise RuntimeError(report["error"]["message"])
        # What the page of the task shows under XCom.
        return {
            "run_id": report["run_id"],
            "bundle": report["bundle"],
            "hamilton": report["links"]["hamilton_run"],
            "trace": report["links"]["trace"],
        }

    run(
        day="{{ ds }}",
        # Of the provider for OpenLineage. Without it, leave both out.
        parent="{{ macros.OpenLineageProviderPlugin.lineage_parent_id(task_instance) }}",
        root="{{ macros.OpenLineageProviderPlugin.lineage_root_parent_id(task_instance) }}",
    )


sales()
