"""OTLP/JSON in and out of the official Protocol Buffers, as strictly as the specification has it.

OTLP/JSON is the JSON mapping of Protocol Buffers with three differences: ids are hexadecimal instead of base64, enums
are numbers only, and keys are in lowerCamelCase only.
"""

import base64
import json

from google.protobuf import json_format

ID_BYTES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
OPTIONAL_IDS = {"parentSpanId"}
ENUMS = {"kind", "code", "severityNumber", "aggregationTemporality"}


class Malformed(Exception):
    """What is wrong, and where in the document."""


def parse(text, message, ids_optional=False):
    """Fills `message` from a JSON text, or raises Malformed."""
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error}") from error
    try:
        return json_format.ParseDict(_checked(document, "", ids_optional), message)
    except json_format.ParseError as error:
        raise Malformed(str(error)) from error


def render(message):
    """The message as an OTLP/JSON document."""
    document = json_format.MessageToDict(message, use_integers_for_enums=True)
    return _with_hexadecimal_ids(document)


def _object(pairs):
    document = dict(pairs)
    if len(document) != len(pairs):
        raise Malformed(f"a key stands twice among {[key for key, _ in pairs]}")
    return document


def _constant(name):
    raise Malformed(f"{name} is not a JSON number")


def _checked(value, path, ids_optional):
    """The document with base64 ids, after the checks that the parser of Protocol Buffers does not make."""
    if value is None:
        raise Malformed(f"{path} is null")
    if isinstance(value, list):
        return [_checked(item, f"{path}[{index}]", ids_optional) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    checked = {}
    for key, item in value.items():
        here = f"{path}.{key}"
        if "_" in key:
            raise Malformed(f"{here} is not in lowerCamelCase")
        if key in ID_BYTES:
            checked[key] = _id(here, key, item, ids_optional)
        elif key in ENUMS and not isinstance(item, int):
            raise Malformed(f"{here} is {item!r}, not the number of an enum")
        else:
            checked[key] = _checked(item, here, ids_optional)
    return checked


def _id(path, key, text, ids_optional):
    if text == "" and (key in OPTIONAL_IDS or ids_optional):
        return ""
    try:
        value = bytes.fromhex(text)
    except (TypeError, ValueError) as error:
        raise Malformed(f"{path} is {text!r}, not hexadecimal") from error
    if len(value) != ID_BYTES[key] or not any(value):
        raise Malformed(f"{path} is {text!r}, not {ID_BYTES[key]} bytes that are not all zero")
    return base64.b64encode(value).decode()


def _with_hexadecimal_ids(value):
    if isinstance(value, list):
        return [_with_hexadecimal_ids(item) for item in value]
    if isinstance(value, dict):
        return {
            key: base64.b64decode(item).hex() if key in ID_BYTES else _with_hexadecimal_ids(item)
            for key, item in value.items()
        }
    return value
