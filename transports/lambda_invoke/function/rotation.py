"""A URI that is kept elsewhere, and changes there: when it is read again.

Lambda keeps an environment for hours and a SnapStart snapshot for weeks; a password may be replaced
meanwhile. Connections that are open stay open, new ones are refused: then the URI is read again, by
each environment for itself. Knows nothing of how it is read (`settings`, `references`), and nothing
of envelopes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from transports.lambda_invoke.function.settings import (
    PREFIX,
    ConfigurationError,
    FunctionSettings,
)

# AuthenticationFailed; of Atlas, AtlasError: "bad auth : authentication failed".
REFUSED_CODES = frozenset({18, 8000})
# A user who is locked out stays so: ask the keeper of the secret seldom, it is paid by the request.
_APART_S = 30.0

_log = logging.getLogger("odm.proxy")


class Rotation:
    """The settings as they were read last.

    Args:
        settings: what was read when the function initialised.
        environment: its variables.
        now: a monotonic clock, seconds.
    """

    def __init__(
        self,
        settings: FunctionSettings,
        environment: Mapping[str, str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._now = now
        self._not_before = 0.0
        self._by_reference = not environment.get(PREFIX + "MONGODB_URI", "").strip()

    @property
    def settings(self) -> FunctionSettings:
        """The settings, with the URI that was read last."""
        return self._settings

    def read_again(self) -> bool:
        """Read the URI again, if it is kept elsewhere and was not just read. Returns if it changed.

        Never raises: where it cannot be read, the last one holds, and the log says why.
        """
        if not self._by_reference or self._now() < self._not_before:
            return False
        self._not_before = self._now() + _APART_S
        try:
            settings = FunctionSettings.from_environment(self._environment)
        except ConfigurationError as error:
            _log.warning("the MongoDB URI was not read again: %s", error)
            return False
        changed = settings.mongodb_uri != self._settings.mongodb_uri
        self._settings = settings
        return changed
