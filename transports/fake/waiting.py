"""Changes of the schema wait for the transactions that have touched a collection.

Spec: https://www.mongodb.com/docs/manual/core/transactions-production-consideration/#pending-ddl-operations-and-transactions
"""

from __future__ import annotations

from collections.abc import Generator

from transports.fake.namespaces import Namespace
from transports.fake.operation import Operation, Wait


def until_untouched(
    operation: Operation, *namespaces: Namespace, database: str | None = None
) -> Generator[Wait, None, None]:
    """Wait until no other open transaction has touched the namespaces (or the database)."""
    while _touched(operation, namespaces, database):
        yield Wait()


def _touched(operation: Operation, namespaces: tuple[Namespace, ...], database: str | None) -> bool:
    for transaction in operation.server.sessions.open_transactions():
        if transaction is operation.transaction:
            continue
        for touched in transaction.touched:
            if touched in namespaces or touched[0] == database:
                return True
    return False
