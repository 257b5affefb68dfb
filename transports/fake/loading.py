"""Documents from files for a test to begin with, and back into text.

Understood are what `dump` prints (``{"collection": [document, …], …}``) and what ``mongoexport``
writes: one document a line, or with ``--jsonArray`` one array; the collection is then the file's
name. A directory stands for its files. Values are Extended JSON, canonical or relaxed.

Spec: https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

from bson import json_util
from bson.binary import UuidRepresentation
from pymongo.asynchronous.database import AsyncDatabase

Documents = dict[str, list[dict[str, Any]]]
Source = str | PathLike[str] | Mapping[str, Sequence[Mapping[str, Any]]]

_SUFFIXES: Final = (".json", ".jsonl", ".ndjson")
_LINES: Final = (".jsonl", ".ndjson")
_READ: Final = json_util.JSONOptions(tz_aware=True, uuid_representation=UuidRepresentation.STANDARD)


def read_documents(source: Source) -> Documents:
    """Return the documents of each collection.

    Args:
        source: a file, a directory, or ``{"collection": [document, …]}``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what it holds cannot be understood; the message names the file and, where it
            is known, the line.
        TypeError: *source* is neither a path nor a mapping.
    """
    if isinstance(source, Mapping):
        return _collections(source, "load()")
    if not isinstance(source, str | PathLike):
        raise TypeError(
            "documents to load are a path or a mapping, {'pages': [{…}, …]}, not"
            f" {type(source).__name__}"
        )
    path = Path(source)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
        if not files:
            raise ValueError(f"{path} holds no file that ends in {', '.join(_SUFFIXES)}")
        loaded: Documents = {}
        for file in files:
            for collection, documents in _file(file).items():
                loaded.setdefault(collection, []).extend(documents)
        return loaded
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} to load")
    return _file(path)


def _file(path: Path) -> Documents:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it is not UTF-8: {error}") from error
    if path.suffix in _LINES:
        return {path.stem: _lines(text, path)}
    try:
        value = json_util.loads(text, json_options=_READ)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # one document after the other, as mongoexport writes them
            return {path.stem: _lines(text, path)}
        raise ValueError(f"{path}:{error.lineno}: {error.msg}") from error
    except Exception as error:  # bson raises many kinds for a wrong {"$oid": …}
        raise ValueError(f"{path}: {error}") from error
    if isinstance(value, list):
        return _collections({path.stem: value}, str(path))
    if isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        return _collections(value, str(path))
    if isinstance(value, dict):
        return {path.stem: [value]}
    raise ValueError(f"{path}: expected an array of documents or an object of such arrays")


def _lines(text: str, path: Path) -> list[dict[str, Any]]:
    documents = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = json_util.loads(line, json_options=_READ)
        except Exception as error:
            raise ValueError(f"{path}:{number}: {error}") from error
        if not isinstance(document, dict):
            raise ValueError(f"{path}:{number}: a line must be one document")
        documents.append(document)
    return documents


def _collections(value: Mapping[str, Iterable[Any]], where: str) -> Documents:
    loaded: Documents = {}
    for collection, documents in value.items():
        loaded[collection] = []
        for number, document in enumerate(documents):
            if not isinstance(document, Mapping):
                raise ValueError(
                    f"{where}: number {number} of {collection!r} is no document but "
                    f"{type(document).__name__}"
                )
            loaded[collection].append(dict(document))
    return loaded


async def insert_documents(database: AsyncDatabase[Any], documents: Documents) -> dict[str, int]:
    """Insert documents, create the collections that get none, and return how many each got.

    Raises:
        pymongo.errors.BulkWriteError: a document was refused.
    """
    present: list[str] = []
    if not all(documents.values()):
        present = await database.list_collection_names()
    for collection, inserted in documents.items():
        if inserted:
            await database[collection].insert_many(inserted)
        elif collection not in present:
            await database.create_collection(collection, check_exists=False)
    return {collection: len(inserted) for collection, inserted in documents.items()}


def dump(documents: Mapping[str, Iterable[Mapping[str, Any]]], *, canonical: bool = False) -> str:
    """Return documents as text that `read_documents` reads: one document a line.

    Args:
        documents: ``{"collection": [document, …]}``.
        canonical: keep the types of numbers: ``{"$numberLong": "1"}`` instead of ``1``.
    """
    mode = json_util.JSONMode.CANONICAL if canonical else json_util.JSONMode.RELAXED
    options = json_util.JSONOptions(json_mode=mode, uuid_representation=UuidRepresentation.STANDARD)
    parts = []
    for collection, found in documents.items():
        lines = [f"    {json_util.dumps(document, json_options=options)}" for document in found]
        body = "[\n" + ",\n".join(lines) + "\n  ]" if lines else "[]"
        parts.append(f"  {json.dumps(collection)}: {body}")
    return "{\n" + ",\n".join(parts) + "\n}" if parts else "{}"
