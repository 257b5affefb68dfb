"""Why a document failed its collection's validator: the ``details`` of error 121.

The server explains every operator in its own way; the simple forms are told here as it tells
them, anything else is named without its reasons.

Spec: https://www.mongodb.com/docs/manual/core/schema-validation/
"""

from __future__ import annotations

from typing import Any, Final

from transports.fake.matcher import compile_filter
from transports.fake.values import MISSING, Document, bson_type

_COMPARISONS: Final = frozenset({"$eq", "$gt", "$gte", "$lt", "$lte", "$ne", "$in", "$nin"})


def explain_failure(validator: Document, document: Document) -> Document:
    """Return the ``details`` of a failed validation."""
    if len(validator) == 1:
        (name, condition) = next(iter(validator.items()))
        if name == "$jsonSchema":
            return {
                "operatorName": "$jsonSchema",
                "schemaRulesNotSatisfied": _schema_rules(condition, document),
            }
        return _explain_clause(name, condition, document)
    unsatisfied = []
    for index, (name, condition) in enumerate(validator.items()):
        if not compile_filter({name: condition})(document):
            unsatisfied.append(
                {"index": index, "details": _explain_clause(name, condition, document)}
            )
    return {"operatorName": "$and", "clausesNotSatisfied": unsatisfied}


def _explain_clause(name: str, condition: Any, document: Document) -> Document:
    if name.startswith("$"):
        return {"operatorName": name}
    if type(condition) is not dict or not any(key.startswith("$") for key in condition):
        operator = "$eq"
        specified: Any = {name: condition}
    else:
        operator = next(iter(condition))
        specified = {name: {operator: condition[operator]}}
    value = _value(document, name)
    details: Document = {"operatorName": operator, "specifiedAs": specified}
    if value is MISSING:
        details["reason"] = "field was missing"
        return details
    if operator == "$type":
        details["reason"] = "type did not match"
        details["consideredValue"] = value
        details["consideredType"] = bson_type(value)[1]
    elif operator in _COMPARISONS:
        details["reason"] = "comparison failed"
        details["consideredValue"] = value
    return details


def _schema_rules(schema: Document, document: Document) -> list[Document]:
    rules: list[Document] = []
    properties = schema.get("properties")
    if properties:
        broken = [
            {"propertyName": name, **_described(rule), "details": _property_rules(rule, value)}
            for name, rule in properties.items()
            if (value := document.get(name, MISSING)) is not MISSING
            and not compile_filter({"$jsonSchema": {"properties": {name: rule}}})(document)
        ]
        if broken:
            rules.append({"operatorName": "properties", "propertiesNotSatisfied": broken})
    required = schema.get("required")
    if required:
        missing = sorted(name for name in required if name not in document)
        if missing:
            rules.append(
                {
                    "operatorName": "required",
                    "specifiedAs": {"required": required},
                    "missingProperties": missing,
                }
            )
    return rules


def _described(rule: Document) -> Document:
    return {"description": rule["description"]} if "description" in rule else {}


def _property_rules(rule: Document, value: Any) -> list[Document]:
    found = []
    for keyword, specified in rule.items():
        if keyword in ("description", "title"):
            continue
        if compile_filter({"$jsonSchema": {"properties": {"value": {keyword: specified}}}})(
            {"value": value}
        ):
            continue
        details: Document = {"operatorName": keyword, "specifiedAs": {keyword: specified}}
        if keyword in ("bsonType", "type"):
            details["reason"] = "type did not match"
            details["consideredValue"] = value
            details["consideredType"] = bson_type(value)[1]
        else:
            details["reason"] = "comparison failed"
            details["consideredValue"] = value
        found.append(details)
    return found


def _value(document: Document, path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        value = value.get(part, MISSING) if type(value) is dict else MISSING
    return value
