"""What README.md and the pages of docs/ say can be done as it stands there."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced blocks of a page in one of *languages*."""
    found = _BLOCK.findall(page.read_text("utf-8"))
    return [text for language, text in found if language in languages]


def lines_of_odm() -> list[Any]:
    """Return each ``odm …`` of the pages' shell blocks, with its page."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                while words and "=" in words[0]:  # variables
                    del words[0]
                if words[:1] == ["odm"]:
                    name = f"{page.name}: {shlex.join(words)}"
                    found.append(pytest.param(words[1:], id=name[:90]))
    return found


async def test_the_readmes_python_runs() -> None:
    """Its two databases are in memory here."""
    names: dict[str, Any] = {"__name__": "readme"}
    application, repository, _ = blocks(README, "python")
    for text in (application, repository):
        text = re.sub(r"mongodb://(eu|us)/cms", r"fake:///\1", text)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(text, str(README), "exec", flags=flags, dont_inherit=True)
        result = eval(code, names)  # the page is ours
        if inspect.isawaitable(result):
            await result
    await names["main"]()


def test_the_readmes_tests_pass(tmp_path: Path) -> None:
    application, _, tests = blocks(README, "python")
    (tmp_path / "pages.py").write_text(application)
    for name, text in re.findall(r"^# (\w+\.py)\n(.*?)(?=^# \w+\.py|\Z)", tests, re.M | re.S):
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in ran.stdout, ran.stdout


def test_the_quickstart_runs() -> None:
    ran = subprocess.run(
        [sys.executable, "examples/quickstart.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Hello 0" in ran.stdout
    assert "python examples/quickstart.py" in README.read_text("utf-8")


@pytest.mark.parametrize("words", lines_of_odm())
def test_a_command_line_that_is_shown_can_be_written(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is parsed as `odm` would parse it, not run."""
    import typer

    from odm.cli.app import _app

    monkeypatch.setenv("ODM_URL", "fake:///x")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wheels").mkdir()
    group: Any = typer.main.get_command(_app())
    for separator in (">", "|"):
        if separator in words:
            words = words[: words.index(separator)]
    if words and words[0] in group.commands:
        group.commands[words[0]].make_context(f"odm {words[0]}", list(words[1:]))
        return
    with contextlib.suppress(typer.Exit):  # --help ends it; --install-completion is not carried out
        group.make_context("odm", list(words), resilient_parsing="--help" not in words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    broken = []
    for link in _LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")
        for heading in headings
    }


def test_every_page_is_in_the_readmes_index() -> None:
    text = README.read_text("utf-8")
    pages = [f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")]
    assert [page for page in pages if f"]({page})" not in text] == []


def test_every_command_is_in_the_readme_and_in_the_page_on_the_command_line() -> None:
    import typer

    from odm.cli.app import _app

    group: Any = typer.main.get_command(_app())
    for page in (README, ROOT / "docs" / "cli.md"):
        text = page.read_text("utf-8")
        assert [name for name in group.commands if f"`odm {name}" not in text] == []


def test_what_the_requirements_name_is_there() -> None:
    from odm.cli.doctor.rules.catalogue import RULES

    text = (ROOT / "docs" / "requirements.md").read_text("utf-8")
    rules = {
        name
        for each in re.findall(r"rules? ((?:`[a-z-]+`(?:, )?)+)", text)
        for name in re.findall(r"`([a-z-]+)`", each)
    }
    assert rules - {rule.id for rule in RULES} == set()
    paths = re.findall(r"`((?:odm|transports|tests|benchmarks)/[\w./]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    modules = set(re.findall(r"`(test_\w+\.py)`", text))
    assert modules - {path.name for path in (ROOT / "tests").rglob("test_*.py")} == set()
