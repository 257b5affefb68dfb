from __future__ import annotations

import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from odm.cli.failures import CommandFailed, ExitCode
from odm.cli.package.interpreters import find_interpreter
from odm.cli.package.target import Runtime, Target, this_runtime

ANOTHER = next(runtime for runtime in Runtime if runtime is not this_runtime())


def test_this_python_serves_for_its_own_version(target: Target) -> None:
    found = find_interpreter(target)
    assert found is not None
    assert found.path == Path(sys.executable)
    assert found.version == platform.python_version()


def test_another_version_is_looked_for_on_the_path(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_interpreter(replace(target, runtime=ANOTHER)) is None
    script = tmp_path / ANOTHER.value
    script.write_text(f"#!/bin/sh\necho cpython 3 {ANOTHER.minor} 7\n")
    script.chmod(0o700)
    found = find_interpreter(replace(target, runtime=ANOTHER))
    assert found is not None
    assert (found.path, found.version) == (script, f"3.{ANOTHER.minor}.7")


def test_a_name_on_the_path_that_does_not_run_is_passed_over(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    script = tmp_path / ANOTHER.value
    script.write_text("#!/bin/sh\nexit 127\n")  # as a version manager's, where it is not active
    script.chmod(0o700)
    assert find_interpreter(replace(target, runtime=ANOTHER)) is None


def test_a_python_of_another_version_is_refused(target: Target) -> None:
    with pytest.raises(
        CommandFailed, match=f"this is Python .* needs Python 3.{ANOTHER.minor}"
    ) as e:
        find_interpreter(replace(target, runtime=ANOTHER), Path(sys.executable))
    assert e.value.code is ExitCode.USAGE
