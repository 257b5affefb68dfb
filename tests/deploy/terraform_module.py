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


def provider() -> Path | None:
    """The directory of an AWS provider that lies in a filesystem mirror."""
    named = os.environ.get("ODM_TERRAFORM_PLUGINS")
    mirrors = [Path(named)] if named else []
    for place in _PLACES:
        mirrors += [found.parents[2] for found in Path(place).glob(f"*/{_PROVIDER}")]
    found = [one for mirror in mirrors for one in sorted(mirror.glob(f"{_PROVIDER}/*/*"))]
    return found[-1] if found else None


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

    def initialise(self) -> str:
        """Get modules and the AWS provider. Returns what went wrong, ``""`` if nothing did."""
        if found := provider():
            # Unlike a mirror, an override is not hashed: 700 MB, with every command.
            overrides = f'dev_overrides {{\n"hashicorp/aws" = "{found}"\n}}'
            configuration = self.directory / "terraform.rc"
            configuration.write_text(f"provider_installation {{\n{overrides}\n}}\n")
            self._environment["TF_CLI_CONFIG_FILE"] = str(configuration)
            done = self.run("get", "-no-color")
        else:
            done = self.run("init", "-no-color", "-input=false")
        return "" if done.returncode == 0 else done.stderr

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

    def planned(self, plan: str) -> dict[str, Any]:
        """The resources of a saved plan, by address within the module."""
        shown = json.loads(self.run("show", "-json", plan).stdout)
        [module] = shown["planned_values"]["root_module"]["child_modules"]
        return {
            one["address"].removeprefix("module.proxy."): one["values"]
            for one in module["resources"]
            if one["mode"] == "managed"
        }

    def made(self) -> dict[str, Any]:
        """The resources of the state, by address within the module."""
        state = json.loads((self.directory / "terraform.tfstate").read_text())
        return {
            f"{one['type']}.{one['name']}{_index(instance)}": instance["attributes"]
            for one in state["resources"]
            if one["mode"] == "managed"
            for instance in one["instances"]
        }

    def outputs(self) -> dict[str, Any]:
        """The module's outputs."""
        state = json.loads((self.directory / "terraform.tfstate").read_text())
        made: dict[str, Any] = state["outputs"]["proxy"]["value"]
        return made


def _index(instance: dict[str, Any]) -> str:
    return f"[{instance['index_key']}]" if "index_key" in instance else ""
