"""Whether a JSON document is what a JSON Schema says: `json_schema.py SCHEMA DOCUMENT`. Prints what is not."""

import json
import sys

from jsonschema.validators import validator_for


def main(schema_path, document_path):
    with open(schema_path, encoding="utf-8") as file:
        schema = json.load(file)
    with open(document_path, encoding="utf-8") as file:
        document = json.load(file)
    validator = validator_for(schema)
    validator.check_schema(schema)
    problems = list(validator(schema, format_checker=validator.FORMAT_CHECKER).iter_errors(document))
    for problem in problems[:20]:
        print(f"{problem.json_path}: {problem.message}"[:500])
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
