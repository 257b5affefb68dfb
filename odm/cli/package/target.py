"""Where a bundle is to run: an instruction set and a Python runtime of AWS Lambda.

Owns what AWS says of them, and how wheels name them.

Spec: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html,
https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from enum import StrEnum

_OLDEST_GLIBC = 5  # manylinux1's


class Architecture(StrEnum):
    """The instruction sets of AWS Lambda, in its words."""

    X86_64 = "x86_64"
    ARM64 = "arm64"

    @property
    def machine(self) -> str:
        """What Linux and wheels call it."""
        return "aarch64" if self is Architecture.ARM64 else "x86_64"

    @property
    def elf_machine(self) -> int:
        """``e_machine`` of its shared objects (``EM_X86_64``, ``EM_AARCH64``)."""
        return 183 if self is Architecture.ARM64 else 62


class Runtime(StrEnum):
    """The runtimes that the function supports, as AWS names them."""

    PYTHON_3_11 = "python3.11"
    PYTHON_3_12 = "python3.12"
    PYTHON_3_13 = "python3.13"

    @property
    def minor(self) -> int:
        """The 11 of 3.11."""
        return int(self.value.rpartition(".")[2])

    @property
    def glibc_minor(self) -> int:
        """The 34 of its glibc 2.34: Amazon Linux 2 until Python 3.11, then Amazon Linux 2023."""
        return 26 if self is Runtime.PYTHON_3_11 else 34


@dataclass(frozen=True, slots=True)
class Target:
    """One instruction set and one runtime."""

    architecture: Architecture
    runtime: Runtime

    def __str__(self) -> str:
        return f"{self.runtime} on {self.architecture}"

    @property
    def platforms(self) -> list[str]:
        """The platform tags of the wheels that run there, the most specific first."""
        machine = self.architecture.machine
        glibc = range(self.runtime.glibc_minor, _OLDEST_GLIBC - 1, -1)
        names = [*(f"manylinux_2_{n}" for n in glibc), "manylinux2014", "manylinux2010"]
        return [f"{name}_{machine}" for name in names]

    @property
    def abis(self) -> tuple[str, ...]:
        """The ABI tags of those wheels."""
        return f"cp3{self.runtime.minor}", "abi3", "none"

    @property
    def is_this_machine(self) -> bool:
        """Whether its shared objects can be loaded here, under a Python of its version."""
        return sys.platform == "linux" and platform.machine() == self.architecture.machine


def this_architecture() -> Architecture:
    """Return this machine's, or the one that AWS Lambda takes where none is named."""
    arm = platform.machine().lower() in ("aarch64", "arm64")
    return Architecture.ARM64 if arm else Architecture.X86_64


def this_runtime() -> Runtime:
    """Return the runtime of this interpreter's version."""
    return Runtime(f"python3.{sys.version_info.minor}")
