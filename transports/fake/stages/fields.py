"""A projection as a tree of fields: what is kept, what is dropped, what is computed.

Shared by the stages that reshape documents and by the projection of find.

Spec: https://www.mongodb.com/docs/manual/reference/operator/aggregation/project/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from transports.fake.errors import INVALID_PIPELINE_OPERATOR, CommandFailure
from transports.fake.expressions.names import check_path
from transports.fake.expressions.operators import OPERATORS, UNSUPPORTED
from transports.fake.expressions.scope import Expression, Variables
from transports.fake.paths import Parts
from transports.fake.values import MISSING, NUMBER_TYPES, Document, as_decimal, is_nan

Compile = Callable[[Any], Expression]


@dataclass(slots=True)
class Level:
    """The fields of one level of nesting.

    Attributes:
        named: fields that are kept (inclusion) or dropped (exclusion).
        children: fields with fields of their own in the projection.
        computed: fields with an expression.
        order: computed fields and children, as the specification has them.
    """

    named: set[str] = field(default_factory=set)
    children: dict[str, Level] = field(default_factory=dict)
    computed: dict[str, Expression] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    computes: bool = False

    def included(self, document: Document) -> Document:
        """Return the named fields of a document, in its order; nothing computed."""
        if not self.children:
            named = self.named
            return {name: value for name, value in document.items() if name in named}
        result = {}
        for name, value in document.items():
            if name in self.named:
                result[name] = value
            elif name in self.children:
                kept = self.children[name]._included_value(value)
                if kept is not MISSING:
                    result[name] = kept
        return result

    def _included_value(self, value: Any) -> Any:
        if type(value) is dict:
            return self.included(value)
        if type(value) is list:
            kept = [self._included_value(element) for element in value]
            return [element for element in kept if element is not MISSING]
        return value if self.computes else MISSING

    def excluded(self, document: Document) -> Document:
        """Return a document without the named fields."""
        result = {}
        for name, value in document.items():
            if name in self.named:
                continue
            child = self.children.get(name)
            result[name] = value if child is None else child._excluded_value(value)
        return result

    def _excluded_value(self, value: Any) -> Any:
        if type(value) is dict:
            return self.excluded(value)
        if type(value) is list:
            return [self._excluded_value(element) for element in value]
        return value

    def compute(self, target: Document, root: Document, variables: Variables) -> Document:
        """Return a document with the computed fields put in; ``root`` is what they see."""
        result = dict(target)
        for name in self.order:
            expression = self.computed.get(name)
            if expression is not None:
                value = expression(root, variables)
            else:
                child = self.children[name]
                if not child.computes:
                    continue
                value = child._computed_value(result.get(name, MISSING), root, variables)
            if value is MISSING:
                result.pop(name, None)
            else:
                result[name] = value
        return result

    def _computed_value(self, value: Any, root: Document, variables: Variables) -> Any:
        if type(value) is dict:
            return self.compute(value, root, variables)
        if type(value) is list:
            return [self._computed_value(element, root, variables) for element in value]
        return self.compute({}, root, variables)

    def put(self, parts: Parts, expression: Expression | None) -> None:
        """Add a path: named, or with an expression.

        Raises:
            CommandFailure: 31249 or 31250 if the path collides with another.
        """
        level = self
        for depth, part in enumerate(parts[:-1]):
            if part in level.named or part in level.computed:
                raise CommandFailure(
                    31249,
                    f"Path collision at {'.'.join(parts)} remaining portion "
                    f"{'.'.join(parts[depth + 1 :])}",
                )
            if part not in level.children:
                level.children[part] = Level()
                level.order.append(part)
            level.computes = level.computes or expression is not None
            level = level.children[part]
        last = parts[-1]
        if last in level.named or last in level.computed or last in level.children:
            raise CommandFailure(31250, f"Path collision at {'.'.join(parts)}")
        if expression is None:
            level.named.add(last)
        else:
            level.computed[last] = expression
            level.order.append(last)
            level.computes = True


def is_flag(value: Any) -> bool:
    """Tell whether a value of a projection only says whether a field is there."""
    return type(value) is bool or type(value) in NUMBER_TYPES


def flag(value: Any) -> bool:
    """Return whether the field is there."""
    if type(value) is bool:
        return bool(value)
    return is_nan(value) or as_decimal(value) != 0


def is_nested(value: Any) -> bool:
    """Tell whether a value is a specification of fields inside the field."""
    return type(value) is dict and not any(name.startswith("$") for name in value)


def leaves(
    spec: Mapping[str, Any],
    prefix: Parts = (),
    *,
    empty: int = 51270,
    parts_of: Callable[[str], Parts] = check_path,
    enter: Callable[[Parts], None] = lambda parts: None,
) -> Iterator[tuple[Parts, Any]]:
    """Yield ``(path, value)`` of each leaf of a projection; nested documents are paths.

    Args:
        spec: the projection.
        prefix: where it stands.
        empty: the code raised for an empty document in the place of a value.
        parts_of: takes a name apart, and refuses what is none.
        enter: told of each nested document before its fields.
    """
    for name, value in spec.items():
        if name.startswith("$"):
            raise CommandFailure(
                16410,
                "FieldPath field names may not start with '$'. Consider using $getField or "
                f"$setField. {name}",
            )
        parts = (*prefix, *parts_of(name))
        if is_nested(value):
            if not value:
                raise CommandFailure(
                    empty,
                    "An empty sub-projection is not a valid value. Found empty object at path "
                    f"{'.'.join(parts)}",
                )
            enter(parts)
            yield from leaves(value, parts, empty=empty, parts_of=parts_of, enter=enter)
        else:
            yield parts, value


@dataclass(frozen=True, slots=True)
class Projection:
    """A whole projection.

    Attributes:
        level: its top level.
        including: named fields are kept rather than dropped.
    """

    level: Level
    including: bool

    def __call__(self, document: Document, variables: Variables) -> Document:
        """Return the projected document; the argument is never changed."""
        if not self.including:
            return self.level.excluded(document)
        kept = self.level.included(document)
        if self.level.computes:
            return self.level.compute(kept, document, variables)
        return kept


class Parser:
    """One pass over a projection, which checks its parts in the order they are written.

    Attributes:
        including: whether fields are kept or dropped; None until a field has decided it.
        id_flag: what ``_id: 0`` or ``_id: 1`` said.
        entries: path and expression (None for a field that is named) of each field.
    """

    def __init__(self, compile_value: Compile) -> None:
        self._compile = compile_value
        self._claimed = Level()
        self.including: bool | None = None
        self.id_flag: bool | None = None
        self.entries: list[tuple[Parts, Expression | None]] = []

    def parse(self, spec: Mapping[str, Any]) -> Projection:
        """Return the projection.

        Raises:
            CommandFailure: 31253, 31254 for a mixture, 31249, 31250 for paths that collide, …
        """
        for parts, value in leaves(spec, parts_of=self.parts_of, enter=self.enter):
            self.add(parts, value)
        return self.finished(self.default_kind() if self.including is None else self.including)

    def finished(self, including: bool) -> Projection:
        """Return the projection of the fields taken."""
        level = Level()
        for parts, expression in self.entries:
            level.put(parts, expression)
        keep_id = self.id_flag is not False
        if "_id" in level.children:
            keep_id = not including
        if keep_id == including and "_id" not in level.computed:
            level.named.add("_id")
        return Projection(level, including)

    def parts_of(self, name: str) -> Parts:
        """Take a name apart."""
        if name.endswith(".$"):
            raise CommandFailure(
                31324,
                "Invalid $project :: caused by :: Cannot use positional projection in aggregation "
                "projection",
            )
        return check_path(name)

    def enter(self, parts: Parts) -> None:
        """Raise if a field that a nested document stands for has been taken."""
        level = self._claimed
        for part in parts[:-1]:
            if part not in level.children:
                return
            level = level.children[part]
        if parts[-1] in level.named:
            raise CommandFailure(31250, f"Path collision at {'.'.join(parts)}")

    def default_kind(self) -> bool:
        """Tell whether a projection that names no field but ``_id`` includes."""
        return self.id_flag is True

    def add(self, parts: Parts, value: Any) -> None:
        """Take the next field."""
        if is_flag(value):
            self.claim(parts)
            if parts == ("_id",):
                self.id_flag = flag(value)
            else:
                self.decide(parts, including=flag(value))
                self.entries.append((parts, None))
        elif type(value) is dict:
            self.operator(parts, value)
        else:
            self.claim(parts)
            if self.including is False:
                raise CommandFailure(
                    31310,
                    "Invalid $project :: caused by :: Cannot use an expression "
                    f"{'.'.join(parts)} in an exclusion projection",
                )
            self.compute(parts, value, claimed=True)

    def decide(self, parts: Parts, *, including: bool) -> None:
        """Let a field decide whether this is an inclusion, or refuse a mixture."""
        if self.including is None:
            self.including = including
        elif self.including != including:
            name = ".".join(parts)
            if including:
                raise CommandFailure(
                    31253,
                    f"Invalid $project :: caused by :: Cannot do inclusion on field {name} in "
                    "exclusion projection",
                )
            raise CommandFailure(
                31254,
                f"Invalid $project :: caused by :: Cannot do exclusion on field {name} in "
                "inclusion projection",
            )

    def operator(self, parts: Parts, value: Document) -> None:
        """Take a field with an expression's operator."""
        name = next(iter(value))
        if len(value) > 1:
            raise CommandFailure(16410, f"FieldPath field names may not start with '$'. {name}")
        if name == "$elemMatch":
            raise CommandFailure(
                INVALID_PIPELINE_OPERATOR,
                "Invalid $project :: caused by :: Cannot use $elemMatch in this context",
            )
        if name not in OPERATORS and name not in UNSUPPORTED:
            raise CommandFailure(
                31325, f"Invalid $project :: caused by :: Unknown expression {name}"
            )
        if self.including is False:
            raise CommandFailure(
                31252,
                "Invalid $project :: caused by :: Cannot use expression other than $meta in "
                "exclusion projection",
            )
        self.compute(parts, value)

    def compute(self, parts: Parts, value: Any, *, claimed: bool = False) -> None:
        """Take a field with an expression."""
        expression = self._compile(value)
        if not claimed:
            self.claim(parts)
        self.including = True
        self.entries.append((parts, expression))

    def claim(self, parts: Parts) -> None:
        """Raise if the path collides with one before it."""
        self._claimed.put(parts, None)


def compile_fields(spec: Mapping[str, Any], compile_value: Compile) -> Projection:
    """Compile inclusion or exclusion with computed fields, as ``$project`` takes it.

    Raises:
        CommandFailure: 31253, 31254 for a mixture, 51272 for nothing, …
    """
    if not spec:
        raise CommandFailure(
            51272,
            "Invalid $project :: caused by :: projection specification must have at least one "
            "field",
        )
    return Parser(compile_value).parse(spec)
