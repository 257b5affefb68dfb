"""One name means one thing, over all commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from odm.cli.app import _app

DIFFERENT = {
    "-c": "ping's is that of ping(8), bench's is for --contender",
    "-n": "both say how often something is measured: bench in --rounds, demo in --repeat",
    "--policy": "a FILE goes into package's bundle; local takes what ODM_PROXY_POLICY may be",
}


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(_app())
    return dict(group.commands)


def parameters() -> Iterator[tuple[str, str, Any]]:
    for command, parsed in commands().items():
        for parameter in parsed.params:
            for name in (*parameter.opts, *parameter.secondary_opts):
                yield command, name, parameter


def kind(parameter: Any) -> tuple[Any, ...]:
    """What a user has to know of an option: its long name, whether and what it takes."""
    longest = max(parameter.opts, key=len)
    takes_nothing = bool(getattr(parameter, "is_flag", False))
    return longest, takes_nothing, parameter.metavar, bool(getattr(parameter, "multiple", False))


def test_a_name_means_the_same_in_every_command() -> None:
    kinds: dict[str, set[tuple[Any, ...]]] = {}
    for _, name, parameter in parameters():
        kinds.setdefault(name, set()).add(kind(parameter))
    differing = {name for name, found in kinds.items() if len(found) > 1}
    assert differing == set(DIFFERENT) & set(kinds)


@pytest.mark.parametrize("name", ["--json", "--quiet", "-q"])
def test_every_command_has(name: str) -> None:
    having = {command for command, each, _ in parameters() if each == name}
    assert having == set(commands())


def test_every_option_and_argument_is_explained() -> None:
    unexplained = [
        f"{command} {name}"
        for command, name, parameter in parameters()
        if not getattr(parameter, "help", None)
    ]
    assert unexplained == []


def test_who_takes_one_url_takes_it_as_an_argument_or_from_the_environment() -> None:
    taking = {
        command: parameter.envvar for command, name, parameter in parameters() if name == "url"
    }
    assert taking == dict.fromkeys(("doctor", "ping", "tunnel"), "ODM_URL")


def test_names_of_options_have_hyphens_and_an_own_word() -> None:
    for _, name, _parameter in parameters():
        if name.startswith("--"):
            assert name == name.lower()
            assert "_" not in name
