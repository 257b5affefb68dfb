"""Metrics in CloudWatch's embedded metric format: which of a log line's numbers are metrics.

CloudWatch Logs makes metrics of a line that says, under ``_aws``, which of its members are some; no
request is made for it. The numbers are those of `invocation_log`, once, as members of the line.

Spec: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json

METRICS = {
    "Commands": "Count",
    "Errors": "Count",
    "Refused": "Count",
    "Deferred": "Count",
    "ColdStarts": "Count",
    "Duration": "Milliseconds",
    "BytesIn": "Bytes",
    "BytesOut": "Bytes",
}
"""Metrics of every invocation, with CloudWatch's unit."""

AT_A_COLD_START = {"InitDuration": "Milliseconds"}
"""Metrics of an environment's first invocation besides."""

DIMENSION = "FunctionName"
"""The only dimension: each further one would be a metric more to pay for, per value."""

_UNNAMED = "db-proxy"  # outside of AWS Lambda; a dimension has a value always


class EmbeddedMetrics:
    """What a line needs besides its numbers.

    Args:
        namespace: of the metrics in CloudWatch.
        function_name: the dimension's value.
    """

    def __init__(self, namespace: str, function_name: str) -> None:
        self._function_name = json.dumps(function_name or _UNNAMED)
        self._warm = _directive(namespace, METRICS)
        self._cold = _directive(namespace, METRICS | AT_A_COLD_START)

    def members(self, timestamp_ms: int, *, cold_start: bool) -> str:
        """Return the members to add to a line, as JSON text: ``"FunctionName":…,"_aws":{…}``."""
        directive = self._cold if cold_start else self._warm
        return (
            f'"{DIMENSION}":{self._function_name},'
            f'"_aws":{{"Timestamp":{timestamp_ms},"CloudWatchMetrics":[{directive}]}}'
        )


def _directive(namespace: str, metrics: dict[str, str]) -> str:
    return json.dumps(
        {
            "Namespace": namespace,
            "Dimensions": [[DIMENSION]],
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in metrics.items()],
        },
        separators=(",", ":"),
    )
