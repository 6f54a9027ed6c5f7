"""What the messages of OTLP hold, in plain values that name their kind: {"int": 3}, {"double": "NaN"}, {"bytes": "00ff"}.

They are read from the messages of the official Protocol Buffers, so that what is compared is what a receiver has.
"""

import math


def value(any_value):
    """An AnyValue; None where it is empty."""
    kind = any_value.WhichOneof("value")
    if kind is None:
        return None
    inner = getattr(any_value, kind)
    if kind == "array_value":
        return {"array": [value(item) for item in inner.values]}
    if kind == "kvlist_value":
        return {"map": attributes(inner.values)}
    if kind == "bytes_value":
        return {"bytes": inner.hex()}
    if kind == "double_value":
        return {"double": inner if math.isfinite(inner) else str(inner)}
    return {kind.removesuffix("_value"): inner}


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def span(item):
    return {
        "trace_id": item.trace_id.hex(),
        "span_id": item.span_id.hex(),
        "parent_span_id": item.parent_span_id.hex(),
        "trace_state": item.trace_state,
        "flags": item.flags,
        "name": item.name,
        "kind": item.kind,
        "start": item.start_time_unix_nano,
        "end": item.end_time_unix_nano,
        "attributes": attributes(item.attributes),
        "dropped_attributes": item.dropped_attributes_count,
        "events": [
            {"name": event.name, "time": event.time_unix_nano, "attributes": attributes(event.attributes)}
            for event in item.events
        ],
        "links": [
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "trace_state": link.trace_state,
                "attributes": attributes(link.attributes),
            }
            for link in item.links
        ],
        "status": {"code": item.status.code, "message": item.status.message},
    }


def log_record(item):
    return {
        "time": item.time_unix_nano,
        "observed": item.observed_time_unix_nano,
        "severity_number": item.severity_number,
        "severity_text": item.severity_text,
        "body": value(item.body),
        "attributes": attributes(item.attributes),
        "trace_id": item.trace_id.hex(),
        "span_id": item.span_id.hex(),
        "flags": item.flags,
        "event_name": item.event_name,
    }


def data_points(metric):
    """The data points of a metric, each with what is said of the metric."""
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    for point in data.data_points:
        known = {
            "metric": metric.name,
            "unit": metric.unit,
            "description": metric.description,
            "kind": kind,
            "start": point.start_time_unix_nano,
            "time": point.time_unix_nano,
            "attributes": attributes(point.attributes),
        }
        if kind != "gauge":
            known["temporality"] = data.aggregation_temporality
        if kind == "sum":
            known["monotonic"] = data.is_monotonic
        if kind in ("sum", "gauge"):
            number = point.WhichOneof("value")
            known["value"] = {number.removeprefix("as_"): getattr(point, number)}
        else:
            known |= {"count": point.count, "sum": point.sum, "min": point.min, "max": point.max}
        if kind == "histogram":
            known |= {"bounds": list(point.explicit_bounds), "buckets": list(point.bucket_counts)}
        yield known
