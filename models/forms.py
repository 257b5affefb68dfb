"""Forms and what was submitted to them.

A form describes its fields; answers are checked against that description before they are stored.
Submissions are personal data: deleting one hides it at once, an administrator erases it for good.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.users import User
from models.values import Instant, Slug, as_instant, now
from odm import Document, DocumentWithSoftDelete, Indexed, Link


class InvalidAnswers(ValueError):
    """Answers that do not fit the form: ``problems`` maps each field to what is wrong with it."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems.items()))
        self.problems = dict(problems)


class BaseField(BaseModel):
    """What every kind of field has."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    label: str
    required: bool = False

    @abstractmethod
    def checked(self, answer: Any) -> Any:
        """Return the answer as it is stored.

        Raises:
            ValueError: it does not fit; the message is for the person who answered.
        """


class TextField(BaseField):
    """A line or a paragraph of text; ``pattern`` must match all of it."""

    kind: Literal["text"] = "text"
    max_length: int = 1000
    pattern: str | None = None

    def checked(self, answer: Any) -> str:
        """Return the text without surrounding space."""
        if not isinstance(answer, str):
            raise ValueError("must be text")
        text = answer.strip()
        if len(text) > self.max_length:
            raise ValueError(f"must be at most {self.max_length} characters long")
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            raise ValueError("is not in the expected form")
        return text


class NumberField(BaseField):
    """A number between two bounds, both included."""

    kind: Literal["number"] = "number"
    minimum: float | None = None
    maximum: float | None = None

    def checked(self, answer: Any) -> int | float:
        """Return the number; text, booleans and NaN are refused."""
        if isinstance(answer, bool) or not isinstance(answer, int | float) or answer != answer:
            raise ValueError("must be a number")
        if self.minimum is not None and answer < self.minimum:
            raise ValueError(f"must be at least {self.minimum:g}")
        if self.maximum is not None and answer > self.maximum:
            raise ValueError(f"must be at most {self.maximum:g}")
        return answer


class ChoiceField(BaseField):
    """One of the options, or several of them, kept in the form's order."""

    kind: Literal["choice"] = "choice"
    options: Annotated[list[str], Field(min_length=1)]
    several: bool = False

    def checked(self, answer: Any) -> str | list[str]:
        """Return the option, or the list of options."""
        chosen = answer if self.several else [answer]
        if not isinstance(chosen, list) or any(option not in self.options for option in chosen):
            raise ValueError(f"must be chosen from {', '.join(self.options)}")
        return [option for option in self.options if option in chosen] if self.several else answer


class DateField(BaseField):
    """An instant, as a `datetime` or in ISO 8601."""

    kind: Literal["date"] = "date"

    def checked(self, answer: Any) -> datetime:
        """Return the instant in UTC."""
        if isinstance(answer, str):
            try:
                answer = datetime.fromisoformat(answer)
            except ValueError:
                raise ValueError("must be a date such as 2026-05-14") from None
        if not isinstance(answer, datetime):
            raise ValueError("must be a date such as 2026-05-14")
        return as_instant(answer)


FormField = Annotated[
    TextField | NumberField | ChoiceField | DateField, Field(discriminator="kind")
]


class Form(Document):
    """A form: its fields in order, and how often it was submitted."""

    slug: Annotated[Slug, Indexed(unique=True)]
    title: str
    fields: list[FormField] = Field(default_factory=list)
    is_open: bool = True
    submissions: int = 0

    class Settings:
        """Collection ``forms``."""

        name = "forms"
        validate_on_save = True

    def checked(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answers as they are stored, in the form's order.

        Raises:
            InvalidAnswers: a field is unknown, missing or does not fit; all problems at once.
        """
        known = {field.name for field in self.fields}
        problems = {name: "is not a field of this form" for name in answers if name not in known}
        stored: dict[str, Any] = {}
        for field in self.fields:
            answer = answers.get(field.name)
            if answer in (None, "", []):
                if field.required:
                    problems[field.name] = "is required"
                continue
            try:
                stored[field.name] = field.checked(answer)
            except ValueError as error:
                problems[field.name] = str(error)
        if problems:
            raise InvalidAnswers(problems)
        return stored


class Submission(DocumentWithSoftDelete):
    """The answers one visitor gave. ``delete()`` hides it, ``hard_delete()`` erases it."""

    form: Link[Form]
    answers: dict[str, Any]
    user: Link[User] | None = None
    submitted_at: Instant = Field(default_factory=now)

    class Settings:
        """Collection ``submissions``."""

        name = "submissions"
        indexes: ClassVar = [
            IndexModel([("form.$id", ASCENDING), ("submitted_at", DESCENDING)], name="by_form"),
        ]
