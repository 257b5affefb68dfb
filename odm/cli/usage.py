"""What is said of a command line that the parser refuses: what is wrong, and what to write instead.

The parser's exceptions are known by their names, for typer ≥ 0.26 has some of its own, and earlier
ones take click's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from transports.url import redact

_EXAMPLE = re.compile(r"^\s*(?:Examples?:\s*)?(odm .+)$", re.MULTILINE)
_EXTRA = re.compile(r"Got unexpected extra argument(?:s|\(s\))? \((?P<words>.*)\)", re.DOTALL)
_OF_PYDANTIC = (
    (re.compile(r"^Value error, "), ""),
    (re.compile(r"^Input should be (?P<what>.*?)(?:, unable to .*)?$"), r"it should be \g<what>"),
)


@dataclass(frozen=True, slots=True)
class _Called:
    """The command that was called, or the whole program, and what stands before its options."""

    path: str
    command: Any
    program: Any

    @property
    def is_program(self) -> bool:
        return self.command is self.program


def explain(error: Any, program: Any, arguments: Sequence[str]) -> str:
    """Return what to say of *error*, on one line, without credentials.

    Args:
        error: the parser's.
        program: its command of commands.
        arguments: what stood after ``odm``.
    """
    called = _called(error, program, arguments)
    message = _message(error, called, arguments)
    # A question ends by itself.
    end = "" if message.endswith("?") else ";"
    return redact(f"{message}{end} {called.path} --help says more")


def _called(error: Any, program: Any, arguments: Sequence[str]) -> _Called:
    context = getattr(error, "ctx", None)
    if context is not None:
        return _Called(context.command_path, context.command, context.find_root().command)
    for name in _commands(program, arguments):
        return _Called(f"odm {name}", program.commands[name], program)
    return _Called("odm", program, program)


def _commands(program: Any, arguments: Sequence[str]) -> Iterator[str]:
    return (each for each in arguments if each in program.commands)


def _message(error: Any, called: _Called, arguments: Sequence[str]) -> str:
    match type(error).__name__:
        case "NoSuchOption":
            return _no_such_option(error.option_name, called, arguments)
        case "MissingParameter":
            return _missing(error, called)
        case "BadOptionUsage":
            return _bad_option(error, called)
        case "BadParameter":
            for pattern, better in _OF_PYDANTIC:
                error.message = pattern.sub(better, error.message)
        case _:
            if called.is_program and (unknown := _unknown_command(error, called.program)):
                return unknown
            if extra := _EXTRA.fullmatch(error.message):
                return f"unexpected {extra['words']!r}: {_takes(called)}"
    return _in_a_sentence(error)


def _in_a_sentence(error: Any) -> str:
    message = str(error.format_message()).rstrip(".")
    return message[:1].lower() + message[1:]


def _no_such_option(option: str, called: _Called, arguments: Sequence[str]) -> str:
    message = f"no such option: {option}"
    if called.is_program:
        for name in _commands(called.program, arguments):
            if option in _options(called.program.commands[name]):
                return f"{message} before the command; write odm {name} {option}"
    elif option in _options(called.program):
        return f"{message} after the command; write odm {option} … {called.path[len('odm ') :]}"
    known = _options(called.command)
    close = [each for each in known if option.startswith("--") and each.startswith(option)]
    close = close or get_close_matches(option, known, n=1)
    return f"{message}: did you mean {' or '.join(close)}?" if close else message


def _missing(error: Any, called: _Called) -> str:
    message = _in_a_sentence(error)
    if example := _EXAMPLE.search(called.command.help or ""):
        message += f": write e.g. {example[1].partition(', ')[0].strip()}"
    if variable := getattr(error.param, "envvar", None):
        message += f", or set {variable}"
    return message


def _bad_option(error: Any, called: _Called) -> str:
    message, option = _in_a_sentence(error), error.option_name
    if "requires an argument" not in message:
        return message
    message = f"{option} needs a value"
    for param in called.command.params:
        if option not in param.opts:
            continue
        if param.metavar:
            return f"{message}: write {option} {param.metavar}"
        if isinstance(param.default, int | float | str):
            return f"{message}: write e.g. {option} {param.default}"
    return message


def _unknown_command(error: Any, program: Any) -> str | None:
    found = re.match(r"No such command '(?P<name>.*?)'", error.message, re.DOTALL)
    if found is None:
        return None
    message = f"no such command: {found['name']}"
    if close := get_close_matches(found["name"], program.commands, n=1):
        return f"{message}: did you mean {close[0]}?"
    return f"{message}; there are {', '.join(program.commands)}"


def _takes(called: _Called) -> str:
    names = [
        param.metavar or param.name.upper()
        for param in called.command.params
        if param.param_type_name == "argument"
    ]
    return f"{called.path} takes {' '.join(names) if names else 'no argument'}, and options"


def _options(command: Any) -> list[str]:
    """Return the names of a command's options."""
    found = [
        name
        for param in command.params
        if param.param_type_name == "option"
        for name in (*param.opts, *param.secondary_opts)
    ]
    return [*found, "--help"]
