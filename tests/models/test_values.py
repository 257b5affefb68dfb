from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from models.values import EmailAddress, Instant, Locale, Slug, as_instant, now, slugify


def test_instants_are_in_utc_and_whole_milliseconds() -> None:
    zone = timezone(timedelta(hours=2))
    moment = datetime(2026, 5, 1, 12, 0, 0, 123_999, tzinfo=zone)
    assert as_instant(moment) == datetime(2026, 5, 1, 10, 0, 0, 123_000, tzinfo=UTC)


def test_an_instant_without_a_zone_is_utc() -> None:
    naive = datetime(2026, 5, 1, 12)  # as the driver returns it
    assert TypeAdapter(Instant).validate_python(naive) == datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_now_is_an_instant() -> None:
    moment = now()
    assert moment == as_instant(moment)
    assert now().tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Hello, World!", "hello-world"),
        ("Über uns", "uber-uns"),
        ("  a -- b  ", "a-b"),
        ("日本", "untitled"),
        ("", "untitled"),
    ],
)
def test_slugs_are_made_of_letters_and_hyphens(text: str, slug: str) -> None:
    assert slugify(text) == slug
    assert TypeAdapter(Slug).validate_python(slug) == slug


@pytest.mark.parametrize("text", ["Upper", "a--b", "-a", "a b", "ä"])
def test_what_is_no_slug_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Slug).validate_python(text)


def test_email_addresses_are_lower_case() -> None:
    assert TypeAdapter(EmailAddress).validate_python(" Ada@Example.ORG ") == "ada@example.org"
    with pytest.raises(ValidationError):
        TypeAdapter(EmailAddress).validate_python("ada at example")


@pytest.mark.parametrize(("text", "valid"), [("en", True), ("de-AT", True), ("EN", False)])
def test_locales(text: str, valid: bool) -> None:
    try:
        assert TypeAdapter(Locale).validate_python(text) == text
    except ValidationError:
        assert not valid
    else:
        assert valid
