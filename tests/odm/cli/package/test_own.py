from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from odm.cli.failures import CommandFailed
from odm.cli.package import own

ROOT = Path(__file__).parents[4]


def test_the_handlers_modules_are_taken_and_nothing_that_it_does_not_import() -> None:
    files = own.own_distribution().files
    assert "transports/lambda_invoke/function/app.py" in files
    assert "transports/lambda_invoke/function/policy/policy.py" in files
    others = ("odm/", "transports/endpoint/", "transports/fake/", "transports/local_lambda/")
    assert [path for path in files if path.startswith(others)] == []
    assert "transports/lambda_invoke/backend.py" not in files
    assert "transports/registry.py" not in files


def test_the_metadata_says_the_release_and_nothing_of_this_machine() -> None:
    own_files = own.own_distribution().files
    [metadata] = [data for path, data in own_files.items() if path.endswith("METADATA")]
    assert f"Version: {version('odm-transports')}\n".encode() in metadata
    assert str(ROOT).encode() not in metadata
    assert any(path.endswith("dist-info/licenses/LICENSE") for path in own_files)


def absent(name: str) -> None:
    raise PackageNotFoundError(name)


def test_a_checkout_that_is_not_installed_knows_its_release(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own, "distribution", absent)
    assert own.own_version() == version("odm-transports")


def test_without_metadata_and_checkout_there_is_no_release(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(own, "distribution", absent)
    monkeypatch.setattr(own, "_root", lambda: tmp_path)
    with pytest.raises(CommandFailed, match="install it"):
        own.own_version()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """What an installed wheel puts into ``site-packages``."""
    packages = tmp_path / "site-packages"
    for name in ("odm", "transports"):
        shutil.copytree(
            ROOT / name, packages / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    about = packages / f"odm_transports-{version('odm-transports')}.dist-info"
    (about / "licenses").mkdir(parents=True)
    shutil.copy(ROOT / "LICENSE", about / "licenses" / "LICENSE")
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: odm-transports\nVersion: {version('odm-transports')}\n"
    )
    return packages


PRINT = """
from odm.cli.package.archive import content_sha256
from odm.cli.package.own import own_distribution
import transports
print(transports.__file__, content_sha256(own_distribution().files))
"""


@pytest.fixture
def checkout(installed: Path, tmp_path: Path) -> Path:
    """The same sources as a checkout has them."""
    root = tmp_path / "checkout"
    for name in ("odm", "transports"):
        shutil.copytree(installed / name, root / name)
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, root / name)
    return root


def digest_of(packages: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-B", "-c", PRINT],
        env={**os.environ, "PYTHONPATH": str(packages)},
        cwd=packages.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    where, digest = done.stdout.split()
    assert Path(where).is_relative_to(packages)
    return digest


def test_an_installed_wheel_gives_what_a_checkout_gives(installed: Path, checkout: Path) -> None:
    assert digest_of(installed) == digest_of(checkout)


def test_a_policy_is_put_where_its_variable_will_look_for_it() -> None:
    assert own.own_distribution(b'"readOnly"').files["policy.json"] == b'"readOnly"'
