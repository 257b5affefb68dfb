from __future__ import annotations

import os
import subprocess
import sys

import pytest


def completed(line: str, how: str = "bash") -> list[str]:
    """Return what a shell offers at the end of *line*."""
    words = line.split(" ")
    variables = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[how]
    ran = subprocess.run(
        [sys.executable, "-c", "import sys; from odm.cli.main import main; sys.exit(main())"],
        env={"PATH": os.environ["PATH"], "_ODM_COMPLETE": f"complete_{how}", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.split()


@pytest.mark.parametrize("how", ["bash", "zsh", "fish"])
def test_commands_are_completed(how: str) -> None:
    offered = " ".join(completed("odm p", how))
    assert "package" in offered
    assert "ping" in offered
    assert "tunnel" not in offered


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("odm t", ["tunnel"]),
        ("odm tunnel --r", ["--read-only"]),
        ("odm package --arch", ["--architecture"]),
        ("odm package --architecture ", ["x86_64", "arm64"]),
        ("odm package --runtime python3.1", ["python3.11", "python3.12", "python3.13"]),
        ("odm cost --architecture a", ["arm64"]),
        ("odm cost --profile ", ["flat", "office", "evening"]),
        ("odm demo --transport l", ["lambda"]),
    ],
)
def test_options_and_values_are_completed(line: str, values: list[str]) -> None:
    assert completed(line) == values


def test_the_script_for_a_shell_is_shown() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "odm.cli.main", "--show-completion", "bash"],
        env={"PATH": os.environ["PATH"], "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_ODM_COMPLETE=complete_bash" in ran.stdout
