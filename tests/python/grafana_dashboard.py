"""Reads a dashboard with the classes that Grafana generates of its own schema, and fails where they do not hold all of it.

    grafana_dashboard.py FILE

What the schema does not have is lost on the way through the classes, and what it has otherwise comes back changed.
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(given, read, path=""):
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            if key in read:
                yield from differences(value, read[key], f"{path}/{key}")
            else:
                yield f"{path}/{key} is not in the schema"
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for at, (one, other) in enumerate(zip(given, read)):
            yield from differences(one, other, f"{path}/{at}")
    elif given != read:
        yield f"{path} is {given!r}, and was read as {read!r}"


def main(path):
    register_default_plugins()
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
    found = list(differences(given, read))
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
