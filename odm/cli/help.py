"""What ``--help`` shows of a command: paragraphs that fit the terminal, examples line by line.

A docstring is written in lines of the source's width. The parser would keep these on a terminal,
and in a pipe run examples together; and on a terminal it would take ``[100]`` for markup.
"""

from __future__ import annotations

from typing import Any

from rich.markup import escape

_AS_IT_IS = "\b\n"  # the parser's mark of a paragraph whose lines stay


def teach(command: Any, *, rich: bool) -> None:
    """Prepare the help of a parser's command and of those below it, in place.

    Args:
        command: click's, or typer's own.
        rich: whether the help will be read as markup.
    """
    for each in getattr(command, "commands", {}).values():
        teach(each, rich=rich)
    if command.help:
        command.help = flowing(escape(command.help) if rich else command.help)
        # By default the parser cuts it off in the list of commands.
        command.short_help = command.help.partition("\n\n")[0]
    if not rich:
        return
    for param in command.params:
        if getattr(param, "help", None):
            param.help = escape(param.help)


def flowing(text: str) -> str:
    """Return a docstring with each paragraph on one line, and each example on one of its own."""
    paragraphs: list[str] = []
    examples: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        lines = [line.strip() for line in paragraph.splitlines()]
        title, colon, rest = lines[0].partition(":")
        if colon and title in ("Example", "Examples"):
            examples += [line for line in (rest.strip(), *lines[1:]) if line]
        elif examples and lines[0].startswith("odm "):
            examples += lines
        else:
            paragraphs.append(" ".join(lines))
    if examples:
        title = "Example:" if len(examples) == 1 else "Examples:"
        paragraphs.append(_AS_IT_IS + "\n".join([title, *(f"  {each}" for each in examples)]))
    return "\n\n".join(paragraphs)
