"""The options of ``create``: what goes with what, and how they are stored.

Spec: https://www.mongodb.com/docs/manual/reference/command/create/
"""

from __future__ import annotations

from typing import Any, Final

from bson import Int64

from transports.fake.collation_spec import compile_collation
from transports.fake.commands.registry import check_fields, missing_field
from transports.fake.errors import BAD_VALUE, INVALID_OPTIONS, CommandFailure
from transports.fake.matcher import compile_filter
from transports.fake.values import Document

_INVALID_INDEX_OPTION: Final = 197
_KEPT: Final = (
    "capped",
    "size",
    "max",
    "changeStreamPreAndPostImages",
    "storageEngine",
    "indexOptionDefaults",
    "validator",
    "validationLevel",
    "validationAction",
    "collation",
    "viewOn",
    "pipeline",
    "expireAfterSeconds",
    "timeseries",
    "clusteredIndex",
    "encryptedFields",
)
_LEVELS: Final = ("off", "strict", "moderate")
_ACTIONS: Final = ("error", "warn")
BUCKET_SPANS: Final = {"seconds": 3600, "minutes": 86_400, "hours": 2_592_000}
_CAPPED_UNIT: Final = 256


def checked_options(command: Document) -> Document:
    """Return the options of a ``create`` as the catalog keeps them.

    Raises:
        CommandFailure: 72 InvalidOptions, … as the server refuses a combination.
    """
    options = {name: command[name] for name in _KEPT if command.get(name) is not None}
    _check_capped(options)
    if "pipeline" in options and "viewOn" not in options:
        raise _invalid("'pipeline' requires 'viewOn' to also be specified")
    if "viewOn" in options:
        options.setdefault("pipeline", [])
    if "timeseries" in options:
        options["timeseries"] = _timeseries(options["timeseries"])
        for other in ("capped", "validator", "validationLevel", "validationAction", "viewOn"):
            if other in options:
                raise _invalid(f"'timeseries' is not allowed with '{other}'")
    clustered = options.get("clusteredIndex")
    if clustered is not None and clustered is not False:
        options["clusteredIndex"] = _clustered(clustered)
        if "size" in options:
            raise CommandFailure(
                6049200,
                "'size' field for capped collections is not allowed on clustered collections. Did "
                "you mean 'capped: true' with 'expireAfterSeconds'?",
            )
    if "expireAfterSeconds" in options and not ({"timeseries", "clusteredIndex"} & options.keys()):
        raise _invalid(
            "'expireAfterSeconds' is only supported on time-series collections or when the "
            "'clusteredIndex' option is specified"
        )
    if "collation" in options:
        given = options["collation"]
        if type(given) is dict:  # here a language's own caseFirst does not count
            given = {"caseFirst": "off", **given}
        collation = compile_collation(given)
        if collation is None:
            del options["collation"]
        else:
            options["collation"] = collation.spec
    _check_validation(options)
    images = options.get("changeStreamPreAndPostImages")
    if images is not None:
        check_fields(
            "create.changeStreamPreAndPostImages", images, {"enabled": "flag"}, ("enabled",)
        )
        if not images["enabled"]:
            del options["changeStreamPreAndPostImages"]
    return options


def _invalid(message: str) -> CommandFailure:
    return CommandFailure(INVALID_OPTIONS, message)


def _check_capped(options: Document) -> None:
    if options.get("capped"):
        if "size" not in options:
            raise _invalid("the 'size' field is required when 'capped' is true")
        size = int(options["size"])
        if size < 1:
            raise CommandFailure(
                51024, f"BSON field 'size' value must be >= 1, actual value '{size}'"
            )
        if "max" in options and options["max"] <= 0:
            options["max"] = 2**31 - 1
        options["size"] = -(-size // _CAPPED_UNIT) * _CAPPED_UNIT
        options["capped"] = True
    else:
        options.pop("capped", None)
        if "size" in options or "max" in options:
            raise _invalid(
                "the 'capped' field needs to be true when either the 'size' or 'max' fields are "
                "present"
            )


def _timeseries(spec: Any) -> Document:
    check_fields(
        "create.timeseries",
        spec,
        {
            "timeField": "string",
            "metaField": "string",
            "granularity": "string",
            "bucketMaxSpanSeconds": "number",
            "bucketRoundingSeconds": "number",
        },
        ("timeField",),
    )
    granularity = spec.get("granularity", "seconds")
    if granularity not in BUCKET_SPANS:
        raise CommandFailure(
            BAD_VALUE,
            f"Enumeration value '{granularity}' for field 'create.timeseries.granularity' is not "
            "a valid value.",
        )
    if "." in spec["timeField"]:
        raise _invalid("'timeField' must be a top-level field and not contain a '.'")
    if spec.get("metaField") == spec["timeField"]:
        raise _invalid("'metaField' cannot be the same as 'timeField'")
    if spec.get("metaField") == "_id":
        raise _invalid("'metaField' cannot be \"_id\"")
    span = BUCKET_SPANS[granularity]
    if spec.get("bucketMaxSpanSeconds", span) != span:
        raise CommandFailure(
            5510500,
            "Timeseries 'bucketMaxSpanSeconds' is not configurable to a value other than the "
            f"default of {span} for the provided granularity",
        )
    stored = {name: spec[name] for name in ("timeField", "metaField") if name in spec}
    stored["granularity"] = granularity
    stored["bucketMaxSpanSeconds"] = span
    return stored


def _clustered(spec: Any) -> Document:
    if spec is True:
        raise CommandFailure(
            5979703,
            "The 'clusteredIndex' legacy format {clusteredIndex: <bool>} is only supported for "
            "specific internal collections and vice versa",
        )
    for name in ("key", "unique"):
        if name not in spec:
            raise missing_field(f"create.{name}")
    if list(spec["key"]) != ["_id"] or int(spec["key"]["_id"]) != 1:
        raise CommandFailure(
            _INVALID_INDEX_OPTION, "The clusteredIndex option is only supported for key: {_id: 1}"
        )
    if not spec["unique"]:
        raise CommandFailure(
            5979700, "The clusteredIndex option requires unique: true to be specified"
        )
    return {
        "v": int(spec.get("v", 2)),
        "key": {"_id": 1},
        "name": spec.get("name", "_id_"),
        "unique": True,
    }


def _check_validation(options: Document) -> None:
    if "validator" in options:
        compile_filter(options["validator"])
    for name, values in (("validationLevel", _LEVELS), ("validationAction", _ACTIONS)):
        value = options.get(name)
        if value is not None and value not in values:
            raise CommandFailure(
                BAD_VALUE,
                f"Enumeration value '{value}' for field 'create.{name}' is not a valid value.",
            )


def in_catalog_order(options: Document) -> Document:
    """Return options in the order in which ``listCollections`` shows them."""
    return {name: options[name] for name in _KEPT if name in options}


def as_size(value: int) -> int | Int64:
    """Return a number of bytes in the type that the server's statistics have."""
    return value if value <= 0x7FFFFFFF else Int64(value)
