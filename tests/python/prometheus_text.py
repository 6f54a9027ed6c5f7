"""Reads metrics in the text format of Prometheus from standard input, and prints the samples as JSON.

With the argument `openmetrics` they are read as OpenMetrics, of which a sample may have an exemplar.
"""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

chosen = openmetrics if sys.argv[1:] == ["openmetrics"] else parser
samples = []
for family in chosen.text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        read = {"name": sample.name, "type": family.type, "labels": sample.labels, "value": sample.value}
        if sample.exemplar is not None:
            read["exemplar"] = {"labels": sample.exemplar.labels, "value": sample.exemplar.value}
        samples.append(read)
print(json.dumps(samples))
