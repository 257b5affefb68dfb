"""What is to be examined; `odm.cli.doctor.examine` does it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from transports.url import TransportURL


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is to be examined.

    Attributes:
        url: the URL.
        environment: of this process.
        caller: the Lambda function that the application is; None for this process.
        connect: whether to open the URL and look names up, or to ask AWS alone.
        timeout_s: seconds for opening the URL.
        connection_limit: connections that one server accepts, if that is known.
        read_uri: whether to read a URI that the function has from a secret or a parameter.
        code: the application's source.
        today: the day for ends of life.
    """

    url: TransportURL
    environment: Mapping[str, str]
    caller: str | None = None
    connect: bool = True
    timeout_s: float = 35.0
    connection_limit: int | None = None
    read_uri: bool = False
    code: Path | None = None
    today: datetime.date
