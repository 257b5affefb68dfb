"""GridFS: files in chunks, through the driver's own bucket."""

from __future__ import annotations

import pytest
from gridfs import AsyncGridFSBucket, NoFile

from odm import Connection
from transports.motor import MotorTransport

# PyMongo's bucket takes no database but its own; Motor brings a bucket, which is used below.
motors_own = pytest.mark.differs("motor", reason="GridFS over Motor is AsyncIOMotorGridFSBucket")


@motors_own
async def test_grid_fs_stores_and_reads_a_file(db: Connection) -> None:
    bucket = AsyncGridFSBucket(db.database, chunk_size_bytes=1024)
    content = bytes(range(256)) * 20
    file_id = await bucket.upload_from_stream("a.bin", content, metadata={"kind": "test"})
    async with await bucket.open_download_stream(file_id) as stream:
        assert stream.length == len(content)
        assert stream.metadata == {"kind": "test"}
        assert await stream.read() == content
    assert await db.database["fs.chunks"].count_documents({"files_id": file_id}) == 5


@motors_own
async def test_grid_fs_streams_in_pieces(db: Connection) -> None:
    bucket = AsyncGridFSBucket(db.database, bucket_name="media", chunk_size_bytes=10)
    async with bucket.open_upload_stream("b.txt") as upload:
        for word in (b"one ", b"two ", b"three"):
            await upload.write(word)
    async with await bucket.open_download_stream_by_name("b.txt") as stream:
        await stream.seek(4)
        assert await stream.read(3) == b"two"
        assert await stream.readchunk() == b" th"


@motors_own
async def test_grid_fs_keeps_versions_and_deletes(db: Connection) -> None:
    bucket = AsyncGridFSBucket(db.database)
    await bucket.upload_from_stream("c", b"old")
    newest = await bucket.upload_from_stream("c", b"new")
    async with await bucket.open_download_stream_by_name("c", revision=0) as stream:
        assert await stream.read() == b"old"
    assert [f.filename async for f in bucket.find({"filename": "c"})] == ["c", "c"]
    await bucket.rename(newest, "d")
    await bucket.delete(newest)
    with pytest.raises(NoFile):
        await bucket.open_download_stream(newest)
    assert await db.database["fs.files"].count_documents({}) == 1
    assert await db.database["fs.chunks"].count_documents({}) == 1


@pytest.mark.parametrize("transport", ["motor"], indirect=True)
async def test_grid_fs_over_motor_is_motors_own(db: Connection) -> None:
    from motor.motor_asyncio import AsyncIOMotorGridFSBucket

    assert isinstance(db.transport, MotorTransport)
    bucket = AsyncIOMotorGridFSBucket(db.transport.motor_client[db.database.name])
    file_id = await bucket.upload_from_stream("a.bin", b"content")
    stream = await bucket.open_download_stream(file_id)
    assert await stream.read() == b"content"
