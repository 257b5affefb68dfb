"""What a function's configuration accepts."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import pytest

from transports.local_lambda import FunctionConfiguration


def test_defaults_are_those_of_aws() -> None:
    configuration = FunctionConfiguration(name="f", handler="app.handler")
    assert configuration.memory_size_mb == 128
    assert configuration.timeout_s == 3
    assert configuration.init_timeout_s == 10
    assert configuration.reserved_concurrency is None
    assert configuration.versions == {"$LATEST"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a b"}, "function name 'a b'"),
        ({"name": "x" * 65}, "write 1 to 64"),
        ({"handler": ""}, r"write module\.function"),
        ({"handler": "app handler"}, r"write module\.function"),
        ({"memory_size_mb": 127}, "write 128 to 10240"),
        ({"timeout_s": 0}, "up to 900"),
        ({"timeout_s": 901}, "up to 900"),
        ({"init_timeout_s": 0}, "up to 900"),
        ({"idle_timeout_s": 0}, "more than 0"),
        ({"reserved_concurrency": -1}, "0 or more, or None"),
        ({"aliases": {"7": "1"}}, "not a number"),
        ({"aliases": {"live": "latest"}}, r"'\$LATEST' or a number"),
        ({"environment": {"AWS_REGION": "x", "_HANDLER": "y"}}, "AWS_REGION, _HANDLER"),
        ({"code": (Path("/nowhere/at/all"),)}, r"neither a directory nor a \.zip"),
    ],
)
def test_what_aws_refuses_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FunctionConfiguration(**{"name": "f", "handler": "app.handler"} | options)


def test_code_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.local_lambda.configuration.MAX_UNZIPPED_BYTES", 9)
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("app.py", b"0123456789")
    with pytest.raises(ValueError, match="10 bytes unzipped, must be smaller than 9 bytes"):
        FunctionConfiguration(name="f", handler="app.handler", code=(archive,))


def test_environment_is_copied_and_not_shown() -> None:
    environment = {"URI": "mongodb://user:secret@host"}
    configuration = FunctionConfiguration(name="f", handler="app.handler", environment=environment)
    environment.clear()
    assert configuration.environment == {"URI": "mongodb://user:secret@host"}
    assert "secret" not in repr(configuration)


def test_credentials_of_the_role_can_be_given() -> None:
    configuration = FunctionConfiguration(
        name="f", handler="app.handler", environment={"AWS_ACCESS_KEY_ID": "AKIA"}
    )
    assert configuration.environment["AWS_ACCESS_KEY_ID"] == "AKIA"


def test_configuration_can_be_replaced(tmp_path: Path) -> None:
    configuration = FunctionConfiguration(name="f", handler="a.b", code=(tmp_path,))
    changed = dataclasses.replace(configuration, aliases={"live": "3"})
    assert changed.versions == {"$LATEST", "3"}
