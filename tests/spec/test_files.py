from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.spec.unified.files import spec_directory, spec_tests


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def test_ids_name_folder_file_and_test(tmp_path: Path) -> None:
    tests = [{"description": str(number), "operations": []} for number in range(4)]
    write(tmp_path / "crud" / "unified" / "find.json", {"schemaVersion": "1.0", "tests": tests})
    write(tmp_path / "crud" / "old.json", {"tests": tests})

    assert [test.id for test in spec_tests(tmp_path)] == [
        f"crud/find.json::{number}" for number in range(4)
    ]
    assert [test.id for test in spec_tests(tmp_path, sample=3)] == [
        "crud/find.json::0",
        "crud/find.json::3",
    ]


def test_folder_may_be_absent(tmp_path: Path) -> None:
    assert list(spec_tests(tmp_path / "absent")) == []


def test_folder_is_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODM_SPEC_TESTS", str(tmp_path))
    assert spec_directory() == tmp_path
