"""Runs one test of the unified format from its first document to its outcome.

Spec: unified test format, "Test Runner Implementation"
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from tests.spec.unified.deployment import Deployment
from tests.spec.unified.entities import Entities
from tests.spec.unified.errors import match_error
from tests.spec.unified.events import match_events
from tests.spec.unified.files import SpecTest
from tests.spec.unified.matcher import Mismatch, match
from tests.spec.unified.operations import Unsupported, perform
from tests.spec.unified.special_operations import TestRunner

_TEST_TIMEOUT_S = 60.0


async def run_spec_test(spec_test: SpecTest, deployment: Deployment) -> None:
    """Run *spec_test*; returns if it passes, skips by pytest where it does not apply.

    Raises:
        Mismatch: something is not as the test expects.
        Exception: an operation failed that should not have.
    """
    file, test = spec_test.file, spec_test.test
    if not file["schemaVersion"].startswith("1."):
        pytest.skip(f"schema version {file['schemaVersion']}")
    for requirements in (file.get("runOnRequirements", []), test.get("runOnRequirements", [])):
        if reason := await deployment.unmet(requirements):
            pytest.skip(reason)
    if "skipReason" in test:
        pytest.skip(test["skipReason"])
    async with asyncio.timeout(_TEST_TIMEOUT_S):
        await _Run(file, test, deployment).run()


class _Run:
    def __init__(
        self, file: Mapping[str, Any], test: Mapping[str, Any], deployment: Deployment
    ) -> None:
        self._file = file
        self._test = test
        self._deployment = deployment
        self._entities = Entities(deployment.uri)
        self._runner = TestRunner(deployment, self._entities, self._perform_all)

    async def run(self) -> None:
        # Only tests with transactions leave any open, but any test may meet what one left.
        transactions = any("session" in entity for entity in self._file.get("createEntities", []))
        if transactions:
            await self._deployment.end_transactions()
        await self._deployment.load(self._file.get("initialData", []))
        self._entities.add("$callback", self._callback)
        try:
            await self._entities.create(self._file.get("createEntities", []))
            await self._perform_all(self._test["operations"])
            await self._runner.join_threads()
            for expectation in self._test.get("expectEvents") or []:
                log = self._entities.logs[expectation["client"]]
                match_events(expectation, log, self._entities)
        except Unsupported as reason:
            pytest.skip(str(reason))
        finally:
            await self._runner.clean_up()
            if transactions:
                await self._deployment.end_transactions()
            await self._entities.close()
        await self._deployment.check_outcome(self._test.get("outcome") or [])

    async def _perform_all(self, operations: Sequence[Mapping[str, Any]]) -> None:
        for operation in operations:
            await self._perform(operation)

    async def _callback(self, operations: Sequence[Mapping[str, Any]]) -> None:
        """The callback of ``withTransaction``, to which an expected error is still an error."""
        for operation in operations:
            if error := await self._perform(operation):
                raise error

    async def _perform(self, operation: Mapping[str, Any]) -> Exception | None:
        """Run one operation; returns the error that was expected or is to be ignored."""
        name, arguments = operation["name"], operation.get("arguments") or {}
        if operation["object"] == "testRunner":
            await self._runner.perform(name, arguments)
            return None
        expected_error = operation.get("expectError")
        try:
            target = self._entities[operation["object"]]
            result = await perform(target, name, arguments, self._entities)
        except (Unsupported, Mismatch):
            raise
        except Exception as error:
            self._skip_without_secondary(error)
            if expected_error is not None:
                match_error(expected_error, error, self._entities)
            elif not operation.get("ignoreResultAndError"):
                raise
            return error
        if expected_error is not None:
            raise Mismatch(f"{name}: expected the error {expected_error}, got {result!r}")
        if "expectResult" in operation:
            match(operation["expectResult"], result, self._entities, path=name)
        if "saveResultAsEntity" in operation:
            self._entities.add(operation["saveResultAsEntity"], result)
        return None

    def _skip_without_secondary(self, error: Exception) -> None:
        # No requirement in the files can say it.
        wanted = isinstance(error, ServerSelectionTimeoutError) and "Secondary(" in str(error)
        if wanted and self._deployment.has_no_secondary:
            pytest.skip(
                "needs a secondary: try --spec-url 'embedded:///?members=3&testCommands=true'"
            )
