"""deploy/terraform as text (python-hcl2), and as Terraform itself runs it.

Terraform is used where it is found, with an AWS provider that it can download, or that lies in a
filesystem mirror below /opt, /usr/share or /usr/local/share, or in ``ODM_TERRAFORM_PLUGINS``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

MODULE = Path(__file__).parents[2] / "deploy" / "terraform"
_PROVIDER = "registry.terraform.io/hashicorp/aws"
_PLACES = ("/opt", "/usr/share", "/usr/local/share")


@cache
def text() -> str:
    """The module, all files in one."""
    return "\n".join(path.read_text() for path in sorted(MODULE.glob("*.tf")))


def blocks(kind: str) -> dict[str, dict[str, Any]]:
    """The module's blocks of a kind: ``variable`` by name, ``resource`` by ``type.name``."""
    found = {}
    for path in sorted(MODULE.glob("*.tf")):
        with path.open() as file:
            parsed = hcl2.load(file)
        for block in parsed.get(kind, []):
            labels = []
            while len(block) == 1:
                [(label, block)] = block.items()
                labels.append(label.strip('"'))
            found[".".join(labels)] = block
    return found


def snake(name: str) -> str:
    """A parameter's name as Terraform's variables are named."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def variables(parameters: dict[str, str]) -> dict[str, Any]:
    """The template's parameters as values of the module's variables."""
    kinds = {name: block["type"] for name, block in blocks("variable").items()}
    given: dict[str, Any] = {}
    for parameter, value in parameters.items():
        name = snake(parameter)
        match str(kinds[name]).strip('"${}'):
            case "bool":
                given[name] = value == "true"
            case "number":
                given[name] = int(value)
            case "string":
                given[name] = value
            case _:
                given[name] = value.split(",") if value else []
    return given


def plugins() -> Path | None:
    """A filesystem mirror that holds the AWS provider."""
    named = os.environ.get("ODM_TERRAFORM_PLUGINS")
    places = [Path(named)] if named else []
    for place in _PLACES:
        places += [found.parents[2] for found in Path(place).glob(f"*/{_PROVIDER}")]
    return next((place for place in places if (place / _PROVIDER).is_dir()), None)


class Terraform:
    """A root module in a directory of its own."""

    def __init__(self, directory: Path, environment: dict[str, str] | None = None) -> None:
        self.directory = directory
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
            **(environment or {}),
            "CHECKPOINT_DISABLE": "1",
        }

    @staticmethod
    def is_there() -> bool:
        """Whether there is a Terraform."""
        return shutil.which("terraform") is not None

    def write(self, module: Path, given: dict[str, Any]) -> None:
        """Make a root module of one call of *module*."""
        root = {
            "module": {"proxy": {"source": str(module), **given}},
            "output": {"proxy": {"value": "${module.proxy}"}},
        }
        (self.directory / "main.tf.json").write_text(json.dumps(root))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``terraform`` with *arguments*."""
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def initialise(self) -> str:
        """Get the AWS provider. Returns what went wrong, ``""`` if nothing did."""
        mirror = plugins()
        from_mirror = [f"-plugin-dir={mirror}"] if mirror else []
        done = self.run("init", "-no-color", "-input=false", *from_mirror)
        return "" if done.returncode == 0 else done.stderr

    def show(self, *what: str) -> dict[str, Any]:
        """The resources of the state, or of a saved plan, by address within the module."""
        shown = json.loads(self.run("show", "-json", *what).stdout)
        values = shown.get("planned_values") or shown["values"]
        [module] = values["root_module"]["child_modules"]
        return {
            one["address"].removeprefix("module.proxy."): one["values"]
            for one in module["resources"]
            if one["mode"] == "managed"
        }
