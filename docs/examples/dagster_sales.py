"""A pipeline of Daglight as an asset of Dagster: its metadata leads to the report, the run in the Hamilton UI and the trace."""

import json
import shlex
import subprocess

import dagster as dg

COMMAND = "daglight run pipelines/sales.sql --quiet --json --param day={day} --tag dagster_run={run}"
DAYS = dg.DailyPartitionsDefinition(start_date="2026-11-01")


def finished(command: str) -> tuple[int, bytes]:
    """The exit code and the output of a command. If it is to be stopped, it gets the time to end its run."""
    with subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            # `subprocess.run` would kill it here, and the run would be closed by `daglight sync` alone.
            process.terminate()
            process.wait(timeout=30)
            raise
    return process.returncode, output


def metadata(report: dict) -> dict[str, dg.MetadataValue]:
    """What the page of the asset shows of a run."""
    links = report["links"]
    shown = {
        "run_id": dg.MetadataValue.text(report["run_id"]),
        "duration_s": dg.MetadataValue.float(report["duration_ms"] / 1000),
        "rows": dg.MetadataValue.int(sum(node["rows"] or 0 for node in report["nodes"] if node["status"] == "success")),
    }
    if report["report"]:
        shown["report"] = dg.MetadataValue.path(report["report"]["html"])
    for name in ("hamilton_run", "trace"):
        if links[name]:
            shown[name] = dg.MetadataValue.url(links[name])
    return shown


@dg.asset(partitions_def=DAYS, retry_policy=dg.RetryPolicy(max_retries=2, delay=300))
def sales(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    exit_code, output = finished(COMMAND.format(day=context.partition_key, run=context.run_id))
    report = json.loads(output)
    if exit_code != 0:
        error = report["error"]
        raise dg.Failure(
            description=error["message"],
            metadata=metadata(report) if "run_id" in report else {},
            # A wrong script, parameter or setting: the next attempt would end in the same way.
            allow_retries=exit_code != 2,
        )
    return dg.MaterializeResult(metadata=metadata(report))


definitions = dg.Definitions(assets=[sales])
