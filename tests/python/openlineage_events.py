"""Reads events of OpenLineage with the classes that its own Python client generates of the published schemas.

    openlineage_events.py FILE

FILE has an event on each line. A field that the specification does not have, one that is missing, one of another type, a facet
under a wrong name and a schema of another version are errors. Prints what was read as a list of JSON.
"""

import importlib
import json
import pkgutil
import sys
import types
import typing

import attr
from openlineage.client import event_v2, generated

CLASSES = {}
for module in pkgutil.iter_modules(generated.__path__):
    loaded = importlib.import_module(f"{generated.__name__}.{module.name}")
    for name, value in vars(loaded).items():
        if isinstance(value, type) and attr.has(value) and hasattr(value, "_get_schema"):
            CLASSES.setdefault(value._get_schema(), value)


def convert(hint, value, path):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        chosen = [argument for argument in arguments if argument is not type(None)]
        if value is None:
            raise ValueError(f"{path}: null")
        for argument in chosen[:-1]:
            try:
                return convert(argument, value, path)
            except (TypeError, ValueError):
                pass
        return convert(chosen[-1], value, path)
    if origin is dict:
        expect(value, dict, path)
        return {key: convert(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if origin in (list, tuple):
        expect(value, list, path)
        return [convert(arguments[0], item, f"{path}[{at}]") for at, item in enumerate(value)]
    if isinstance(hint, type) and issubclass(hint, generated.base.BaseFacet):
        return facet(hint, value, path)
    if isinstance(hint, type) and attr.has(hint):
        return build(hint, value, path)
    if hint is event_v2.RunState or (isinstance(hint, type) and issubclass(hint, event_v2.RunState)):
        return event_v2.RunState(value)
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{path}: {value!r} is not a number")
        return value
    if isinstance(hint, type) and hint in (str, int, bool):
        expect(value, hint, path)
    return value


def expect(value, kind, path):
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{path}: {value!r} is not of {kind}")


def facet(base, value, path):
    """A facet is of the class that its schema names, which must be one of its kind and of its place."""
    expect(value, dict, path)
    known = CLASSES.get(value["_schemaURL"])
    if known is None or not issubclass(known, base):
        raise ValueError(f"{path}: {value['_schemaURL']} is not a {base.__name__}")
    place = path.rsplit(".", 1)[-1].replace("_", "").lower()
    if not known.__name__.lower().startswith(place):
        raise ValueError(f"{path}: a {known.__name__} is not called so")
    return build(known, value, path)


def build(kind, value, path):
    expect(value, dict, path)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in attr.fields(kind)}
    arguments = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            raise ValueError(f"{path}: {kind.__name__} has no field {name}")
        converted = convert(hints[name], item, f"{path}.{name}")
        if field.init:
            arguments[field.alias] = converted
        elif item != kind._get_schema():
            raise ValueError(f"{path}.{name}: {item} and not {kind._get_schema()}")
    for required in ("_schemaURL", "_producer", "schemaURL", "producer"):
        # The classes have a default for them, and the specification does not.
        if required in fields and required not in value:
            raise ValueError(f"{path}: {required} is missing")
    return kind(**arguments)


def main():
    events = []
    with open(sys.argv[1], encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            value = json.loads(line)
            build(event_v2.RunEvent, value, f"line {number}")
            events.append(value)
    print(json.dumps(events))


main()
