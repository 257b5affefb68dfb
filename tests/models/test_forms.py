from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from models import ChoiceField, DateField, Form, InvalidAnswers, NumberField, TextField

FORM = Form(
    slug="survey",
    title="Survey",
    fields=[
        TextField(name="name", label="Name", required=True, max_length=5),
        TextField(name="code", label="Code", pattern=r"[A-Z]{2}\d"),
        NumberField(name="age", label="Age", minimum=0, maximum=130),
        ChoiceField(name="colour", label="Colour", options=["red", "green"]),
        ChoiceField(name="days", label="Days", options=["mon", "tue", "wed"], several=True),
        DateField(name="since", label="Since"),
    ],
)


def test_answers_come_back_as_they_are_stored() -> None:
    assert FORM.checked(
        {
            "since": "2026-05-14",
            "days": ["wed", "mon"],
            "colour": "red",
            "age": 36,
            "code": "AB1",
            "name": " Ada ",
        }
    ) == {
        "name": "Ada",
        "code": "AB1",
        "age": 36,
        "colour": "red",
        "days": ["mon", "wed"],
        "since": datetime(2026, 5, 14, tzinfo=UTC),
    }


def test_optional_fields_may_be_left_out() -> None:
    assert FORM.checked({"name": "Ada", "age": None, "code": "", "days": []}) == {"name": "Ada"}


@pytest.mark.parametrize(
    ("answers", "field", "problem"),
    [
        ({}, "name", "required"),
        ({"name": "Adalbert"}, "name", "at most 5"),
        ({"name": 5}, "name", "text"),
        ({"name": "A", "code": "ab1"}, "code", "expected form"),
        ({"name": "A", "age": -1}, "age", "at least 0"),
        ({"name": "A", "age": 131}, "age", "at most 130"),
        ({"name": "A", "age": "old"}, "age", "number"),
        ({"name": "A", "age": True}, "age", "number"),
        ({"name": "A", "age": float("nan")}, "age", "number"),
        ({"name": "A", "colour": "blue"}, "colour", "red, green"),
        ({"name": "A", "days": "mon"}, "days", "mon, tue, wed"),
        ({"name": "A", "days": ["sun"]}, "days", "mon, tue, wed"),
        ({"name": "A", "since": "soon"}, "since", "date"),
        ({"name": "A", "since": 5}, "since", "date"),
        ({"name": "A", "extra": 1}, "extra", "not a field"),
    ],
)
def test_answers_that_do_not_fit(answers: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(InvalidAnswers) as caught:
        FORM.checked(answers)
    assert list(caught.value.problems) == [field]
    assert problem in caught.value.problems[field]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidAnswers) as caught:
        FORM.checked({"age": 500, "colour": "blue"})
    assert set(caught.value.problems) == {"name", "age", "colour"}


def test_fields_are_told_apart_by_their_kind() -> None:
    form = Form.model_validate(
        {
            "slug": "f",
            "title": "F",
            "fields": [
                {"kind": "number", "name": "n", "label": "N"},
                {"kind": "choice", "name": "c", "label": "C", "options": ["a"]},
            ],
        }
    )
    assert [type(field) for field in form.fields] == [NumberField, ChoiceField]
    with pytest.raises(ValidationError, match="kind"):
        Form.model_validate({"slug": "f", "title": "F", "fields": [{"kind": "x", "name": "n"}]})


def test_a_choice_needs_options() -> None:
    with pytest.raises(ValidationError):
        ChoiceField(name="c", label="C", options=[])
