"""The ``collation`` document of a command: what it may contain, and which languages there are.

A language that has not been compared with a server on words of its alphabet is refused.

Spec: https://www.mongodb.com/docs/manual/reference/collation/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from transports.fake.bson_text import render
from transports.fake.collation import VERSION, Collation
from transports.fake.collation_tailoring import RULES, SCRIPTS
from transports.fake.errors import BAD_VALUE, TYPE_MISMATCH, CommandFailure, unsupported
from transports.fake.values import NUMBER_TYPES, Document, bson_type

PLAIN_LOCALES: Final = frozenset(
    {
        *("en", "en_US", "de", "de_AT", "fr", "fr_CA", "it", "nl", "pt"),
        *("af", "ca", "ga", "id", "lb", "ms", "sw", "zu"),
        *RULES,
        *SCRIPTS,
    }
)
# What the server accepts besides.
_OTHER_LOCALES: Final = frozenset(
    {
        *("am", "ar", "as", "az", "bn", "bo", "chr", "dsb", "dz", "ee", "en_US_POSIX", "fa"),
        *("fa_AF", "gu", "ha", "haw", "he", "hi", "hsb", "hy", "ig", "ja", "kk", "ka", "kl", "km"),
        *("kn", "ko", "kok", "ky", "lkt", "ln", "lo", "ml", "mn", "mr", "mt", "my", "ne"),
        *("om", "or", "pa", "ps", "se", "si", "smn", "sq", "sr_Latn", "ta", "te", "th", "to"),
        *("ug", "ur", "vi", "wae", "yi", "yo", "zh", "zh_Hant"),
    }
)
_INCOMPATIBLE_VERSION: Final = 161
_OPTIONS: Final = {
    "locale": str,
    "caseLevel": bool,
    "caseFirst": str,
    "strength": None,
    "numericOrdering": bool,
    "alternate": str,
    "maxVariable": str,
    "backwards": bool,
    "normalization": bool,
    "version": str,
}
_CHOICES: Final = {
    "caseFirst": ("off", "upper", "lower"),
    "alternate": ("non-ignorable", "shifted"),
    "maxVariable": ("punct", "space"),
}


def _checked(spec: Mapping[str, Any]) -> Document:
    """Return the options that are given."""
    given: Document = {}
    for name, value in spec.items():
        if name not in _OPTIONS:
            raise CommandFailure(40415, f"BSON field 'collation.{name}' is an unknown field.")
        if value is None:
            continue
        kind = _OPTIONS[name]
        if type(value) is not kind if kind is not None else type(value) not in NUMBER_TYPES:
            raise CommandFailure(
                TYPE_MISMATCH,
                f"BSON field 'collation.{name}' is the wrong type '{bson_type(value)[1]}'",
            )
        if name in _CHOICES and value not in _CHOICES[name]:
            raise CommandFailure(
                BAD_VALUE,
                f"Enumeration value '{value}' for field 'collation.{name}' is not a valid value.",
            )
        given[name] = value
    if "locale" not in given:
        raise CommandFailure(40414, "BSON field 'collation.locale' is missing but a required field")
    if "strength" in given:
        given["strength"] = _strength(given["strength"])
    return given


def _strength(value: Any) -> int:
    strength = int(float(str(value)))
    if strength == 0:
        raise CommandFailure(BAD_VALUE, "Enumeration value '0' for field 'collation.strength'")
    if not 1 <= strength <= 5:
        raise CommandFailure(
            51024, f"BSON field 'strength' value must be >= 1 and <= 5, actual value '{strength}'"
        )
    return strength


def _check_together(spec: Mapping[str, Any]) -> None:
    if spec["caseFirst"] != "off" and not spec["caseLevel"] and spec["strength"] < 3:
        raise CommandFailure(
            BAD_VALUE,
            "'caseFirst' is invalid unless 'caseLevel' is on or 'strength' is greater than 2",
        )
    if spec["backwards"] and spec["strength"] == 1:
        raise CommandFailure(BAD_VALUE, "'backwards' is invalid with 'strength' of 1")


def compile_collation(spec: Mapping[str, Any] | None) -> Collation | None:
    """Return the collation, or None for binary comparison (``locale: "simple"``, no document).

    Raises:
        CommandFailure: 40414, 40415, 14 or 2 for a bad document, 238 for a locale whose order
            the fake does not know.
    """
    if not spec:
        return None
    given = _checked(spec)
    locale = given["locale"]
    if locale == "simple":
        return None
    if locale in _OTHER_LOCALES:
        raise unsupported(f"the collation of the locale {locale!r}")
    if locale not in PLAIN_LOCALES:
        raise CommandFailure(BAD_VALUE, f"Field 'locale' is invalid in: {render(dict(spec))}")
    if given.get("version", VERSION) != VERSION:
        raise CommandFailure(
            _INCOMPATIBLE_VERSION,
            f"Requested collation version {given['version']} but the only available collator "
            f"version was {VERSION}",
        )
    collation = Collation(given)
    _check_together(collation.spec)
    return collation
