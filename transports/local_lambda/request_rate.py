"""How many synchronous requests a second are served: ten for each execution environment, on AWS.

Owns the counting. "Each instance of your execution environment can serve up to 10 requests per
second", so a function with a reserved concurrency of 15 is served 150, however short they are; the
others share ten times what the account has left. Specification:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html#api-requests. How AWS
measures a second it does not say: here a bucket holds one second's requests, and fills evenly.
"""

from __future__ import annotations

import math


class RequestRate:
    """The requests of one function, or of all those without reserved concurrency.

    Args:
        per_environment: requests a second for each unit of concurrency.
    """

    def __init__(self, per_environment: float) -> None:
        self._per_environment = per_environment
        self._left = math.inf  # a full bucket
        self._when = 0.0

    def take(self, concurrency: int, now: float) -> bool:
        """Take one request, if there is one left.

        Args:
            concurrency: how many environments there may be, at this moment.
            now: seconds, of a clock that does not go back.
        """
        a_second = self._per_environment * concurrency
        self._left = min(a_second, self._left + a_second * (now - self._when))
        self._when = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
