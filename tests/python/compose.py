"""The services of a compose file as JSON, with variables in their places: `compose.py FILE NAME=VALUE...`.

Fails where the file is not what the compose specification says, or lacks a variable that it requires.
"""

import json
import re
import subprocess
import sys

from ruamel.yaml import YAML

VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?:(:?[-?])([^}]*))?\}|\$(\w+)")


def interpolated(value, variables):
    if isinstance(value, dict):
        return {key: interpolated(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner, variables) for inner in value]
    return VARIABLE.sub(lambda found: of_variable(found, variables), value) if isinstance(value, str) else value


def of_variable(found, variables):
    if found[0] == "$$":
        return "$"
    name, operator, default = found[1] or found[4], found[2] or "", found[3]
    value = variables.get(name)
    if value is not None and (value or not operator.startswith(":")):
        return value
    if operator.endswith("?"):
        sys.exit(f"{name} is required: {default}")
    return default or ""


def main(path, *variables):
    schema = ["--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([sys.executable, "-m", "check_jsonschema", *schema, path], stdout=sys.stderr, check=False)
    if checked.returncode != 0:
        return 1
    with open(path, encoding="utf-8") as file:
        # Aliases and merged keys are resolved.
        compose = YAML(typ="safe", pure=True).load(file)
    variables = dict(variable.split("=", 1) for variable in variables)
    json.dump(interpolated(compose["services"], variables), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
