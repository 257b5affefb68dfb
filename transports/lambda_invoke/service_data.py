"""What the SDK has to read of AWS's services to find the Lambda service: next to nothing.

A client of the SDK's reads, once in a process, descriptions of all services' endpoints and of all
the Lambda service's operations: some 2 MB of JSON, in 60 ms. An invoke is posted without the SDK
(`transports.lambda_invoke.connections`), so no operation has to be known; and the general rule of
each partition holds for the Lambda service in all of its regions, so those few names are enough.
That the SDK then finds the same endpoints is tested, region by region.

Source: https://docs.aws.amazon.com/general/latest/gr/lambda-service.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import DataNotFoundError
from botocore.loaders import Loader

_API_VERSION = "2015-03-31"
_MODEL: Mapping[str, Any] = {
    "version": "2.0",
    "metadata": {
        "apiVersion": _API_VERSION,
        "endpointPrefix": "lambda",
        "protocol": "rest-json",
        "serviceFullName": "AWS Lambda",
        "serviceId": "Lambda",
        "signatureVersion": "v4",
        "uid": f"lambda-{_API_VERSION}",
    },
    "operations": {},
    "shapes": {},
}


class LambdaData(Loader):
    """Gives a session's clients a Lambda service without operations.

    To be registered as the component ``data_loader`` of a session that is asked for nothing else:
    of other services it knows the general rule only, and where some are global that is not enough.
    """

    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Any:
        """Return one of a service's descriptions."""
        if service_name == "lambda":
            if type_name == "service-2":
                return _MODEL
            try:
                # Not by the super class, which first lists the directories of all services.
                return self.load_data(f"lambda/{_API_VERSION}/{type_name}")
            except DataNotFoundError:  # the SDK looks further, or does without
                pass
        return super().load_service_model(service_name, type_name, api_version)

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """Return a file's content, and where it is."""
        if name == "endpoints":
            content, path = super().load_data_with_path("partitions")
            return {"version": 3, "partitions": list(map(_partition, content["partitions"]))}, path
        found: tuple[Any, str] = super().load_data_with_path(name)
        return found


def _partition(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a partition as ``endpoints.json`` has it, with its general rule alone."""
    outputs = described["outputs"]
    suffix, dual_stack = outputs["dnsSuffix"], outputs["dualStackDnsSuffix"]
    plain, fips = "{service}.{region}.{dnsSuffix}", "{service}-fips.{region}.{dnsSuffix}"
    return {
        "partition": described["id"],
        "partitionName": described["id"],
        "dnsSuffix": suffix,
        "regionRegex": described["regionRegex"],
        "regions": {region: {} for region in described["regions"]},
        "services": {},
        "defaults": {
            "hostname": plain,
            "protocols": ["https"],
            "signatureVersions": ["v4"],
            "variants": [
                {"tags": ["fips"], "dnsSuffix": suffix, "hostname": fips},
                {"tags": ["dualstack"], "dnsSuffix": dual_stack, "hostname": plain},
                {"tags": ["dualstack", "fips"], "dnsSuffix": dual_stack, "hostname": fips},
            ],
        },
    }
