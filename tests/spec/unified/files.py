"""Where the specification tests are, and one value per test in them.

The JSON files are MongoDB's own (https://github.com/mongodb/specifications), kept outside this
repository: in ``../shared/spec-tests`` beside the checkout, or where ``ODM_SPEC_TESTS`` says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import json_util

ROOT = Path(__file__).parents[3]
# Naive datetimes and undecoded UUIDs, as the driver's clients return them by default.
_JSON = json_util.JSONOptions(tz_aware=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecTest:
    """One test of one file.

    Attributes:
        id: ``"crud/find.json::<description>"``, stable from run to run.
        file: the file's document: ``{"schemaVersion": …, "createEntities": […], …}``.
        test: the test's document: ``{"description": …, "operations": […], …}``.
    """

    id: str
    file: Mapping[str, Any]
    test: Mapping[str, Any]


def spec_directory() -> Path:
    """Return the directory of the specification tests, which may not exist."""
    if given := os.environ.get("ODM_SPEC_TESTS"):
        return Path(given)
    return ROOT.parent / "shared" / "spec-tests"


def spec_tests(directory: Path, *, sample: int = 1) -> Iterator[SpecTest]:
    """Yield the unified tests below *directory*, in the order of the files' names.

    Args:
        directory: where the JSON files are, in folders of any depth.
        sample: take the first of each file, and every *sample*-th after it.
    """
    for path in sorted(directory.rglob("*.json")):
        file = json_util.loads(path.read_text(encoding="utf-8"), json_options=_JSON)
        if "schemaVersion" not in file:
            continue  # an older format of test
        parts = [part for part in path.relative_to(directory).parts if part != "unified"]
        for test in file["tests"][::sample]:
            identifier = f"{'/'.join(parts)}::{test['description']}"
            yield SpecTest(id=identifier, file=file, test=test)
