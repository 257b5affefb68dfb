"""The options and arguments that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

URL_EXAMPLES = (
    "mongodb://localhost:27017/cms, motor+mongodb://…, "
    "lambda://db-proxy:live/cms?region=eu-central-1, fake:///cms or embedded:///cms"
)

UrlArgument = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        envvar="ODM_URL",
        help=f"How to reach MongoDB: {URL_EXAMPLES}.",
        show_default=False,
    ),
]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Write one JSON document to stdout, for programs.")
]

QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing about the work, only its result.")
]
