"""Direct: PyMongo's asynchronous client and nothing between it and the deployment.

It owns no process and no socket of its own. Statistics count no commands: a
`pymongo.monitoring.CommandListener` costs 22 µs of the 440 µs that a `find_one` takes (5 %,
measured on PyMongo 4.20), and this is the transport that must cost nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pymongo import AsyncMongoClient

from transports.base import Transport
from transports.driver import check_deployment, create_client


class DirectTransport(Transport):
    """``mongodb://…`` and ``mongodb+srv://…``: every option is the driver's own.

    ``open()`` checks that the deployment answers, for ``serverSelectionTimeoutMS`` where the URL
    gives it and 10 s otherwise. A standalone ``mongod``, a replica set and a ``mongos`` will do.

    Raises (from ``open()``):
        InvalidURL: the driver refuses the URI or does not know an option.
        ServerUnreachable: nobody answered.
        AuthenticationRefused: the credentials were not accepted.
    """

    name: ClassVar[str] = "direct"

    async def _open(self) -> AsyncMongoClient[dict[str, Any]]:
        client = create_client(self.url)
        try:
            await check_deployment(client, self.url)
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def uri(self) -> str:
        """The URL itself."""
        return self.url.driver_uri
