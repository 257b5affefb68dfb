from __future__ import annotations

from odm.cli.package.contents import Distribution, find_in, needed
from odm.cli.package.target import Architecture, Runtime, Target

TARGET = Target(Architecture.ARM64, Runtime.PYTHON_3_12)


def kept(*paths: str) -> set[str]:
    found = Distribution("d", "1", dict.fromkeys(paths, b""))
    return set(needed(found, {"pkg", "single"}, TARGET).files)


def test_packages_that_nothing_imports_are_left_out() -> None:
    assert kept("pkg/a.py", "pkg/data.dat", "gridfs/a.py", "single.py") == {
        "pkg/a.py",
        "pkg/data.dat",
        "single.py",
    }


def test_what_never_runs_is_left_out() -> None:
    extension = "pkg/x.cpython-312-aarch64-linux-gnu.so"
    other = "pkg/x.cpython-39-aarch64-linux-gnu.so"
    stable = "pkg/y.abi3.so"
    assert kept(
        *(extension, other, stable, "pkg/x.c", "pkg/x.pyi", "pkg/py.typed"),
        "pkg/__pycache__/a.cpython-312.pyc",
    ) == {extension, stable}


def test_of_the_metadata_stays_what_is_read_and_what_must_travel() -> None:
    about = "d-1.dist-info"
    assert kept(
        *(f"{about}/METADATA", f"{about}/licenses/LICENSE", f"{about}/RECORD"),
        *(f"{about}/direct_url.json", f"{about}/INSTALLER", f"{about}/WHEEL"),
    ) == {f"{about}/METADATA", f"{about}/licenses/LICENSE"}


def test_a_module_is_found_as_a_file_or_a_package() -> None:
    find = find_in({"pkg/__init__.py": b"1", "pkg/a.py": b"2"})
    assert find("pkg") == (b"1", True)
    assert find("pkg.a") == (b"2", False)
    assert find("pkg.b") is None
